import type { SDKMessage, SDKResultMessage } from './driver/driver.ts'

type Assistant = Extract<SDKMessage, { type: 'assistant' }>

/** A piece of the Messages API that the agent's answers are made of. */
export type PartBlock =
  | { type: 'text'; text: string }
  | { type: 'thinking'; text: string }
  /** Encrypted by the model API. */
  | { type: 'redacted_thinking' }
  | { type: 'tool_use'; id: string; name: string; input: object }

/** What a tool gave back, as the Messages API has it. */
export type ToolContent = string | readonly { type: string; text?: string }[] | undefined

/** Tokens of one answer of the model, as far as they are known. */
export interface AnswerUsage {
  input_tokens?: number | null
  output_tokens?: number | null
  cache_creation_input_tokens?: number | null
  cache_read_input_tokens?: number | null
}

/** Why the model did not answer, in the SDK's words. */
export type ModelFailure = NonNullable<Assistant['error']>

/**
 * What one message of an agent process says. An answer comes in pieces (`answer`, `start`, `delta`, `stop`, `usage`, `answered`)
 * if its agent has `includePartialMessages`, and then whole, a block at a time.
 */
export type MessagePart =
  /** The model is asked. */
  | { type: 'request' }
  /** The model failed and is asked again. `status`: of HTTP; null without an answer. */
  | { type: 'retry'; error: ModelFailure; status: number | null; attempt: number; most: number }
  | { type: 'compacted' }
  | { type: 'answer'; answer: string; usage: AnswerUsage }
  | { type: 'start'; index: number; block: { type: string; id: string; name: string } }
  | { type: 'delta'; index: number; of: 'text' | 'thinking' | 'input'; text: string }
  | { type: 'stop'; index: number }
  | { type: 'usage'; usage: AnswerUsage }
  | { type: 'answered' }
  | { type: 'blocks'; answer: string; blocks: PartBlock[]; usage: AnswerUsage }
  | { type: 'results'; results: { toolUseId: string; content: ToolContent; failed: boolean }[] }
  /** What the CLI says in the model's place. */
  | { type: 'model_error'; error: ModelFailure; text: string }
  | { type: 'end'; end: TurnEnd }

/** How a turn ended, by its result. */
export interface TurnEnd {
  /** It was interrupted. */
  aborted: boolean
  failed: boolean
  /** Of the SDK. `success` together with `failed`: the model's API failed. */
  subtype: SDKResultMessage['subtype']
  /** The answer, or what the CLI says in its place; empty unless the subtype is `success`. */
  text: string
  /** What went wrong, unless the subtype is `success`. */
  errors: readonly string[]
  /** How often the model was asked. */
  rounds: number
  /** The model refused to answer. */
  refused: boolean
}

/**
 * The one place that reads what messages of the SDK say. A session's events, AG-UI and the feeds of turns are translations of
 * these parts. Undefined: nothing that anyone is told.
 */
export function partOf(message: SDKMessage): MessagePart | undefined {
  // What a subagent does is its parent's tool call; that has its result.
  if ('parent_tool_use_id' in message && message.parent_tool_use_id !== null) return undefined
  switch (message.type) {
    case 'stream_event':
      return pieceOf(message.event as unknown as Piece)
    case 'assistant':
      return answerOf(message)
    case 'user':
      return resultsOf(message.message.content)
    case 'result':
      return { type: 'end', end: endOf(message) }
    case 'system':
      return noticeOf(message)
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
  errors: result.subtype === 'success' ? [] : result.errors,
  rounds: result.num_turns,
  refused: result.stop_reason === 'refusal',
})

/** True for a part in which the agent says something or calls a tool. */
export const isAnswer = (part: MessagePart | undefined): boolean =>
  part?.type === 'blocks' &&
  part.blocks.some((block) => block.type === 'tool_use' || (block.type === 'text' && block.text.trim() !== ''))

function noticeOf(message: Extract<SDKMessage, { type: 'system' }>): MessagePart | undefined {
  if (message.subtype === 'status' && message.status === 'requesting') return { type: 'request' }
  if (message.subtype === 'compact_boundary') return { type: 'compacted' }
  if (message.subtype !== 'api_retry') return undefined
  const { error, error_status: status, attempt, max_retries: most } = message
  return { type: 'retry', error, status, attempt, most }
}

function pieceOf({ type, index = 0, message, content_block, delta = {}, usage = {} }: Piece): MessagePart | undefined {
  switch (type) {
    case 'message_start':
      return { type: 'answer', answer: message?.id ?? '', usage: message?.usage ?? {} }
    case 'content_block_start': {
      const { type: kind = '', id = '', name = '' } = content_block ?? {}
      return { type: 'start', index, block: { type: kind, id, name } }
    }
    case 'content_block_delta':
      return deltaOf(index, delta)
    case 'content_block_stop':
      return { type: 'stop', index }
    case 'message_delta':
      return { type: 'usage', usage }
    case 'message_stop':
      return { type: 'answered' }
    default:
      return undefined
  }
}

function deltaOf(
  index: number,
  { type, text = '', thinking = '', partial_json = '' }: PieceDelta,
): MessagePart | undefined {
  if (type === 'text_delta') return { type: 'delta', index, of: 'text', text }
  if (type === 'thinking_delta') return { type: 'delta', index, of: 'thinking', text: thinking }
  if (type === 'input_json_delta') return { type: 'delta', index, of: 'input', text: partial_json }
  return undefined
}

function answerOf({ message, error }: Assistant): MessagePart {
  const { id: answer = '', content = [], usage = {} } = message as unknown as Whole
  const blocks = content.flatMap(blockOf)
  if (error === undefined) return { type: 'blocks', answer, blocks, usage }
  const text = blocks.flatMap((block) => (block.type === 'text' ? [block.text] : [])).join('\n')
  return { type: 'model_error', error, text }
}

function blockOf({ type, id = '', name = '', input = {}, text = '', thinking = '' }: WholeBlock): PartBlock[] {
  if (type === 'text') return [{ type, text }]
  if (type === 'thinking') return [{ type, text: thinking }]
  if (type === 'redacted_thinking') return [{ type }]
  return type === 'tool_use' ? [{ type, id, name, input }] : []
}

function resultsOf(content: unknown): MessagePart | undefined {
  if (!Array.isArray(content)) return undefined
  const results = (content as ResultBlock[]).flatMap(
    ({ type, tool_use_id: toolUseId = '', content: given, is_error: failed = false }) =>
      type === 'tool_result' ? [{ toolUseId, content: given, failed }] : [],
  )
  return { type: 'results', results }
}

/** What is read of the Messages API's stream. */
interface Piece {
  type: string
  index?: number
  message?: { id?: string; usage?: AnswerUsage }
  content_block?: { type?: string; id?: string; name?: string }
  delta?: PieceDelta
  usage?: AnswerUsage
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
  content?: WholeBlock[]
  usage?: AnswerUsage
}

interface WholeBlock {
  type: string
  id?: string
  name?: string
  input?: object
  text?: string
  thinking?: string
}

interface ResultBlock {
  type: string
  tool_use_id?: string
  content?: ToolContent
  is_error?: boolean
}
