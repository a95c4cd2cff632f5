import { EventType } from '@ag-ui/core'
import type { AGUIEvent } from '@ag-ui/core'
import type { PartBlock, ToolContent, MessagePart } from '../../message-parts.ts'
import { isClientTool } from './client-tools.ts'
import { textId, toolText } from './history.ts'
import {
  endOf,
  resultEvent,
  startOfText,
  startOfThought,
  startOfTool,
  textEvents,
  thoughtId,
  toolEvents,
} from './told-events.ts'
import type { Block } from './told-events.ts'

/** A block of an answer that is being written. */
interface OpenBlock {
  readonly kind: Block
  /** Of the message, or of the tool call. */
  readonly id: string
  /** Characters of it that the front end has already. */
  held: number
}

/** How far messages, tool calls and thoughts of one turn were told, by their ids. */
export type Told = Map<string, 'partly' | 'whole'>

/** What a front end has when it begins to follow a turn. */
export interface Holdings {
  /** Ids of messages and tool calls that it has whole. */
  readonly whole: ReadonlySet<string>
  /** Calls of tools whose results it has. */
  readonly results: ReadonlySet<string>
  /** Characters of each thought that it has some of. */
  readonly thoughts: ReadonlyMap<string, number>
}

/** How often a message's blocks of one kind came in pieces, and how often whole: the same, and then it is told. */
interface Count {
  pieces: number
  wholes: number
}

interface Written {
  texts: Count
  thoughts: Count
}

/**
 * Makes AG-UI's events of what a turn says. Pieces come as they are written, whole messages where there were no pieces;
 * nothing comes twice, also not what the front end has from an earlier run.
 */
export class Translator {
  /** By index in the message that is being written. */
  readonly #open = new Map<number, OpenBlock>()
  /** What was told in pieces and will come again as a whole, by message. */
  readonly #written = new Map<string, Written>()
  readonly #toolCalls: Set<string>
  readonly #results: Set<string>
  readonly #clientCalls: Set<string>
  readonly #holdings: Holdings
  readonly #told: Told
  #message = ''

  /** `told` and `clientCalls`, those without a result, are kept up to date for clients that follow the same turn later. */
  constructor(holdings: Holdings, { told, clientCalls }: { told: Told; clientCalls: Set<string> }) {
    this.#holdings = holdings
    this.#told = told
    this.#clientCalls = clientCalls
    this.#toolCalls = new Set(holdings.whole)
    this.#results = new Set(holdings.results)
  }

  /** True while something is being written. */
  get writing(): boolean {
    return this.#open.size > 0
  }

