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
import { sendError, sendJson } from './http.ts'
import { tokensOf } from './wire.ts'

interface Part {
  block: Opening
  texts: string[]
}

function contentOf({ block, texts }: Part): object {
  if (block.type === 'tool_use') return block
  const text = texts.join('')
  return block.type === 'text' ? { type: 'text', text } : { type: 'thinking', thinking: text, signature: SIGNATURE }
}

/** An answer as one JSON document, for requests without `stream`. */
export class WholeAnswer implements Answer {
  readonly #facts: AnswerFacts
  readonly #parts: Part[] = []
  #outputTokens = 0

  constructor(facts: AnswerFacts) {
    this.#facts = facts
  }

  async begin(): Promise<void> {}

  async open(block: Opening): Promise<void> {
    this.#parts.push({ block, texts: [] })
    if (block.type === 'tool_use') this.#outputTokens += tokensOf(JSON.stringify(block.input).length)
  }

  async append(text: string, tokens: number = tokensOf(text.length)): Promise<void> {
    this.#outputTokens += tokens
    this.#parts.at(-1)?.texts.push(text)
  }

  async closeBlock(): Promise<void> {}

  async pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#facts.signal })
  }

  async fail(status: number, message: string, retryAfterSeconds?: number): Promise<void> {
    sendError(this.#facts.response, status, message, retryAfterSeconds)
  }

  async cut(): Promise<void> {
    this.#facts.response.destroy()
  }

  async silence(): Promise<never> {
    this.#facts.response.writeHead(200, { 'content-type': 'application/json' }).flushHeaders()
    return untilAborted(this.#facts.signal)
  }

  async finish(stopReason: StopReason): Promise<void> {
    const { response, messageId: id, model } = this.#facts
    const content = this.#parts.map((part) => contentOf(part))
    const ending = { stop_reason: stopReason, stop_sequence: null, usage: usageOf(this.#facts, this.#outputTokens) }
    sendJson(response, { id, type: 'message', role: 'assistant', model, content, ...ending })
  }
}
