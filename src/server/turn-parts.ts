import type { SDKMessage, SDKResultMessage } from '../driver/driver.ts'

/** A piece of the Messages API that the agent's answers are made of. */
export type PartBlock =
  | { type: 'text'; text: string }
  | { type: 'thinking'; text: string }
  | { type: 'tool_use'; id: string; name: string; input: object }

/** What a tool gave back, as the Messages API has it. */
export type ToolContent = string | readonly { type: string; text?: string }[] | undefined

/**
 * What one message of a turn says. An answer comes in pieces (`answer`, `start`, `delta`, `stop`) if its agent has
 * `includePartialMessages`, and then whole, a block at a time.
 */
export type TurnPart =
  | { type: 'answer'; answer: string }
  | { type: 'start'; index: number; block: { type: string; id: string; name: string } }
  | { type: 'delta'; index: number; of: 'text' | 'thinking' | 'input'; text: string }
  | { type: 'stop'; index: number }
  | { type: 'blocks'; answer: string; blocks: PartBlock[] }
  | { type: 'results'; results: { toolUseId: string; content: ToolContent }[] }
  /** What the CLI says in the model's place: the turn ends with it. */
  | { type: 'model_error'; error: string }
  | { type: 'end'; end: TurnEnd }

/** How a turn ended, by its result. */
export interface TurnEnd {
  /** It was interrupted. */
  aborted: boolean
  failed: boolean
  /** Of the SDK. `success` together with `failed`: the model's API failed. */
  subtype: string
  /** The answer, or what the CLI says in its place; empty unless the subtype is `success`. */
  text: string
}

/**
 * The one place of the server that reads messages of the SDK. The events of a session are the pool's translation of the same
 * messages, and not enough for a live front end: they have no pieces of thoughts and tool inputs, are shown only when durable
 * and when it is known whether a call may run, and are not there in a pool with `events: false`.
 */
export function partOf(message: SDKMessage): TurnPart | undefined {
  // What a subagent does is its parent's tool call; that has its result.
  if ('parent_tool_use_id' in message && message.parent_tool_use_id !== null) return undefined
  switch (message.type) {
    case 'stream_event':
      return pieceOf(message.event as unknown as Piece)
    case 'assistant':
      if (message.error !== undefined) return { type: 'model_error', error: message.error }
      return wholeOf(message.message as unknown as Whole)
    case 'user':
      return resultsOf(message.message.content)
    case 'result':
      return { type: 'end', end: endOf(message) }
    default:
      return undefined
  }
}

/** True for a piece of an answer that comes again as a whole. */
export const isPiece = ({ type }: SDKMessage): boolean => type === 'stream_event'

export const endOf = (result: SDKResultMessage): TurnEnd => ({
  aborted: result.terminal_reason?.startsWith('aborted') === true,
  failed: result.is_error,
  subtype: result.subtype,
  text: result.subtype === 'success' ? result.result : '',
})

/** True for a part in which the agent says something or calls a tool. */
export const isAnswer = (part: TurnPart | undefined): boolean =>
  part?.type === 'blocks' &&
  part.blocks.some((block) => block.type === 'tool_use' || (block.type === 'text' && block.text.trim() !== ''))

function pieceOf({ type, index = 0, message, content_block, delta = {} }: Piece): TurnPart | undefined {
  switch (type) {
    case 'message_start':
      return { type: 'answer', answer: message?.id ?? '' }
    case 'content_block_start': {
      const { type: kind = '', id = '', name = '' } = content_block ?? {}
      return { type: 'start', index, block: { type: kind, id, name } }
    }
    case 'content_block_delta':
      return deltaOf(index, delta)
    case 'content_block_stop':
      return { type: 'stop', index }
    default:
      return undefined
  }
}

function deltaOf(
  index: number,
  { type, text = '', thinking = '', partial_json = '' }: PieceDelta,
): TurnPart | undefined {
  if (type === 'text_delta') return { type: 'delta', index, of: 'text', text }
  if (type === 'thinking_delta') return { type: 'delta', index, of: 'thinking', text: thinking }
  if (type === 'input_json_delta') return { type: 'delta', index, of: 'input', text: partial_json }
  return undefined
}

function wholeOf({ id: answer = '', content = [] }: Whole): TurnPart {
  const blocks = content.flatMap((block): PartBlock[] => {
    const { id = '', name = '', input = {}, text = '', thinking = '' } = block
    if (block.type === 'text') return [{ type: 'text', text }]
    if (block.type === 'thinking') return [{ type: 'thinking', text: thinking }]
    return block.type === 'tool_use' ? [{ type: 'tool_use', id, name, input }] : []
  })
  return { type: 'blocks', answer, blocks }
}

function resultsOf(content: unknown): TurnPart | undefined {
  if (!Array.isArray(content)) return undefined
  const results = (content as { type: string; tool_use_id?: string; content?: ToolContent }[]).flatMap((block) =>
    block.type === 'tool_result' ? [{ toolUseId: block.tool_use_id ?? '', content: block.content }] : [],
  )
  return { type: 'results', results }
}

/** What is read of the Messages API's stream. */
interface Piece {
  type: string
  index?: number
  message?: { id?: string }
  content_block?: { type?: string; id?: string; name?: string }
  delta?: PieceDelta
}

interface PieceDelta {
  type?: string
  text?: string
  thinking?: string
  partial_json?: string
}

/** What is read of a message of the assistant. */
interface Whole {
  id?: string
  content?: { type: string; id?: string; name?: string; input?: object; text?: string; thinking?: string }[]
}
