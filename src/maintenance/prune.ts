import { calendarOf } from '../calendar.ts'
import { FilesError } from '../errors.ts'
import type { FileProblem } from '../errors.ts'
import { Problems } from '../files/problem.ts'
import type { RetentionRule } from '../options/retention.ts'
import type { HostMember, SessionRecord } from '../store/store.ts'
import { formatDuration } from '../units.ts'
import { EventTrim } from './trim-events.ts'
import type { PoolEmitter, Removal } from '../events.ts'
import { Leftovers } from './leftovers.ts'
import type { LeftoversContext } from './leftovers.ts'
import { dueForRemoval } from './retention.ts'
import type { KeptSession } from './retention.ts'
import { isElsewhere } from '../sessions/session-files.ts'
import { isOfQuery } from '../agents/catalogue.ts'

/** What retention removed, or would remove in a dry run. */
export interface PruneReport {
  sessions: Removal[]
  /** Events of sessions that stay. */
  events: number
  /** Files, folders, copies of transcripts and tenants' directories that no session knows. */
  leftovers: number
  /** More is due than one look removes; the next goes on. */
  more: boolean
  /** Files that could not be removed or counted, at most 100. */
  problems: readonly FileProblem[]
}

export interface PruneContext extends LeftoversContext {
  emitter: PoolEmitter
  /** This host, which shares the store with others if that has `hosts`. */
  member: Pick<HostMember, 'id'>
}

/** Runs work for all hosts of a store at one of them. */
const JOB = 'retention'

/** It has the job until the look after the next one: a host that is slow keeps it. */
const LOOKS_WITH_JOB = 3

const PAGE = 200

/** A smaller shift is drift. */
const SHIFT_TO_TELL_MS = 60 * 60_000
const UNBOUNDED: RetentionRule = {
  maxAgeMs: Infinity,
  maxSessions: Infinity,
  maxSizeBytes: Infinity,
  maxEvents: Infinity,
  maxEventAgeMs: Infinity,
  maxEventSizeBytes: Infinity,
}

/** A look removes no more than this: the next one goes on. */
const MAX_REMOVALS = 200

/** Removes what has outlived its retention. */
export class Prune {
  readonly #context: PruneContext
  readonly #trim: EventTrim
  readonly #leftovers: Leftovers
  #nextLookAt: number
  #look: Promise<unknown> | undefined
  #stopped = false
  #toldShift = 0

  constructor(context: PruneContext) {
    this.#context = context
    this.#trim = new EventTrim(context)
    this.#leftovers = new Leftovers(context)
    this.#nextLookAt = context.clock.now() + context.retention.intervalMs
  }

