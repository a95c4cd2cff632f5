import type { Usage } from '../store/store.ts'

/** US dollars for a million tokens. What is left out follows from the input: writing the cache costs 1.25 times, reading it a tenth. */
export interface Price {
  input: number
  output: number
  cacheWrite?: number | undefined
  cacheRead?: number | undefined
}

/** What one answer used, as the API says it. */
export interface Counted extends Omit<Usage, 'costUsd'> {
  /** Of `cacheWriteTokens`, those that are kept for an hour: they cost twice the input. */
  cacheWrite1hTokens: number
  webSearches: number
  /** Answered in fast mode, which costs up to six times as much. */
  fast: boolean
}

/** Anthropic's list prices, by how names of models begin, the more special ones first. Checked 2026-11. */
const LIST: readonly [model: RegExp, price: Price][] = [
  [/haiku/, { input: 1, output: 5 }],
  [/sonnet-5/, { input: 2, output: 10 }],
  [/sonnet/, { input: 3, output: 15 }],
  [/3-opus|opus-4-0|opus-4-1|opus-4-2025/, { input: 15, output: 75 }],
  [/opus/, { input: 5, output: 25 }],
  [/fable|mythos/, { input: 10, output: 50 }],
]

/** A model without a price costs as much as the dearest one: a budget holds, too soon rather than too late. */
const DEAREST: Price = { input: 15, output: 75 }

const WEB_SEARCH_USD = 0.01
const FAST = 6
const MILLION = 1_000_000

/** The price of a model: the caller's by its whole name, else the list's. */
export function priceOf(model: string, own: Readonly<Record<string, Price>>): Price {
  return (Object.hasOwn(own, model) ? own[model] : undefined) ?? LIST.find(([name]) => name.test(model))?.[1] ?? DEAREST
}

/** What an answer costs in US dollars. */
export function costOf(used: Counted, { input, output, cacheWrite, cacheRead }: Price): number {
  const write = cacheWrite ?? input * 1.25
  const hour = Math.min(used.cacheWrite1hTokens, used.cacheWriteTokens)
  const tokens =
    used.inputTokens * input +
    used.outputTokens * output +
    (used.cacheWriteTokens - hour) * write +
    hour * Math.max(write, input * 2) +
    used.cacheReadTokens * (cacheRead ?? input * 0.1)
  return (tokens * (used.fast ? FAST : 1)) / MILLION + used.webSearches * WEB_SEARCH_USD
}
