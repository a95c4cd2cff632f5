import type { ModelAnswer } from '../driver/driver.ts'
import type { Usage } from '../store/store.ts'
import { NOTHING_USED, addUsage, tokensIn, usageOf } from './usage.ts'

interface Answer {
  model: string
  usage: Usage
  /** Characters of its content so far. */
  size: number
}

/** Answers are told one by one but for those of subagents at work side by side; older ones are only summed up. */
const MAX_OPEN_ANSWERS = 64

/** What a message of the CLI itself has as its model: nothing was asked of any. */
export const NO_MODEL = '<synthetic>'

/** As Anthropic's own rule of thumb has it. */
const CHARACTERS_PER_TOKEN = 4

/** Answers of the model that no result has told of, and what they say of themselves. */
export class Answers {
  readonly #price: (model: string, usage: Usage) => number
  readonly #open = new Map<string, Answer>()
  #summedUp: Usage = NOTHING_USED

  /** `price`: about what these tokens cost, in USD. */
  constructor(price: (model: string, usage: Usage) => number) {
    this.#price = price
  }

  /** An answer, or a further piece of one. */
  note({ id, model, usage, content }: ModelAnswer): void {
    if (model === NO_MODEL) return
    const size = JSON.stringify(content).length + (this.#open.get(id)?.size ?? 0)
    this.#open.set(id, { model, usage: usageOf(usage), size })
    if (this.#open.size <= MAX_OPEN_ANSWERS) return
    const [[oldestId, oldest] = []] = this.#open
    if (oldest === undefined || oldestId === undefined) return
    this.#open.delete(oldestId)
    this.#summedUp = addUsage(this.#summedUp, this.#priced(oldest))
  }

  /** As the answers told it. */
  get tokens(): number {
    return [...this.#open.values()].reduce((sum, { usage }) => sum + tokensIn(usage), 0)
  }

  /** With their output reckoned by its length where that is more. */
  get sum(): Usage {
    let sum = this.#summedUp
    for (const answer of this.#open.values()) sum = addUsage(sum, this.#priced(answer))
    return sum
  }

  clear(): void {
    this.#open.clear()
    this.#summedUp = NOTHING_USED
  }

  /** Answers are shown before the model has counted their output. */
  #priced({ model, usage, size }: Answer): Usage {
    const outputTokens = Math.max(usage.outputTokens, Math.ceil(size / CHARACTERS_PER_TOKEN))
    const seen = { ...usage, outputTokens }
    return { ...seen, costUsd: this.#price(model, seen) }
  }
}
