import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { errorBody, tokensOf } from './wire.ts'

/** What opens a content block of an answer. */
export type Opening =
  | { type: 'text' }
  | { type: 'thinking' }
  | { type: 'tool_use'; id: string; name: string; input: Record<string, unknown> }

export type StopReason = 'end_turn' | 'tool_use'

/** An answer while it is made: blocks in order, with pauses, until it is finished, fails or breaks off. */
export interface Answer {
  /** Tokens that were sent so far. */
  outputTokens: number
  open(block: Opening): Promise<void>
  /** Adds to the open block. `tokens` is its cost where the caller knows it better than by its length. */
  append(text: string, tokens?: number): Promise<void>
  closeBlock(): Promise<void>
  pause(ms: number): Promise<void>
  fail(status: number, message: string, retryAfterSeconds?: number): Promise<void>
  /** Breaks the connection without an end, after what was sent so far has left. */
  cut(): Promise<void>
  /** Sends nothing more until the client leaves or the server closes. */
  silence(): Promise<never>
  finish(stopReason: StopReason): Promise<void>
}

/** What both kinds of answer need to know about their request. */
export interface AnswerFacts {
  response: ServerResponse
  /** Aborts when the client leaves and when the server closes. */
  signal: AbortSignal
  requestId: string
  messageId: string
  model: string
  inputTokens: number
}

/** Anthropic sends a ping now and then; the CLI gives up after 300 s without a byte. */
const PING_MS = 10_000

const usageOf = (input: number, output: number): object => ({
  input_tokens: input,
  output_tokens: output,
  cache_creation_input_tokens: 0,
  cache_read_input_tokens: 0,
  service_tier: 'standard',
})

const SIGNATURE = Buffer.from('simulated thinking').toString('base64')

async function forEver(signal: AbortSignal): Promise<never> {
  for (;;) await sleep(2 ** 31 - 1, undefined, { signal })
}

/** Sends an error answer, in the API's own shape. */
export function sendError(
  facts: Pick<AnswerFacts, 'response' | 'requestId'>,
  status: number,
  message: string,
  retryAfterSeconds?: number,
): void {
  const { response, requestId } = facts
  if (retryAfterSeconds !== undefined) response.setHeader('retry-after', String(retryAfterSeconds))
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(JSON.stringify(errorBody(status, message, requestId)))
}

/** An answer as server-sent events, written no faster than the client reads. */
export class StreamedAnswer implements Answer {
  outputTokens = 0
  readonly #facts: AnswerFacts
  #index = -1
  #type: Opening['type'] = 'text'

  constructor(facts: AnswerFacts) {
    this.#facts = facts
  }

  async #send(type: string, data: object): Promise<void> {
    const { response, signal } = this.#facts
    signal.throwIfAborted()
    const frame = `event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`
    if (!response.write(frame)) await once(response, 'drain', { signal })
  }

  /** Sends the headers and `message_start`, once. Until then the answer can still be an error with a status. */
  async #begin(): Promise<void> {
    const { response, messageId, model, inputTokens } = this.#facts
    if (response.headersSent) return
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' })
    const usage = usageOf(inputTokens, 1)
    const empty = { content: [], stop_reason: null, stop_sequence: null, usage }
    await this.#send('message_start', {
      message: { id: messageId, type: 'message', role: 'assistant', model, ...empty },
    })
    await this.#send('ping', {})
  }

  async open(block: Opening): Promise<void> {
    await this.#begin()
    this.#index += 1
    this.#type = block.type
    const shell =
      block.type === 'text' ? { text: '' } : block.type === 'thinking' ? { thinking: '', signature: '' } : { input: {} }
    await this.#send('content_block_start', { index: this.#index, content_block: { ...block, ...shell } })
    if (block.type === 'tool_use') await this.append(JSON.stringify(block.input))
  }

  async append(text: string, tokens: number = tokensOf(text.length)): Promise<void> {
    this.outputTokens += tokens
    const delta =
      this.#type === 'text'
        ? { type: 'text_delta', text }
        : this.#type === 'thinking'
          ? { type: 'thinking_delta', thinking: text }
          : { type: 'input_json_delta', partial_json: text }
    await this.#send('content_block_delta', { index: this.#index, delta })
  }

  async closeBlock(): Promise<void> {
    const index = this.#index
    if (this.#type === 'thinking') {
      await this.#send('content_block_delta', { index, delta: { type: 'signature_delta', signature: SIGNATURE } })
    }
    await this.#send('content_block_stop', { index })
  }

  async pause(ms: number): Promise<void> {
    const { response, signal } = this.#facts
    for (let left = ms; left > 0; left -= PING_MS) {
      await sleep(Math.min(left, PING_MS), undefined, { signal })
      if (left > PING_MS && response.headersSent) await this.#send('ping', {})
    }
  }

  async fail(status: number, message: string, retryAfterSeconds?: number): Promise<void> {
    const { response, requestId } = this.#facts
    if (!response.headersSent) return sendError(this.#facts, status, message, retryAfterSeconds)
    await this.#send('error', errorBody(status, message, requestId))
    response.end()
  }

  async cut(): Promise<void> {
    const { response } = this.#facts
    // Destroying at once would drop what is still buffered; an SSE comment tells when it has left.
    await new Promise((flushed) => response.write(':\n\n', flushed))
    response.destroy()
  }

  async silence(): Promise<never> {
    const { response, signal } = this.#facts
    if (!response.headersSent)
      response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' }).flushHeaders()
    return forEver(signal)
  }

  async finish(stopReason: StopReason): Promise<void> {
    await this.#begin()
    const usage = usageOf(this.#facts.inputTokens, this.outputTokens)
    await this.#send('message_delta', { delta: { stop_reason: stopReason, stop_sequence: null }, usage })
    await this.#send('message_stop', {})
    this.#facts.response.end()
  }
}

/** An answer as one JSON document, for requests without `stream`. */
export class WholeAnswer implements Answer {
  outputTokens = 0
  readonly #facts: AnswerFacts
  readonly #content: { block: Opening; parts: string[] }[] = []

  constructor(facts: AnswerFacts) {
    this.#facts = facts
  }

  async open(block: Opening): Promise<void> {
    this.#content.push({ block, parts: [] })
    if (block.type === 'tool_use') this.outputTokens += tokensOf(JSON.stringify(block.input).length)
  }

  async append(text: string, tokens: number = tokensOf(text.length)): Promise<void> {
    this.outputTokens += tokens
    this.#content.at(-1)?.parts.push(text)
  }

  async closeBlock(): Promise<void> {}

  async pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#facts.signal })
  }

  async fail(status: number, message: string, retryAfterSeconds?: number): Promise<void> {
    sendError(this.#facts, status, message, retryAfterSeconds)
  }

  async cut(): Promise<void> {
    this.#facts.response.destroy()
  }

  async silence(): Promise<never> {
    this.#facts.response.writeHead(200, { 'content-type': 'application/json' }).flushHeaders()
    return forEver(this.#facts.signal)
  }

  async finish(stopReason: StopReason): Promise<void> {
    const { response, messageId: id, model, inputTokens } = this.#facts
    const content = this.#content.map(({ block, parts }) => {
      if (block.type === 'tool_use') return block
      const text = parts.join('')
      return block.type === 'text' ? { type: 'text', text } : { type: 'thinking', thinking: text, signature: SIGNATURE }
    })
    const usage = usageOf(inputTokens, this.outputTokens)
    const message = {
      id,
      type: 'message',
      role: 'assistant',
      model,
      content,
      stop_reason: stopReason,
      stop_sequence: null,
      usage,
    }
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(JSON.stringify(message))
  }
}
