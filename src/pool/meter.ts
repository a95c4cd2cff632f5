import type { SDKMessage, SDKResultMessage } from '../driver/driver.ts'
import type { Usage, UsageRecord } from '../store/store.ts'
import type { Prices } from './prices.ts'
import { NOTHING_USED, addUsage, runningTotal, tokensIn, usageOf, usageSince } from './usage.ts'

type AssistantMessage = Extract<SDKMessage, { type: 'assistant' }>

/** An answer that no result has told of yet. */
interface Answer {
  model: string
  usage: Usage
  /** Characters of its content so far. */
  size: number
}

/** Answers are told one by one but for those of subagents at work side by side; older ones are only summed up. */
const MAX_OPEN_ANSWERS = 64

/** What a message of the CLI itself has as its model: nothing was asked of any. */
const NO_MODEL = '<synthetic>'

/** As Anthropic's own rule of thumb has it. */
const CHARACTERS_PER_TOKEN = 4

/**
 * Accounts for one process. Its results tell running totals of its conversation, of which each process goes on from what
 * the one before it has saved, so what was used is a difference. One that is killed saves nothing: what its answers
 * said of themselves is all that is known then.
 */
export class Meter {
  readonly #record: UsageRecord
  readonly #prices: Prices
  readonly #credit: (usage: Usage) => void
  readonly #answers = new Map<string, Answer>()
  #summedUp: Usage = NOTHING_USED
  /** True once it has told a running total of this conversation, or it began the conversation. */
  #knowsItsBase: boolean
  /** True while a prompt is without its result. */
  #underway = false

  /** `credit` hears of everything that was used, when it is known. */
  constructor(record: UsageRecord, resumed: boolean, prices: Prices, credit: (usage: Usage) => void) {
    this.#record = record
    this.#prices = prices
    this.#credit = credit
    this.#knowsItsBase = !resumed
    if (!resumed) this.#beginAnew()
  }

  /** A prompt was handed over. */
  begin(): void {
    this.#underway = true
  }

  hear(message: SDKMessage): void {
    if (message.type === 'result') this.#noteResult(message)
    else if (message.type === 'assistant') this.#noteAnswer(message)
    // After `/clear` the totals begin at nothing again.
    else if (message.type === 'conversation_reset') {
      this.#beginAnew()
      this.#knowsItsBase = true
    }
  }

  /** What no result has told of yet, by what was seen of it. */
  get untold(): Usage {
    let sum = this.#summedUp
    for (const answer of this.#answers.values()) sum = addUsage(sum, this.#priced(answer))
    return this.#underway ? { ...sum, estimated: true } : sum
  }

  /** The process is gone. One that exited in order has saved its running total with the conversation. */
  end({ inOrder }: { inOrder: boolean }): void {
    if (inOrder) this.#record.saved = this.#record.told
    const { untold } = this
    this.#clear()
    if (untold.estimated || tokensIn(untold) > 0) this.#credit({ ...untold, estimated: true })
  }

  #beginAnew(): void {
    Object.assign(this.#record, { told: NOTHING_USED, saved: NOTHING_USED })
  }

  #noteResult(message: SDKResultMessage): void {
    const total = runningTotal(message)
    // A result that the CLI makes up when it fails may have no numbers: what is missing comes with the next.
    if (tokensIn(total) < tokensIn(this.#record.told) && tokensIn(total) === 0) return
    this.#prices.learn(message)
    const base = this.#baseOf(total, message)
    if (!this.#knowsItsBase) this.#record.saved = base
    this.#knowsItsBase = true
    this.#record.told = total
    this.#clear()
    this.#credit(usageSince(total, base))
  }

  /**
   * From where this total went on. After a kill nobody has said what the CLI had saved: it is the largest of the totals
   * it may have been that leaves room for what this turn has surely used.
   */
  #baseOf(total: Usage, { usage }: SDKResultMessage): Usage {
    const { told, saved } = this.#record
    const certain = this.#knowsItsBase || tokensIn(told) === tokensIn(saved)
    if (certain && tokensIn(told) <= tokensIn(total)) return told
    const answered = [...this.#answers.values()].reduce((sum, answer) => sum + tokensIn(answer.usage), 0)
    const room = tokensIn(total) - Math.max(tokensIn(usageOf(usage)), answered)
    return [told, saved].find((base) => tokensIn(base) <= room) ?? NOTHING_USED
  }

  #noteAnswer({ message: { id, model, usage, content } }: AssistantMessage): void {
    if (model === NO_MODEL) return
    const size = JSON.stringify(content).length + (this.#answers.get(id)?.size ?? 0)
    this.#answers.set(id, { model, usage: usageOf(usage), size })
    if (this.#answers.size <= MAX_OPEN_ANSWERS) return
    const [[oldestId, oldest] = []] = this.#answers
    if (oldest === undefined || oldestId === undefined) return
    this.#answers.delete(oldestId)
    this.#summedUp = addUsage(this.#summedUp, this.#priced(oldest))
  }

  /** Answers are shown before the model has counted their output. */
  #priced({ model, usage, size }: Answer): Usage {
    const outputTokens = Math.max(usage.outputTokens, Math.ceil(size / CHARACTERS_PER_TOKEN))
    const seen = { ...usage, outputTokens }
    return { ...seen, costUsd: this.#prices.estimate(model, seen) }
  }

  #clear(): void {
    this.#answers.clear()
    this.#summedUp = NOTHING_USED
    this.#underway = false
  }
}