  /** Called now and then: looks at what is kept when it is time. */
  tend(): void {
    const { clock, retention, emitter } = this.#context
    if (this.#stopped || this.#look !== undefined || clock.now() < this.#nextLookAt) return
    this.#look = this.#lookAtOwn()
      .then(({ more }) => {
        this.#nextLookAt = clock.now() + (more ? 0 : retention.intervalMs)
      })
      .catch((error: unknown) => {
        this.#nextLookAt = clock.now() + retention.intervalMs
        if (!this.#stopped)
          emitter.tell('warning', { message: 'what has outlived its retention was not removed', error })
      })
      .finally(() => {
        this.#look = undefined
      })
  }

  /** Ends the look that is under way, after the session that it is at. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#look
  }

  /** What is due at this host: all of it if it has the job, else only what is in its own folders. */
  async #lookAtOwn(): Promise<PruneReport> {
    const { store, member, retention, emitter } = this.#context
    const { hosts } = store
    if (hosts === undefined) return this.prune({ dryRun: false })
    if (await hosts.takeJob(JOB, member.id, LOOKS_WITH_JOB * retention.intervalMs)) {
      await hosts.forgetGone()
      return this.prune({ dryRun: false })
    }
    const problems = new Problems()
    const look = { dryRun: false, stopped: () => this.#stopped, problems }
    const leftovers = await this.#leftovers.removeLocal(await this.#records(), look)
    emitter.warnOf('not all that has outlived its retention could be removed or counted', problems)
    return { sessions: [], events: 0, leftovers, more: false, problems: problems.found }
  }

  async prune({ dryRun }: { dryRun: boolean }): Promise<PruneReport> {
    const { clock, emitter, sessions } = this.#context
    const problems = new Problems()
    this.#recordShift()
    const records = await this.#records()
    const due = dueForRemoval(
      await this.#measured(records, problems),
      {
        ofTenant: (tenant) => this.#ruleOfTenant(tenant),
        ofAgent: (agent) => this.#ruleOfAgent(agent),
      },
      calendarOf(clock).earliest,
    )
    const { removed, more } = await this.#removeDue(due, { dryRun, problems })
    for (const removal of dryRun ? [] : removed) emitter.tell('session.expired', removal)
    const gone = new Set(due.map(({ tenant, key }) => `${tenant}\0${key}`))
    let events = 0
    for (const record of records) {
      if (this.#stopped || gone.has(`${record.tenant}\0${record.key}`) || sessions.isLive(record)) continue
      const rules = [this.#ruleOfTenant(record.tenant), this.#ruleOfAgent(record.agent)]
      events += await this.#trim.trim(
        record,
        rules.filter((rule) => rule !== undefined),
        { dryRun },
      )
    }
    const leftovers = await this.#leftovers.remove(records, { dryRun, stopped: () => this.#stopped, problems })
    emitter.warnOf('not all that has outlived its retention could be removed or counted', problems)
    return { sessions: removed, events, leftovers, more, problems: problems.found }
  }

  /** Removes a bounded number. One that cannot be removed is recorded, and does not hold up the others. */
  async #removeDue(
    due: readonly Removal[],
    { dryRun, problems }: { dryRun: boolean; problems: Problems },
  ): Promise<{ removed: Removal[]; more: boolean }> {
    const removed: Removal[] = []
    for (const [index, removal] of due.entries()) {
      if (this.#stopped) break
      if (removed.length >= MAX_REMOVALS) return { removed, more: index < due.length }
      try {
        // It may have come to life, or been used, since it was looked at.
        if (dryRun || (await this.#context.sessions.removeUnused(removal))) removed.push(removal)
      } catch (error) {
        if (!(error instanceof FilesError)) throw error
        problems.take(error)
      }
    }
    return { removed, more: false }
  }

  /** Warns that the clock was set: retention goes by the time that has passed. */
  #recordShift(): void {
    const { shift } = calendarOf(this.#context.clock)
    if (Math.abs(shift - this.#toldShift) < SHIFT_TO_TELL_MS) return
    this.#toldShift = shift
    const how = `set ${shift < 0 ? 'back' : 'forward'} by ${formatDuration(Math.abs(shift))}`
    const message =
      Math.abs(shift) < SHIFT_TO_TELL_MS
        ? "the machine's clock is right again"
        : `the machine's clock was ${how}: until the next start, retention goes by the time that has really passed`
    this.#context.emitter.tell('warning', { message, error: undefined })
  }

  #ruleOfTenant(tenant: string): RetentionRule {
    return named(this.#context.retention.tenants, tenant) ?? this.#context.retention
  }

  #ruleOfAgent(agent: string): RetentionRule | undefined {
    const { agents, queriesMs } = this.#context.retention
    return isOfQuery({ agent }) ? { ...UNBOUNDED, maxAgeMs: queriesMs } : named(agents, agent)
  }

  async #records(): Promise<SessionRecord[]> {
    const { store } = this.#context
    const records: SessionRecord[] = []
    for (;;) {
      const after = records.at(-1)
      const page = await store.list({ limit: PAGE, ...(after === undefined ? {} : { after }) })
      records.push(...page)
      if (page.length < PAGE || this.#stopped) return records
    }
  }

  async #measured(records: readonly SessionRecord[], problems: Problems): Promise<KeptSession[]> {
    const { driver, files, sessions } = this.#context
    const sized = this.#wantsSizes()
    const kept: KeptSession[] = []
    for (const [tenant, ofTenant] of Map.groupBy(records, (record) => record.tenant)) {
      let sizes: ReadonlyMap<string, number> = new Map()
      try {
        if (sized) sizes = await driver.sizes(await files.makePlaces(tenant))
      } catch (error) {
        problems.take(error)
      }
      for (const record of ofTenant) {
        if (this.#stopped) return kept
        const { key, agent, uid, lastUsedAt } = record
        const bytes = sized ? await this.#bytesOf(record, sizes, problems) : 0
        kept.push({ tenant, key, agent, uid, lastUsedAt, bytes, live: sessions.isLive(record) })
      }
    }
    return kept
  }

  #wantsSizes(): boolean {
    const { retention } = this.#context
    return [retention, ...Object.values(retention.tenants), ...Object.values(retention.agents)].some(
      ({ maxSizeBytes }) => Number.isFinite(maxSizeBytes),
    )
  }

  async #bytesOf(record: SessionRecord, sizes: ReadonlyMap<string, number>, problems: Problems): Promise<number> {
    const { store, sessions, tenantFiles, files } = this.#context
    const { tenant, uid, cwd, ownsCwd } = record
    let { size } = await store.eventTotals(uid)
    const conversations = await sessions.conversationsOf(record).catch((error: unknown) => problems.take(error))
    for (const id of conversations ?? []) {
      size += (sizes.get(id) ?? 0) + (await store.transcriptSize(tenant, id))
    }
    const isHere = ownsCwd && !isElsewhere(record, files)
    return size + (isHere && cwd !== undefined ? await tenantFiles.size(cwd, problems) : 0)
  }
}

const named = <T>(rules: Readonly<Record<string, T>>, name: string): T | undefined =>
  Object.hasOwn(rules, name) ? rules[name] : undefined
