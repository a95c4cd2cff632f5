import { EventType } from '@ag-ui/core'
import type { AGUIEvent } from '@ag-ui/core'
import type { SDKMessage } from '../../driver/driver.ts'
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
 * Makes AG-UI's events of the SDK's messages. Pieces come as they are written, whole messages where there were no pieces;
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

  /** `told` and `clientCalls`, those without a result, are kept up for those who follow the same turn later. */
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

  /** The events of one message. */
  take(message: SDKMessage): AGUIEvent[] {
    // What a subagent does is its parent's tool call; that has its result.
    if ('parent_tool_use_id' in message && message.parent_tool_use_id !== null) return []
    if (message.type === 'stream_event') return this.#piece(message.event as unknown as Piece)
    // What the CLI says in the model's place is no answer: the run ends with it.
    if (message.type === 'assistant')
      return message.error === undefined ? this.#whole(message.message as unknown as Whole) : []
    if (message.type === 'user') return this.#toolResults(message.message.content)
    return []
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

  #piece(event: Piece): AGUIEvent[] {
    switch (event.type) {
      case 'message_start':
        this.#message = event.message?.id ?? ''
        return this.close()
      case 'content_block_start':
        return this.#start(event.index ?? 0, event.content_block ?? { type: '' })
      case 'content_block_delta':
        return this.#delta(event.index ?? 0, event.delta ?? {})
      case 'content_block_stop': {
        const block = this.#open.get(event.index ?? 0)
        this.#open.delete(event.index ?? 0)
        return block === undefined ? [] : this.#endOf(block)
      }
      default:
        return []
    }
  }

  #start(index: number, { type, id = '', name = '' }: PieceBlock): AGUIEvent[] {
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

  #delta(index: number, { type, text = '', thinking = '', partial_json = '' }: PieceDelta): AGUIEvent[] {
    const block = this.#open.get(index)
    if (block === undefined) return []
    if (type === 'text_delta' && text !== '' && block.kind === 'text')
      return [{ type: EventType.TEXT_MESSAGE_CONTENT, messageId: block.id, delta: text }]
    if (type === 'thinking_delta' && block.kind === 'thinking') {
      const delta = thinking.slice(block.held)
      block.held -= thinking.length - delta.length
      return delta === '' ? [] : [{ type: EventType.REASONING_MESSAGE_CONTENT, messageId: block.id, delta }]
    }
    if (type === 'input_json_delta' && partial_json !== '' && block.kind === 'tool')
      return [{ type: EventType.TOOL_CALL_ARGS, toolCallId: block.id, delta: partial_json }]
    return []
  }

  /** A message of the assistant comes whole, a block at a time, also after its pieces. */
  #whole({ id: message = '', content = [] }: Whole): AGUIEvent[] {
    const written = this.#writtenOf(message)
    return content.flatMap((block): AGUIEvent[] => {
      if (block.type === 'tool_use') {
        const { id = '', name = '', input = {} } = block
        return this.#toolCalls.has(id) ? [] : this.#wholeTool(id, name, input, message)
      }
      if (block.type === 'text') return this.#wholeText(written, message, block.text ?? '')
      if (block.type === 'thinking') return this.#wholeThought(written, message, block.thinking ?? '')
      return []
    })
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

  #toolResults(content: unknown): AGUIEvent[] {
    if (!Array.isArray(content)) return []
    return (content as { type: string; tool_use_id?: string; content?: ToolContent }[]).flatMap(
      (block): AGUIEvent[] => {
        const id = block.tool_use_id ?? ''
        this.#clientCalls.delete(id)
        if (block.type !== 'tool_result' || !this.#toolCalls.has(id) || this.#results.has(id)) return []
        this.#results.add(id)
        return [resultEvent(id, toolText(block.content))]
      },
    )
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

/** What `tool_result` blocks hold. */
type ToolContent = string | readonly { type: string; text?: string }[] | undefined

/** What the translator reads of the Messages API's stream. */
interface Piece {
  type: string
  index?: number
  message?: { id?: string }
  content_block?: PieceBlock
  delta?: PieceDelta
}

interface PieceBlock {
  type: string
  id?: string
  name?: string
}

interface PieceDelta {
  type?: string
  text?: string
  thinking?: string
  partial_json?: string
}

/** What it reads of a message of the assistant. */
interface Whole {
  id?: string
  content?: { type: string; id?: string; name?: string; input?: object; text?: string; thinking?: string }[]
}
