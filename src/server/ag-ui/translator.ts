import { EventType } from '@ag-ui/core'
import type { AGUIEvent, Message } from '@ag-ui/core'
import type { SDKMessage } from '../../driver/driver.ts'

type Block = 'text' | 'thinking' | 'tool'

/** A block of an answer that is being written. */
interface OpenBlock {
  readonly kind: Block
  /** Of the message, or of the tool call. */
  readonly id: string
}

/** What `tool_result` blocks hold. */
type ToolContent = string | readonly { type: string; text?: string }[] | undefined

const textOf = (content: ToolContent): string =>
  typeof content === 'string'
    ? content
    : (content ?? []).map(({ type, text }) => (type === 'text' ? (text ?? '') : `[${type}]`)).join('\n')

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
 * nothing comes twice, also not in the run that follows an interrupt.
 */
export class Translator {
  /** By index in the message that is being written. */
  readonly #open = new Map<number, OpenBlock>()
  /** What was told in pieces and will come again as a whole, by message. */
  readonly #written = new Map<string, Written>()
  readonly #toolCalls = new Set<string>()
  readonly #results = new Set<string>()
  readonly #messages: Message[] = []
  #message = ''

  /** All messages that it has told of, whole. */
  get messages(): readonly Message[] {
    return this.#messages
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
    if (message.type === 'assistant') return this.#whole(message.message as unknown as Whole)
    if (message.type === 'user') return this.#toolResults(message.message.content)
    return []
  }

  /** A tool call that waits for leave, told of before it is the agent's turn to do so. */
  announce({ id, name, input }: { id: string; name: string; input: Record<string, unknown> }): AGUIEvent[] {
    return this.#toolCalls.has(id) ? [] : this.#wholeTool(id, name, input, undefined)
  }

  /** Ends what is being written: a run may not end with anything open. */
  close(): AGUIEvent[] {
    const events = [...this.#open.values()].flatMap((block) => endOf(block))
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
        return block === undefined ? [] : endOf(block)
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
      this.#open.set(index, { kind: 'text', id: messageId })
      this.#messages.push({ id: messageId, role: 'assistant', content: '' })
      return [{ type: EventType.TEXT_MESSAGE_START, messageId, role: 'assistant' }]
    }
    if (type === 'thinking') {
      const messageId = thoughtId(this.#message, written.thoughts.pieces)
      written.thoughts.pieces += 1
      this.#open.set(index, { kind: 'thinking', id: messageId })
      this.#messages.push({ id: messageId, role: 'reasoning', content: '' })
      return startOfThought(messageId)
    }
    if (type !== 'tool_use' || this.#toolCalls.has(id)) return []
    this.#open.set(index, { kind: 'tool', id })
    return this.#startTool(id, name, this.#message)
  }

  #delta(index: number, { type, text = '', thinking = '', partial_json = '' }: PieceDelta): AGUIEvent[] {
    const block = this.#open.get(index)
    if (block === undefined) return []
    if (type === 'text_delta' && text !== '' && block.kind === 'text') {
      this.#append(block.id, text)
      return [{ type: EventType.TEXT_MESSAGE_CONTENT, messageId: block.id, delta: text }]
    }
    if (type === 'thinking_delta' && thinking !== '' && block.kind === 'thinking') {
      this.#append(block.id, thinking)
      return [{ type: EventType.REASONING_MESSAGE_CONTENT, messageId: block.id, delta: thinking }]
    }
    if (type === 'input_json_delta' && partial_json !== '' && block.kind === 'tool') {
      this.#appendArguments(block.id, partial_json)
      return [{ type: EventType.TOOL_CALL_ARGS, toolCallId: block.id, delta: partial_json }]
    }
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
    if (texts.wholes <= texts.pieces || text === '') return []
    const messageId = textId(message, texts.wholes - 1)
    this.#messages.push({ id: messageId, role: 'assistant', content: text })
    return [
      { type: EventType.TEXT_MESSAGE_START, messageId, role: 'assistant' },
      { type: EventType.TEXT_MESSAGE_CONTENT, messageId, delta: text },
      { type: EventType.TEXT_MESSAGE_END, messageId },
    ]
  }

  #wholeThought({ thoughts }: Written, message: string, thought: string): AGUIEvent[] {
    thoughts.wholes += 1
    if (thoughts.wholes <= thoughts.pieces || thought === '') return []
    const messageId = thoughtId(message, thoughts.wholes - 1)
    this.#messages.push({ id: messageId, role: 'reasoning', content: thought })
    return [
      ...startOfThought(messageId),
      { type: EventType.REASONING_MESSAGE_CONTENT, messageId, delta: thought },
      ...endOf({ kind: 'thinking', id: messageId }),
    ]
  }

