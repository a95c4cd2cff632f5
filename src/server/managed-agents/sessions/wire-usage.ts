import type { SessionInfo } from '../../../index.ts'
import { centsOf } from './session-resource.ts'

/** Whole milliseconds as seconds. */
export const secondsOf = (ms = 0): number => Math.round(ms) / 1000

/** What was used, as the wire tells it. */
export function wireUsage({ usage, activeMs }: SessionInfo): Record<string, unknown> {
  return {
    active_seconds: secondsOf(activeMs),
    input_tokens: usage.inputTokens,
    output_tokens: usage.outputTokens,
    cache_read_input_tokens: usage.cacheReadTokens,
    cache_creation: { ephemeral_5m_input_tokens: usage.cacheWriteTokens, ephemeral_1h_input_tokens: 0 },
    server_tool_use: { web_search_requests: usage.webSearches ?? 0 },
    list_cost: { amount: centsOf(usage.costUsd), currency: 'USD' },
  }
}
