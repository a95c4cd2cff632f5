import { isDeepStrictEqual } from 'node:util'
import type { Clock } from '../clock.ts'
import type { Driver, SDKMessage } from '../driver/driver.ts'
import type { Places, SessionRecord, Usage, UsageRecord } from '../store/store.ts'
import type { Worker } from '../worker/worker.ts'
import { Answers } from './uncounted-answers.ts'
import { Meter } from './meter.ts'
import { Prices } from './prices.ts'
import { NOTHING_USED, addUsage, runningTotal, tokensIn, usageFrom, usageSince } from './usage.ts'

/** Usage since the pool started. */
export interface PoolUsage {
  total: Usage
  byAgent: Record<string, Usage>
  byTenant: Record<string, Usage>
  /** Of agents and tenants beyond the first 1,000 of each. */
  otherAgents: Usage
  otherTenants: Usage
  /** The first 1,000 pairs of a tenant and an agent. */
  byTenantAndAgent: { tenant: string; agent: string; usage: Usage }[]
  /** Of the pairs beyond these; undefined if there is none. */
  otherTenantsAndAgents: Usage | undefined
}

const MAX_NAMES = 1_000

/** A turn, as far as its use of the model goes. */
interface MeteredTurn {
  /** Undefined until its process has told what it used. */
  readonly resultMessage: object | undefined
}

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

export interface UsageLedgerContext {
  clock: Clock
  driver: Driver
  places: Pick<Places, 'makePlaces'>
}

/** Usage by turn, session, agent and tenant. */
export class UsageLedger {
  readonly #context: UsageLedgerContext
  readonly #prices = new Prices()
  readonly #meters = new WeakMap<Worker, Meter>()
  /** What the turn's session had used when it began. */
  readonly #turns = new WeakMap<MeteredTurn, { record: UsageRecord; meter: Meter; before: Usage }>()
  readonly #agents = new Tally()
  readonly #tenants = new Tally()
  readonly #pairs = new Tally()
  #total: Usage = NOTHING_USED

  constructor(context: UsageLedgerContext) {
    this.#context = context
  }

  /** A prompt of this turn is about to be handed to the worker. */
  begin(turn: MeteredTurn, worker: Worker, session: SessionRecord): void {
    const record = usageRecordOf(session)
    let meter = this.#meters.get(worker)
    if (meter === undefined) {
      meter = new Meter(record, worker.resumed, this.#prices, (usage) => this.#credit(session, usage))
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

  /**
   * Counts what the transcript of a conversation knows and no process has told, because its host died with it. True when
   * that has changed the record. `resuming`: no process of it runs, and the next is about to. Throws what the disk throws.
   */
  async catchUp(session: SessionRecord, { resuming }: { resuming: boolean }): Promise<boolean> {
    const { cwd, sdkSessionId: sessionId } = session
    if (cwd === undefined || sessionId === undefined) return false
    const record = usageRecordOf(session)
    const before = { ...record }
    const after = record.notedAt ?? this.#context.clock.wall()
    const { configDir, tmpDir } = await this.#context.places.makePlaces(session.tenant)
    const { saved, unsaved } = await this.#context.driver.usage({ configDir, tmpDir, cwd, sessionId }, after)
    if (saved !== undefined) {
      this.#prices.learn(saved)
      const total = runningTotal(saved)
      if (tokensIn(total) > tokensIn(record.reported)) {
        const accounted = addUsage(record.reported, record.estimated ?? NOTHING_USED)
        this.#credit(session, usageSince(total, accounted))
        Object.assign(record, { reported: total, estimated: NOTHING_USED })
      }
      record.saved = total
    }
    if (unsaved.length > 0) {
      const answers = new Answers((model, usage) => this.#prices.estimate(model, usage, before.total))
      for (const { answer } of unsaved) answers.note(answer)
      const estimate = { ...answers.sum, estimated: true }
      this.#credit(session, estimate)
      record.estimated = addUsage(record.estimated ?? NOTHING_USED, estimate)
    }
    // Not now: while the process of a host that died still ends, it may write more.
    record.notedAt = Math.max(after, ...unsaved.map(({ at }) => at))
    if (resuming && saved !== undefined) Object.assign(record, { reported: record.saved, estimated: NOTHING_USED })
    return !isDeepStrictEqual(record, before)
  }

  /** What a turn used that has just ended; undefined for one that had no process. */
  usageOf(turn: MeteredTurn): Usage | undefined {
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
      byTenantAndAgent: Object.entries(this.#pairs.byName).map(([pair, usage]) => ({ ...pairOf(pair), usage })),
      otherTenantsAndAgents: this.#pairs.others === NOTHING_USED ? undefined : this.#pairs.others,
    }
  }

  #credit(session: SessionRecord, usage: Usage): void {
    const record = usageRecordOf(session)
    record.total = addUsage(record.total, usage)
    record.notedAt = this.#context.clock.wall()
    this.#total = addUsage(this.#total, usage)
    this.#agents.add(session.agent, usage)
    this.#tenants.add(session.tenant, usage)
    this.#pairs.add(`${session.tenant}\0${session.agent}`, usage)
  }
}

/** Of the name that a pair has among the sums. */
function pairOf(name: string): { tenant: string; agent: string } {
  const [tenant = '', agent = ''] = name.split('\0')
  return { tenant, agent }
}

/** Where what the session uses is noted. */
function usageRecordOf(session: SessionRecord): UsageRecord {
  session.usage ??= usageFrom(session.createdAt)
  return session.usage
}