  #wholeTool(id: string, name: string, input: object, message: string | undefined): AGUIEvent[] {
    const delta = JSON.stringify(input)
    const start = this.#startTool(id, name, message)
    this.#appendArguments(id, delta)
    return [...start, { type: EventType.TOOL_CALL_ARGS, toolCallId: id, delta }, ...endOf({ kind: 'tool', id })]
  }

  #startTool(id: string, name: string, message: string | undefined): AGUIEvent[] {
    this.#toolCalls.add(id)
    // The client hangs a call on the message of this id, or begins one with it.
    const parent = message === undefined || message === '' ? id : message
    let owner = this.#messages.find((other) => other.id === parent)
    if (owner?.role !== 'assistant') {
      owner = { id: parent, role: 'assistant', toolCalls: [] }
      this.#messages.push(owner)
    }
    owner.toolCalls = [...(owner.toolCalls ?? []), { id, type: 'function', function: { name, arguments: '' } }]
    return [{ type: EventType.TOOL_CALL_START, toolCallId: id, toolCallName: name, parentMessageId: parent }]
  }

  #toolResults(content: unknown): AGUIEvent[] {
    if (!Array.isArray(content)) return []
    return (content as { type: string; tool_use_id?: string; content?: ToolContent }[]).flatMap(
      (block): AGUIEvent[] => {
        const id = block.tool_use_id ?? ''
        if (block.type !== 'tool_result' || !this.#toolCalls.has(id) || this.#results.has(id)) return []
        this.#results.add(id)
        const result = textOf(block.content)
        const messageId = `${id}:result`
        this.#messages.push({ id: messageId, role: 'tool', toolCallId: id, content: result })
        return [{ type: EventType.TOOL_CALL_RESULT, messageId, toolCallId: id, content: result, role: 'tool' }]
      },
    )
  }

  #append(id: string, text: string): void {
    const message = this.#messages.findLast((other) => other.id === id)
    if (message?.role === 'assistant' || message?.role === 'reasoning')
      message.content = `${message.content ?? ''}${text}`
  }

  #appendArguments(id: string, json: string): void {
    for (const message of this.#messages) {
      if (message.role !== 'assistant') continue
      const call = message.toolCalls?.find((other) => other.id === id)
      if (call !== undefined) call.function.arguments += json
    }
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

const textId = (message: string, index: number): string => (index === 0 ? message : `${message}:${index}`)

const thoughtId = (message: string, index: number): string => `${message}:thought${index === 0 ? '' : index}`

const startOfThought = (messageId: string): AGUIEvent[] => [
  { type: EventType.REASONING_START, messageId },
  { type: EventType.REASONING_MESSAGE_START, messageId, role: 'reasoning' },
]

function endOf({ kind, id }: OpenBlock): AGUIEvent[] {
  if (kind === 'text') return [{ type: EventType.TEXT_MESSAGE_END, messageId: id }]
  if (kind === 'tool') return [{ type: EventType.TOOL_CALL_END, toolCallId: id }]
  return [
    { type: EventType.REASONING_MESSAGE_END, messageId: id },
    { type: EventType.REASONING_END, messageId: id },
  ]
}

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
