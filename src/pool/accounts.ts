import type { SDKMessage } from '../driver/driver.ts'
import type { Usage, UsageRecord } from '../store/store.ts'
import type { Worker } from '../worker/worker.ts'
import type { Conversation } from './conversation.ts'
import { Meter } from './meter.ts'
import { Prices } from './prices.ts'
import type { RunningTurn } from './turn.ts'
import { NOTHING_USED, addUsage, usageSince } from './usage.ts'

/** What was used since the pool began. */
export interface PoolUsage {
  total: Usage
  byAgent: Record<string, Usage>
  byTenant: Record<string, Usage>
  /** Of agents and tenants beyond the first 1,000 of each. */
  otherAgents: Usage
  otherTenants: Usage
}

const MAX_NAMES = 1_000

/** Sums by name, of so many names. */
class Tally {
  readonly #sums = new Map<string, Usage>()
  #others: Usage = NOTHING_USED

  add(name: string, usage: Usage): void {
    const sum = this.#sums.get(name)
    if (sum === undefined && this.#sums.size >= MAX_NAMES) this.#others = addUsage(this.#others, usage)
    else this.#sums.set(name, addUsage(sum ?? NOTHING_USED, usage))
  }

  get byName(): Record<string, Usage> {
    return Object.fromEntries(this.#sums)
  }

  get others(): Usage {
    return this.#others
  }
}

/** Who used how much: turns, sessions, agents and tenants. */
export class Accounts {
  readonly #prices = new Prices()
  readonly #meters = new WeakMap<Worker, Meter>()
  /** What the turn's session had used when it began. */
  readonly #turns = new WeakMap<RunningTurn, { record: UsageRecord; meter: Meter; before: Usage }>()
  readonly #agents = new Tally()
  readonly #tenants = new Tally()
  #total: Usage = NOTHING_USED

  /** A prompt of this turn is about to be handed to the worker. */
  begin(turn: RunningTurn, worker: Worker, conversation: Conversation): void {
    conversation.record.usage ??= { total: NOTHING_USED, told: NOTHING_USED, saved: NOTHING_USED }
    const record = conversation.record.usage
    let meter = this.#meters.get(worker)
    if (meter === undefined) {
      const { agent, tenant } = conversation.record
      meter = new Meter(record, worker.resumed, this.#prices, (usage) => {
        record.total = addUsage(record.total, usage)
        this.#total = addUsage(this.#total, usage)
        this.#agents.add(agent, usage)
        this.#tenants.add(tenant, usage)
      })
      this.#meters.set(worker, meter)
    }
    meter.begin()
    this.#turns.set(turn, { record, meter, before: record.total })
  }

  hear(worker: Worker, message: SDKMessage): void {
    this.#meters.get(worker)?.hear(message)
  }

  /** The worker's process is gone. True when there is something to be noted of it. */
  left(worker: Worker, how: { inOrder: boolean }): boolean {
    const meter = this.#meters.get(worker)
    meter?.end(how)
    return meter !== undefined
  }

  /** What a turn used that has just ended; undefined for one that had no process. */
  usageOf(turn: RunningTurn): Usage | undefined {
    const begun = this.#turns.get(turn)
    if (begun === undefined) return undefined
    const { record, meter, before } = begun
    const told = usageSince(record.total, before)
    const sum = addUsage(told, turn.resultMessage === undefined ? meter.untold : NOTHING_USED)
    return { ...sum, estimated: turn.resultMessage === undefined }
  }

  snapshot(): PoolUsage {
    return {
      total: this.#total,
      byAgent: this.#agents.byName,
      byTenant: this.#tenants.byName,
      otherAgents: this.#agents.others,
      otherTenants: this.#tenants.others,
    }
  }
}
