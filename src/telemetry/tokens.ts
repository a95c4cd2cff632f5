import type { TurnSummary } from '../events.ts'

type Usage = NonNullable<TurnSummary['usage']>

/** The tokens of this usage by kind, as metrics and logs name them. `input` is without what the cache was read and written for. */
export const tokensByKind = (usage: Usage): Record<'input' | 'output' | 'cache_read' | 'cache_write', number> => ({
  input: usage.inputTokens,
  output: usage.outputTokens,
  cache_read: usage.cacheReadTokens,
  cache_write: usage.cacheWriteTokens,
})