  /** The events of one part of the turn. */
  take(part: MessagePart): AGUIEvent[] {
    switch (part.type) {
      case 'answer':
        this.#message = part.answer
        return this.close()
      case 'start':
        return this.#start(part.index, part.block)
      case 'delta':
        return this.#delta(part)
      case 'stop': {
        const block = this.#open.get(part.index)
        this.#open.delete(part.index)
        return block === undefined ? [] : this.#endOf(block)
      }
      case 'blocks':
        return part.blocks.flatMap((block) => this.#whole(part.answer, block))
      case 'results':
        return part.results.flatMap(({ toolUseId, content }) => this.#toolResult(toolUseId, content))
      default:
        // What the model is asked, and how it went, is no part of a run; it ends with its result.
        return []
    }
  }

  /** A tool call that waits for leave, told of before it is the agent's turn to do so. */
  announce({ id, name, input }: { id: string; name: string; input: Record<string, unknown> }): AGUIEvent[] {
    return this.#toolCalls.has(id) ? [] : this.#wholeTool(id, name, input, undefined)
  }

  /** Ends what is being written: a run may not end with anything open. */
  close(): AGUIEvent[] {
    const events = [...this.#open.values()].flatMap((block) => this.#endOf(block))
    this.#open.clear()
    return events
  }

  #start(index: number, { type, id, name }: Extract<MessagePart, { type: 'start' }>['block']): AGUIEvent[] {
    const written = this.#writtenOf(this.#message)
    if (type === 'text') {
      const messageId = textId(this.#message, written.texts.pieces)
      written.texts.pieces += 1
      return this.#holdings.whole.has(messageId) ? [] : this.#begin(index, 'text', messageId, startOfText(messageId))
    }
    if (type === 'thinking') {
      const messageId = thoughtId(this.#message, written.thoughts.pieces)
      written.thoughts.pieces += 1
      return this.#begin(index, 'thinking', messageId, startOfThought(messageId))
    }
    if (type !== 'tool_use' || this.#toolCalls.has(id)) return []
    this.#noteCall(id, name)
    return this.#begin(index, 'tool', id, startOfTool(id, name, this.#message))
  }

  #begin(index: number, kind: Block, id: string, events: AGUIEvent[]): AGUIEvent[] {
    this.#open.set(index, { kind, id, held: this.#holdings.thoughts.get(id) ?? 0 })
    this.#told.set(id, 'partly')
    return events
  }

  #endOf(block: OpenBlock): AGUIEvent[] {
    this.#told.set(block.id, 'whole')
    return endOf(block)
  }

  #delta({ index, of, text }: Extract<MessagePart, { type: 'delta' }>): AGUIEvent[] {
    const block = this.#open.get(index)
    if (block === undefined) return []
    if (of === 'text' && text !== '' && block.kind === 'text')
      return [{ type: EventType.TEXT_MESSAGE_CONTENT, messageId: block.id, delta: text }]
    if (of === 'thinking' && block.kind === 'thinking') {
      const delta = text.slice(block.held)
      block.held -= text.length - delta.length
      return delta === '' ? [] : [{ type: EventType.REASONING_MESSAGE_CONTENT, messageId: block.id, delta }]
    }
    if (of === 'input' && text !== '' && block.kind === 'tool')
      return [{ type: EventType.TOOL_CALL_ARGS, toolCallId: block.id, delta: text }]
    return []
  }

  /** A message of the assistant comes whole, a block at a time, also after its pieces. */
  #whole(message: string, block: PartBlock): AGUIEvent[] {
    const written = this.#writtenOf(message)
    switch (block.type) {
      case 'tool_use':
        return this.#toolCalls.has(block.id) ? [] : this.#wholeTool(block.id, block.name, block.input, message)
      case 'text':
        return this.#wholeText(written, message, block.text)
      case 'thinking':
        return this.#wholeThought(written, message, block.text)
      case 'redacted_thinking':
        return []
    }
  }

  #wholeText({ texts }: Written, message: string, text: string): AGUIEvent[] {
    texts.wholes += 1
    const id = textId(message, texts.wholes - 1)
    if (texts.wholes <= texts.pieces || text === '' || this.#holdings.whole.has(id)) return []
    this.#told.set(id, 'whole')
    return textEvents(id, text)
  }

  #wholeThought({ thoughts }: Written, message: string, thought: string): AGUIEvent[] {
    thoughts.wholes += 1
    const messageId = thoughtId(message, thoughts.wholes - 1)
    const delta = thought.slice(this.#holdings.thoughts.get(messageId) ?? 0)
    if (thoughts.wholes <= thoughts.pieces || delta === '') return []
    this.#told.set(messageId, 'whole')
    return [
      ...startOfThought(messageId),
      { type: EventType.REASONING_MESSAGE_CONTENT, messageId, delta },
      ...endOf({ kind: 'thinking', id: messageId }),
    ]
  }

  #wholeTool(id: string, name: string, input: object, message: string | undefined): AGUIEvent[] {
    this.#noteCall(id, name)
    this.#told.set(id, 'whole')
    return toolEvents(id, name, JSON.stringify(input), message)
  }

  #noteCall(id: string, name: string): void {
    this.#toolCalls.add(id)
    if (isClientTool(name)) this.#clientCalls.add(id)
  }

  #toolResult(id: string, content: ToolContent): AGUIEvent[] {
    this.#clientCalls.delete(id)
    if (!this.#toolCalls.has(id) || this.#results.has(id)) return []
    this.#results.add(id)
    return [resultEvent(id, toolText(content))]
  }

  #writtenOf(message: string): Written {
    let written = this.#written.get(message)
    if (written === undefined) {
      written = { texts: { pieces: 0, wholes: 0 }, thoughts: { pieces: 0, wholes: 0 } }
      this.#written.set(message, written)
    }
    return written
  }
}
