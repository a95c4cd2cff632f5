import type { SDKResultMessage } from '../driver/driver.ts'
import type { SessionRecord, Usage, UsageRecord } from '../store/store.ts'

export const NOTHING_USED: Usage = Object.freeze({
  inputTokens: 0,
  outputTokens: 0,
  cacheReadTokens: 0,
  cacheWriteTokens: 0,
  costUsd: 0,
  estimated: false,
})

/** Of a conversation of which nothing counts that was before this time, in milliseconds since the epoch. */
export const usageFrom = (notedAt: number): UsageRecord => ({
  total: NOTHING_USED,
  reported: NOTHING_USED,
  saved: NOTHING_USED,
  notedAt,
})

/** A turn of this session has run for so long, in milliseconds. */
export function recordActivity(session: SessionRecord, ms: number): void {
  session.usage ??= usageFrom(session.createdAt)
  session.usage.activeMs = (session.usage.activeMs ?? 0) + ms
}

/** Most conversations never search: their records stay as they are. */
const searches = (count: number): { webSearches?: number } => (count > 0 ? { webSearches: count } : {})

export const addUsage = (a: Usage, b: Usage): Usage => ({
  inputTokens: a.inputTokens + b.inputTokens,
  outputTokens: a.outputTokens + b.outputTokens,
  cacheReadTokens: a.cacheReadTokens + b.cacheReadTokens,
  cacheWriteTokens: a.cacheWriteTokens + b.cacheWriteTokens,
  ...searches((a.webSearches ?? 0) + (b.webSearches ?? 0)),
  costUsd: a.costUsd + b.costUsd,
  estimated: a.estimated || b.estimated,
})

/** What came to `before` until it was `after`. Never less than nothing. */
export const usageSince = (after: Usage, before: Usage): Usage => ({
  inputTokens: Math.max(0, after.inputTokens - before.inputTokens),
  outputTokens: Math.max(0, after.outputTokens - before.outputTokens),
  cacheReadTokens: Math.max(0, after.cacheReadTokens - before.cacheReadTokens),
  cacheWriteTokens: Math.max(0, after.cacheWriteTokens - before.cacheWriteTokens),
  ...searches((after.webSearches ?? 0) - (before.webSearches ?? 0)),
  costUsd: Math.max(0, after.costUsd - before.costUsd),
  estimated: false,
})

export const tokensIn = ({ inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens }: Usage): number =>
  inputTokens + outputTokens + cacheReadTokens + cacheWriteTokens

/** The running total of a conversation, as one of its results or its transcript tells it. */
export function runningTotal({
  modelUsage,
  total_cost_usd: costUsd,
}: Pick<SDKResultMessage, 'modelUsage' | 'total_cost_usd'>): Usage {
  let total: Usage = { ...NOTHING_USED, costUsd }
  for (const model of Object.values(modelUsage)) {
    total = addUsage(total, {
      inputTokens: model.inputTokens,
      outputTokens: model.outputTokens,
      cacheReadTokens: model.cacheReadInputTokens,
      cacheWriteTokens: model.cacheCreationInputTokens,
      webSearches: model.webSearchRequests,
      costUsd: 0,
      estimated: false,
    })
  }
  return total
}

/** The tokens of a single answer of the model, or of all answers of a turn's main loop. */
export const usageOf = (usage: {
  input_tokens: number
  output_tokens: number
  cache_read_input_tokens?: number | null
  cache_creation_input_tokens?: number | null
}): Usage => ({
  inputTokens: usage.input_tokens,
  outputTokens: usage.output_tokens,
  cacheReadTokens: usage.cache_read_input_tokens ?? 0,
  cacheWriteTokens: usage.cache_creation_input_tokens ?? 0,
  costUsd: 0,
  estimated: false,
})
