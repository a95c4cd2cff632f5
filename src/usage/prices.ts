import type { SDKResultMessage } from '../driver/driver.ts'
import type { Usage } from '../store/store.ts'

/** More models than this are not remembered. */
const MAX_MODELS = 100

/** Prices of all models are alike in this: output costs five times the input, writing the cache 1.25 times, reading it a tenth. */
const inputEquivalents = (usage: Omit<Usage, 'costUsd' | 'estimated'>): number =>
  usage.inputTokens + 5 * usage.outputTokens + 1.25 * usage.cacheWriteTokens + 0.1 * usage.cacheReadTokens

function priceOf(usage: Usage | undefined): number {
  const tokens = usage === undefined ? 0 : inputEquivalents(usage)
  return usage === undefined || tokens === 0 ? 0 : usage.costUsd / tokens
}

/** What models cost, learned from what the CLI tells: for what it could not tell. */
export class Prices {
  /** USD for a token of input. */
  readonly #perInputToken = new Map<string, number>()

  learn({ modelUsage }: Pick<SDKResultMessage, 'modelUsage'>): void {
    for (const [model, told] of Object.entries(modelUsage)) {
      const tokens = inputEquivalents({
        inputTokens: told.inputTokens,
        outputTokens: told.outputTokens,
        cacheReadTokens: told.cacheReadInputTokens,
        cacheWriteTokens: told.cacheCreationInputTokens,
      })
      if (tokens === 0 || (this.#perInputToken.size >= MAX_MODELS && !this.#perInputToken.has(model))) continue
      this.#perInputToken.set(model, told.costUSD / tokens)
    }
  }

  /** About what these tokens cost, in USD: a model of which nothing was told costs as much as `like` did, or nothing. */
  estimate(model: string, usage: Usage, like?: Usage): number {
    return (this.#perInputToken.get(model) ?? priceOf(like)) * inputEquivalents(usage)
  }
}
