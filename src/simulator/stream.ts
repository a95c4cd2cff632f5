import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  type Answer,
  type AnswerFacts,
  type Opening,
  SIGNATURE,
  type StopReason,
  untilAborted,
  usageOf,
} from './answer.ts'
import { sendError } from './http.ts'
import { errorBody, tokensOf } from './wire.ts'

const HEADERS = { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' }

/** The fields of a block that its deltas fill. */
const EMPTY: Readonly<Record<Opening['type'], object>> = {
  text: { text: '' },
  thinking: { thinking: '', signature: '' },
  tool_use: { input: {} },
}

const DELTA: Readonly<Record<Opening['type'], (text: string) => object>> = {
  text: (text) => ({ type: 'text_delta', text }),
  thinking: (thinking) => ({ type: 'thinking_delta', thinking }),
  tool_use: (partial_json) => ({ type: 'input_json_delta', partial_json }),
}

/** An answer as server-sent events, written no faster than the client reads. */
export class StreamedAnswer implements Answer {
  readonly #facts: AnswerFacts
  #outputTokens = 0
  #index = -1
  #type: Opening['type'] = 'text'

  constructor(facts: AnswerFacts) {
    this.#facts = facts
  }

  async begin(): Promise<void> {
    const { response, messageId: id, model } = this.#facts
    if (response.headersSent) return
    response.writeHead(200, HEADERS)
    const unfinished = { content: [], stop_reason: null, stop_sequence: null, usage: usageOf(this.#facts, 1) }
    await this.#send('message_start', { message: { id, type: 'message', role: 'assistant', model, ...unfinished } })
    await this.#send('ping', {})
  }

  async open(block: Opening): Promise<void> {
    await this.begin()
    this.#index += 1
    this.#type = block.type
    await this.#send('content_block_start', { index: this.#index, content_block: { ...block, ...EMPTY[block.type] } })
    if (block.type === 'tool_use') await this.append(JSON.stringify(block.input))
  }

  async append(text: string, tokens: number = tokensOf(text.length)): Promise<void> {
    this.#outputTokens += tokens
    await this.#send('content_block_delta', { index: this.#index, delta: DELTA[this.#type](text) })
  }

  async closeBlock(): Promise<void> {
    const index = this.#index
    if (this.#type === 'thinking') {
      await this.#send('content_block_delta', { index, delta: { type: 'signature_delta', signature: SIGNATURE } })
    }
    await this.#send('content_block_stop', { index })
  }

  async pause(ms: number): Promise<void> {
    const { response, signal, pingMs } = this.#facts
    for (let left = ms; left > 0; left -= pingMs) {
      await sleep(Math.min(left, pingMs), undefined, { signal })
      if (left > pingMs && response.headersSent) await this.#send('ping', {})
    }
  }

  async fail(status: number, message: string, retryAfterSeconds?: number): Promise<void> {
    const { response, requestId } = this.#facts
    if (!response.headersSent) return sendError(response, status, message, retryAfterSeconds)
    await this.#send('error', errorBody(status, message, requestId))
    response.end()
  }

  async cut(): Promise<void> {
    const { response } = this.#facts
    // Destroying at once would drop what is still buffered; an SSE comment tells when it has left.
    await new Promise((left) => response.write(':\n\n', left))
    response.destroy()
  }

  async silence(): Promise<never> {
    const { response, signal } = this.#facts
    if (!response.headersSent) response.writeHead(200, HEADERS).flushHeaders()
    return untilAborted(signal)
  }

  async finish(stopReason: StopReason): Promise<void> {
    await this.begin()
    const usage = usageOf(this.#facts, this.#outputTokens)
    await this.#send('message_delta', { delta: { stop_reason: stopReason, stop_sequence: null }, usage })
    await this.#send('message_stop', {})
    this.#facts.response.end()
  }

  async #send(type: string, data: object): Promise<void> {
    const { response, signal } = this.#facts
    signal.throwIfAborted()
    const frame = `event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`
    if (!response.write(frame)) await once(response, 'drain', { signal })
  }
}
