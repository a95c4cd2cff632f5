import type { SDKMessage } from '../driver/driver.ts'
import type { ModelStep, TokensByKind } from '../store/store.ts'

type Assistant = Extract<SDKMessage, { type: 'assistant' }>
type Piece = Extract<SDKMessage, { type: 'stream_event' }>
type Usage = { [Name in keyof Assistant['message']['usage']]?: unknown }

const LONGEST_NAME = 128

interface OpenRequest {
  startMs: number
  firstTokenMs: number | undefined
  model: string
  /** The id of the answer. */
  id: string
  tokens: TokensByKind
}

/** The requests to the model that a turn makes, as its process tells of them. Times are milliseconds since the turn began. */
export class ModelRequests {
  readonly #onEnd: (step: ModelStep) => void
  /** When the request was made that has no answer yet, as far as the process says. */
  #askedMs: number | undefined
  #open: OpenRequest | undefined
  /** The answer that has ended: the process tells of each of its blocks again. */
  #lastId: string | undefined

  /** `onEnd` gets each request that has ended. */
  constructor(onEnd: (step: ModelStep) => void) {
    this.#onEnd = onEnd
  }

  /** Takes a message of the turn's process. */
  hear(message: SDKMessage, nowMs: number): void {
    if ('parent_tool_use_id' in message && message.parent_tool_use_id !== null) return
    if (message.type === 'stream_event') this.#hearPiece(message.event, nowMs)
    else if (message.type === 'assistant') this.#hearAnswer(message, nowMs)
    else if (message.type === 'user') this.#hearResults(nowMs)
    else if (message.type === 'system') this.#hearSystem(message, nowMs)
    else if (message.type === 'result') this.#hearEnd(nowMs)
  }

  /** The turn has ended: a request that is still open has failed. */
  end(nowMs: number): void {
    this.#fail(nowMs)
  }

  #hearPiece(event: Piece['event'], nowMs: number): void {
    const open = this.#open
    if (event.type === 'message_start') this.#begin(event.message, nowMs)
    else if (open === undefined) return
    else if (event.type === 'content_block_start') open.firstTokenMs ??= nowMs - open.startMs
    else if (event.type === 'message_delta') record(open.tokens, event.usage)
    else if (event.type === 'message_stop') this.#close(nowMs, false)
  }

  #hearAnswer({ message, error }: Assistant, nowMs: number): void {
    if (error !== undefined) this.#fail(nowMs)
    else if (this.#open?.id !== message.id && this.#lastId !== message.id) this.#begin(message, nowMs)
    else if (this.#open !== undefined) record(this.#open.tokens, message.usage)
  }

  #hearResults(nowMs: number): void {
    this.#close(nowMs, false)
    this.#askedMs = nowMs
  }

  #hearSystem(message: Extract<SDKMessage, { type: 'system' }>, nowMs: number): void {
    if (message.subtype === 'init') this.#askedMs ??= nowMs
    else if (message.subtype === 'status' && message.status === 'requesting') {
      this.#close(nowMs, false)
      this.#askedMs ??= nowMs
    } else if (message.subtype === 'api_retry') {
      this.#fail(nowMs)
      this.#askedMs = nowMs
    }
  }

  /** Failed requests were reported before, whatever the result says. */
  #hearEnd(nowMs: number): void {
    this.#close(nowMs, false)
    this.#askedMs = undefined
  }

  #begin({ id, model, usage }: { id: string; model: string; usage: Usage }, nowMs: number): void {
    this.#close(nowMs, false)
    const tokens = { input: 0, output: 0, cache_read: 0, cache_write: 0 }
    record(tokens, usage)
    const startMs = this.#askedMs ?? nowMs
    this.#open = { startMs, firstTokenMs: undefined, model: String(model).slice(0, LONGEST_NAME), id, tokens }
    this.#askedMs = undefined
  }

  #close(nowMs: number, failed: boolean): void {
    if (this.#open === undefined) return
    const { id, startMs, ...facts } = this.#open
    this.#open = undefined
    this.#lastId = id
    this.#onEnd({ type: 'model', ...facts, failed, startMs, durationMs: nowMs - startMs })
  }

  /** A request without an answer has failed, too. */
  #fail(nowMs: number): void {
    if (this.#open !== undefined) this.#close(nowMs, true)
    else if (this.#askedMs !== undefined) {
      const tokens = { input: 0, output: 0, cache_read: 0, cache_write: 0 }
      const facts = { model: undefined, firstTokenMs: undefined, tokens, failed: true }
      this.#onEnd({ type: 'model', ...facts, startMs: this.#askedMs, durationMs: nowMs - this.#askedMs })
    }
    this.#askedMs = undefined
  }
}

const KINDS = {
  input_tokens: 'input',
  output_tokens: 'output',
  cache_read_input_tokens: 'cache_read',
  cache_creation_input_tokens: 'cache_write',
} as const

/** Counts only rise: later pieces of an answer leave some of them out. */
function record(tokens: TokensByKind, usage: Usage): void {
  for (const [name, kind] of Object.entries(KINDS)) {
    const count = usage[name as keyof typeof KINDS]
    if (typeof count === 'number' && count > tokens[kind]) tokens[kind] = count
  }
}
