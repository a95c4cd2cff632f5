import type { ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

/** What opens a content block of an answer. */
export type Opening =
  | { type: 'text' }
  | { type: 'thinking' }
  | { type: 'tool_use'; id: string; name: string; input: Record<string, unknown> }

/** Why the model stopped. */
export type StopReason = 'end_turn' | 'tool_use'

/** An answer while it is made: blocks in order, with pauses, until it is finished, fails or breaks off. */
export interface Answer {
  /** Sends what comes before the first token. From then on an error has no status of its own. */
  begin(): Promise<void>
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

/** What an answer needs to know about its request. */
export interface AnswerFacts {
  readonly response: ServerResponse
  /** Aborts when the client leaves and when the server closes. */
  readonly signal: AbortSignal
  readonly requestId: string
  readonly messageId: string
  readonly model: string
  readonly inputTokens: number
  /** Searches that the API is said to have made for it. */
  readonly webSearches: number
  /** How long a stream may be quiet before it sends a ping, in milliseconds. */
  readonly pingMs: number
}

/** The API signs thinking. The CLI only sends it back. */
export const SIGNATURE: string = Buffer.from('simulated thinking').toString('base64')

/** The usage of one answer. Nothing is ever cached here. */
export const usageOf = (
  { inputTokens, webSearches }: Pick<AnswerFacts, 'inputTokens' | 'webSearches'>,
  output: number,
): object => ({
  input_tokens: inputTokens,
  output_tokens: output,
  cache_creation_input_tokens: 0,
  cache_read_input_tokens: 0,
  ...(webSearches > 0 ? { server_tool_use: { web_search_requests: webSearches } } : {}),
  service_tier: 'standard',
})

/** Waits until the signal aborts. */
export async function untilAborted(signal: AbortSignal): Promise<never> {
  for (;;) await sleep(2 ** 31 - 1, undefined, { signal })
}
