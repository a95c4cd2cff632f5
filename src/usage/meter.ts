import type { SDKMessage, SDKResultMessage } from '../driver/driver.ts'
import type { Usage, UsageRecord } from '../store/store.ts'
import { Answers } from './uncounted-answers.ts'
import type { Prices } from './prices.ts'
import { NOTHING_USED, addUsage, runningTotal, tokensIn, usageOf, usageSince } from './usage.ts'

/**
 * UsageLedger for one process. Its results tell running totals of its conversation, of which each process goes on from what
 * the one before it has saved, so what was used is a difference. One that is killed saves nothing: what its answers
 * said of themselves is all that is known then.
 */
export class Meter {
  readonly #record: UsageRecord
  readonly #prices: Prices
  readonly #credit: (usage: Usage) => void
  readonly #answers: Answers
  /** True once it has told a running total of this conversation, or it began the conversation. */
  #knowsItsBase: boolean
  /** True while a prompt is without its result. */
  #underway = false

  /** `credit` hears of everything that was used, when it is known. */
  constructor(record: UsageRecord, resumed: boolean, prices: Prices, credit: (usage: Usage) => void) {
    this.#record = record
    this.#prices = prices
    this.#credit = credit
    this.#answers = new Answers((model, usage) => prices.estimate(model, usage))
    this.#knowsItsBase = !resumed
    if (!resumed) this.#beginAnew()
  }

  /** A prompt was handed over. */
  begin(): void {
    this.#underway = true
  }

  hear(message: SDKMessage): void {
    if (message.type === 'result') this.#recordResult(message)
    else if (message.type === 'assistant') this.#answers.note(message.message)
    // After `/clear` the totals begin at nothing again.
    else if (message.type === 'conversation_reset') {
      this.#beginAnew()
      this.#knowsItsBase = true
    }
  }

  /** What no result has told of yet, by what was seen of it. */
  get untold(): Usage {
    const { sum } = this.#answers
    return this.#underway ? { ...sum, estimated: true } : sum
  }

  /** The process is gone. One that exited in order has saved its running total with the conversation. */
  end({ inOrder }: { inOrder: boolean }): void {
    if (inOrder) this.#record.saved = this.#record.reported
    const { untold } = this
    this.#clear()
    if (!untold.estimated && tokensIn(untold) === 0) return
    this.#record.estimated = addUsage(this.#record.estimated ?? NOTHING_USED, untold)
    this.#credit({ ...untold, estimated: true })
  }

  #beginAnew(): void {
    Object.assign(this.#record, { reported: NOTHING_USED, saved: NOTHING_USED, estimated: NOTHING_USED })
  }

  #recordResult(message: SDKResultMessage): void {
    const total = runningTotal(message)
    // A result that the CLI makes up when it fails may have no numbers: what is missing comes with the next.
    if (tokensIn(total) < tokensIn(this.#record.reported) && tokensIn(total) === 0) return
    this.#prices.learn(message)
    const base = this.#baseOf(total, message)
    if (!this.#knowsItsBase) this.#record.saved = base
    this.#knowsItsBase = true
    this.#record.reported = total
    this.#record.estimated = NOTHING_USED
    this.#clear()
    this.#credit(usageSince(total, base))
  }

  /**
   * From where this total went on. After a kill it is unknown what the CLI had saved: it is the largest of the totals
   * it may have been that leaves room for what this turn has surely used.
   */
  #baseOf(total: Usage, { usage }: SDKResultMessage): Usage {
    const { reported, saved } = this.#record
    const certain = this.#knowsItsBase || tokensIn(reported) === tokensIn(saved)
    if (certain && tokensIn(reported) <= tokensIn(total)) return reported
    const room = tokensIn(total) - Math.max(tokensIn(usageOf(usage)), this.#answers.tokens)
    return [reported, saved].find((base) => tokensIn(base) <= room) ?? NOTHING_USED
  }

  #clear(): void {
    this.#answers.clear()
    this.#underway = false
  }
}
