import { calendarOf } from '../calendar.ts'
import type { Clock } from '../clock.ts'
import type { Driver } from '../driver/driver.ts'
import { CapacityError, ConfigError, PoolClosedError, SessionBusyError, SessionConflictError } from '../errors.ts'
import type { TenantFiles } from '../files/tenant-files.ts'
import type { Limits } from '../options/limits.ts'
import { wholeNumber } from '../options/section.ts'
import { checkOptions } from '../options/unknown.ts'
import type {
  EventRange,
  PoolFiles,
  SessionPage,
  SessionRecord,
  Store,
  TenantPlaces,
  SessionInfo,
} from '../store/store.ts'
import type { Worker } from '../worker/worker.ts'
import { ActiveSessions } from './active-sessions.ts'
import type { Agent } from '../agents/agent.ts'
import type { Conversation } from './active-session.ts'
import { EventReader } from '../journal/event-reader.ts'
import type { EventOptions } from '../journal/event-reader.ts'
import type { PoolEmitter } from '../events.ts'
import type { Fleet } from '../fleet/fleet.ts'
import type { TurnInput } from '../turns/prompt.ts'
import type { Journal, NumberedEvent } from '../journal/journal.ts'
import { KeptSessions } from './stored-sessions.ts'
import { newTurn, outcomeOf } from '../turns/send.ts'
import { checkConflict, existingDirectory, newRecord, sessionGone, checkName } from './session-record.ts'
import type { NewSessionEvent } from '../journal/session-event.ts'
import { infoOf } from './session-info.ts'
import { Session } from './session.ts'
import type { SessionHost, SessionIdentity } from './session.ts'
import { SteeringTurn } from '../turns/steering.ts'
import { Traces } from './session-files.ts'
import type { Transcripts } from './transcript-copies.ts'
import type { RunningTurn, Turn } from '../turns/turn.ts'
import { usageFrom } from '../usage/usage.ts'
import type { SendOptions } from '../turns/send.ts'

export interface SessionsContext {
  clock: Clock
  store: Store
  driver: Driver
  emitter: PoolEmitter
  limits: Limits
  keepsEvents: boolean
  fleet: () => Fleet
  agentOf: (name: string) => Agent
  places: (tenant: string) => Promise<TenantPlaces>
  files: PoolFiles
  tenantFiles: TenantFiles
  transcripts: Transcripts
}

/** How a session is found or begun. */
export interface SessionOptions {
  /** Needed to begin one; may be left out where it exists. */
  agent?: string
  /** Whose session it is. Default `"default"`. */
  tenant?: string
  /** Where its processes run; must exist. Default: the agent's `cwd`, else a workspace that the pool makes and removes with the session. */
  cwd?: string
}

const SESSION_OPTIONS: Record<keyof SessionOptions, true> = { agent: true, tenant: true, cwd: true }

const PAGE_OPTIONS: Record<keyof SessionPage, true> = {
  tenant: true,
  agent: true,
  order: true,
  descending: true,
  after: true,
  limit: true,
}

const RANGE: Record<keyof EventRange, true> = {
  after: true,
  before: true,
  types: true,
  descending: true,
  limit: true,
  maxBytes: true,
}

const EVENT_OPTIONS: Record<keyof EventOptions, true> = { after: true, follow: true, previews: true }

function journalOf({ journal, record }: Conversation): Journal {
  if (journal !== undefined) return journal
  throw new ConfigError('events', `are not kept, so session "${record.key}" has none; leave out events: false`)
}

/** What callers do with sessions, and the turns that come of it. */
export class Sessions implements SessionHost {
  readonly active: ActiveSessions
  readonly kept: KeptSessions
  readonly #context: SessionsContext
  readonly #traces: Traces
  readonly #runs = new Set<Promise<void>>()

  constructor(context: SessionsContext) {
    this.#context = context
    this.#traces = new Traces(context)
    const traces = this.#traces
    this.active = new ActiveSessions({
      ...context,
      traces,
      describe: (record) => this.#describe(record),
      run: (conversation, turn) => this.#run(conversation, turn),
      confirm: (worker) => context.fleet().confirm(worker),
    })
    this.kept = new KeptSessions({ ...context, traces, active: this.active })
  }

  /** Finds the session of this key, or begins it. */
  async open(key: string, options: SessionOptions): Promise<Session> {
    this.active.checkOpen()
    checkOptions('session()', options, SESSION_OPTIONS)
    const tenant = options.tenant ?? 'default'
    checkName('key', key)
    checkName('tenant', tenant)
    if (this.kept.isClosed(tenant)) throw sessionGone(key, 'session_deleted')
    const agent = options.agent === undefined ? undefined : this.#context.agentOf(options.agent)
    const cwd = options.cwd === undefined ? undefined : await existingDirectory(options.cwd)
    const conversation = await this.active.load({ tenant, key }, () => {
      if (agent === undefined) throw sessionGone(key, 'session_not_found')
      return this.active.begin(
        newRecord({ tenant, key, agent: agent.name, cwd }, calendarOf(this.#context.clock).latest),
      )
    })
    if (conversation === undefined) throw sessionGone(key, 'session_not_found')
    this.active.forgetIfQuiet(conversation)
    checkConflict(conversation.record, agent?.name, cwd)
    return this.handle(conversation.record)
  }

  handle({ tenant, key, uid, agent }: SessionRecord): Session {
    return new Session({ tenant, key, uid, agent }, this)
  }

  async list(page: Partial<SessionPage>): Promise<SessionInfo[]> {
    this.active.checkOpen()
    checkOptions('sessions()', page, PAGE_OPTIONS)
    const limit = wholeNumber('limit', page.limit ?? 100, 1)
    const records = await this.#context.store.list({ ...page, limit })
    return records.map((record) => this.#describe(this.active.get(record)?.record ?? record))
  }

  send(identity: SessionIdentity, input: TurnInput, options: SendOptions): Turn {
    const active = this.active.get(identity)
    if (active !== undefined && active.record.uid === identity.uid) return this.sendTo(active, input, options)
    const turn = this.#newTurn(input, options, identity.agent)
    this.active.find(identity).then(
      (conversation) => this.#admit(conversation, turn, options),
      (error: unknown) => turn.fail(error as Error),
    )
    return turn
  }

  sendTo(conversation: Conversation, input: TurnInput, options: SendOptions): Turn {
    if (options.onBusy === 'steer' && conversation.running !== undefined) {
      return new SteeringTurn(conversation.running, input, options)
    }
    const turn = this.#newTurn(input, options, conversation.record.agent)
    this.#admit(conversation, turn, options)
    return turn
  }

  /** Sends a prompt of a query, whose turn `adapt` may change before anything comes of it. */
  sendForQuery(conversation: Conversation, message: TurnInput, adapt: (turn: RunningTurn) => void): RunningTurn {
    const options: SendOptions = { onBusy: 'queue' }
    const turn = this.#newTurn(message, options, conversation.record.agent)
    adapt(turn)
    this.#admit(conversation, turn, options)
    return turn
  }

  /** The process of a conversation, started if there is none. */
  async workerOf(found: Conversation): Promise<Worker> {
    using held = this.active.hold(found)
    const { conversation } = held
    // One that runs a turn is there, and must not be waited for.
    while (conversation.worker?.state !== 'busy') {
      await this.#context.fleet().warm(conversation)
      if (conversation.worker?.state === 'idle') break
    }
    return conversation.worker
  }

  /** Ends the process of a conversation, unless a turn of somebody else uses it. */
  async hibernateIfIdle(conversation: Conversation): Promise<void> {
    await this.#hibernate(conversation).catch((error: unknown) => {
      if (!(error instanceof SessionBusyError)) throw error
    })
  }

  warm(identity: SessionIdentity): Promise<void> {
    return this.active.with(identity, async (conversation) => {
      try {
        await this.#context.fleet().warm(conversation)
      } catch (error) {
        // What became of its process says less than why.
        throw conversation.gone ?? error
      }
    })
  }

  hibernate(identity: SessionIdentity): Promise<void> {
    return this.active.with(identity, (conversation) => this.#hibernate(conversation))
  }

  async #hibernate(conversation: Conversation): Promise<void> {
    const refuseBusy = (): void => {
      if (conversation.running === undefined) return
      throw new SessionBusyError(
        `session "${conversation.record.key}" runs a turn; wait for its end or interrupt it, then hibernate`,
      )
    }
    refuseBusy()
    await conversation.settled
    await conversation.opening?.catch(() => undefined)
    // A turn may have come meanwhile, and must not lose its worker.
    refuseBusy()
    await conversation.worker?.leave('hibernate')
  }

  async fork(identity: SessionIdentity, key: string): Promise<Session> {
    checkName('key', key)
    return this.active.with(identity, (conversation) => this.#fork(conversation, key))
  }

  async #fork(conversation: Conversation, key: string): Promise<Session> {
    const { record } = conversation
    const refuseBusy = (): void => {
      if (conversation.running === undefined) return
      throw new SessionBusyError(`session "${record.key}" runs a turn; fork it when that has ended`)
    }
    refuseBusy()
    await conversation.settled
    refuseBusy()
    const taken = new SessionConflictError(`the fork's key "${key}" is taken; choose another or delete that session`)
    const other = await this.active.load({ tenant: record.tenant, key })
    if (other !== undefined) {
      this.active.forgetIfQuiet(other)
      throw taken
    }
    const { tenant, agent, cwd, ownsCwd } = record
    const fork = newRecord(
      { tenant, key, agent, cwd: ownsCwd ? undefined : cwd },
      calendarOf(this.#context.clock).latest,
    )
    if (record.begun) {
      Object.assign(fork, await this.#traces.copy(record, fork.uid))
      // The copied transcript tells of what was used as if it were the fork's.
      fork.usage = usageFrom(this.#context.clock.wall())
    }
    try {
      const forked = await this.active.load({ tenant, key }, () => this.active.begin(fork))
      // Another fork may have been faster: what was copied for this one goes again.
      if (forked?.record.uid !== fork.uid) throw taken
      this.active.forgetIfQuiet(forked)
    } catch (error) {
      await this.#traces.remove(fork).catch((left: unknown) =>
        this.#context.emitter.tell('warning', {
          message: `files of the fork "${key}", which was not made, stay`,
          error: left,
        }),
      )
      throw error
    }
    return this.handle(fork)
  }

  async remove(identity: SessionIdentity): Promise<void> {
    const conversation = await this.active.find(identity).catch((error: unknown) => {
      if ((error as { code?: string }).code === 'session_deleted') return undefined
      throw error
    })
    if (conversation !== undefined) await this.kept.erase(this.active.current(conversation))
  }

  async info(identity: SessionIdentity): Promise<SessionInfo> {
    const conversation = await this.active.find(identity)
    const info = this.#describe(conversation.record)
    this.active.forgetIfQuiet(conversation)
    return info
  }

  events(identity: SessionIdentity, options: EventOptions): EventReader {
    checkOptions('events()', options, EVENT_OPTIONS)
    wholeNumber('after', options.after ?? 0, 0)
    return new EventReader({ open: () => this.#followed(identity) }, options)
  }

  /** Somebody follows: the conversation stays, so that he hears of what is added to it. */
  async #followed(identity: SessionIdentity): Promise<{ journal: Journal; release: () => void }> {
    const held = this.active.hold(await this.active.find(identity))
    const release = (): void => held[Symbol.dispose]()
    try {
      return { journal: journalOf(held.conversation), release }
    } catch (error) {
      release()
      throw error
    }
  }

  append(identity: SessionIdentity, events: readonly NewSessionEvent[]): Promise<NumberedEvent[]> {
    return this.active.with(identity, async (conversation) => {
      const journal = journalOf(conversation)
      const added = await journal.append(events)
      for (const { event } of added) conversation.running?.record?.told(event)
      await journal.flush()
      return added
    })
  }

  async history(identity: SessionIdentity, range: EventRange): Promise<NumberedEvent[]> {
    checkOptions('history()', range, RANGE)
    wholeNumber('limit', range.limit, 1)
    return this.active.with(identity, async (conversation) => {
      const journal = journalOf(conversation)
      await journal.ready()
      return journal.page(range)
    })
  }

  /** The keys of a tenant's sessions that run a turn now. */
  runningKeys(tenant: string): string[] {
    return [...this.active].flatMap(({ record, running }) =>
      record.tenant === tenant && running !== undefined ? [record.key] : [],
    )
  }

  async interrupt(identity: SessionIdentity): Promise<boolean> {
    const { running } = await this.active.find(identity)
    await running?.interrupt()
    return running !== undefined
  }

  changeAgent(identity: SessionIdentity, agent: string): Promise<void> {
    this.#context.agentOf(agent)
    return this.active.with(identity, async (conversation) => {
      if (conversation.record.agent === agent) return
      await this.#hibernate(conversation)
      const before = conversation.record.agent
      conversation.record.agent = agent
      try {
        await conversation.save()
      } catch (error) {
        conversation.record.agent = before
        throw error
      }
    })
  }

  /** The session of an SDK id, if there is one. */
  async findBySdkSessionId(sdkSessionId: string): Promise<Conversation | undefined> {
    const record = await this.#context.store.findBySdkSessionId(sdkSessionId)
    return record === undefined ? undefined : this.active.load(record)
  }

  /** Ends all turns with this error; resolves when each has given back what it held. */
  async close(error: Error): Promise<void> {
    this.active.close()
    const ended = [...this.active]
    for (const conversation of ended) conversation.end(error)
    await this.settled()
    // Whoever follows is told how its turn ended before it is told that this is the end.
    for (const { journal } of ended) {
      await journal?.written()
      journal?.end(error)
    }
  }

  /** Resolves when no turn runs. */
  async settled(): Promise<void> {
    while (this.#runs.size > 0) await Promise.all(this.#runs)
  }

  async #run(conversation: Conversation, turn: RunningTurn): Promise<void> {
    const run = this.#context.fleet().run(conversation, turn)
    const settled = run.catch(() => undefined).then(() => conversation.resets)
    this.#runs.add(settled)
    void settled.then(() => this.#runs.delete(settled))
    await run
  }

  #newTurn(input: TurnInput, options: SendOptions, agent: string): RunningTurn {
    const { clock, limits, agentOf } = this.#context
    const { turnTimeMs, silenceMs } = limits
    return newTurn(input, options, { clock, limits: () => ({ turnTimeMs, silenceMs, ...agentOf(agent).limits }) })
  }

  #admit(found: Conversation, turn: RunningTurn, options: SendOptions): void {
    if (this.active.closed) turn.fail(new PoolClosedError())
    if (turn.phase === 'ended') {
      this.active.forgetIfQuiet(found)
      return
    }
    const conversation = this.active.current(found)
    conversation.keep(turn, options)
    const startedAt = this.#context.clock.now()
    void turn.ended.then(() => this.#report(conversation, turn, startedAt))
    const { onBusy } = options
    conversation.admit(turn, onBusy === undefined || onBusy === 'steer' ? 'reject' : onBusy)
  }

  #report(conversation: Conversation, turn: RunningTurn, startedAt: number): void {
    const { emitter, clock } = this.#context
    const { failure } = turn
    const session = conversation.ref
    if (failure instanceof CapacityError) emitter.tell('turn.refused', { id: turn.id, session, error: failure })
    emitter.tell('turn.ended', {
      id: turn.id,
      session,
      worker: turn.workerId,
      warmth: turn.warmth,
      outcome: outcomeOf(turn),
      durationMs: clock.now() - startedAt,
      firstMessageMs: turn.firstMessageAt === undefined ? undefined : turn.firstMessageAt - startedAt,
      usage: this.#context.fleet().accounts.usageOf(turn),
    })
  }

  #describe(record: SessionRecord): SessionInfo {
    const active = this.active.get(record)
    const state = active?.worker?.state
    const shown = state === 'starting' || state === 'idle' || state === 'busy' ? state : 'hibernated'
    return infoOf(record, shown, active?.running?.record?.activeMs)
  }
}
