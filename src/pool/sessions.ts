import { randomUUID } from 'node:crypto'
import type { Clock } from '../clock.ts'
import type { Driver } from '../driver/driver.ts'
import { CapacityError, ConfigError, PoolClosedError, SessionBusyError, SessionConflictError } from '../errors.ts'
import type { Limits } from '../options.ts'
import { wholeNumber } from '../options.ts'
import type { EventRange, SessionPage, SessionRecord, Store, StoredEvent, TenantPlaces } from '../store/store.ts'
import type { Agent } from './agent.ts'
import { Conversation, sessionGone } from './conversation.ts'
import type { ConversationHost } from './conversation.ts'
import { EventReader } from './event-reader.ts'
import type { EventOptions } from './event-reader.ts'
import type { PoolEmitter } from './events.ts'
import type { Fleet } from './fleet.ts'
import { checkName } from './input.ts'
import type { TurnInput } from './input.ts'
import type { Journal, NumberedEvent } from './journal.ts'
import { newTurn, outcomeOf } from './send.ts'
import { checkConflict, existingDirectory, newRecord } from './session-record.ts'
import type { NewSessionEvent } from './session-event.ts'
import { Session } from './session.ts'
import type { SendOptions, SessionHost, SessionIdentity, SessionInfo } from './session.ts'
import type { Starter } from './starts.ts'
import { SteeringTurn } from './steering.ts'
import { Traces } from './traces.ts'
import type { Transcripts } from './transcripts.ts'
import type { RunningTurn, Turn } from './turn.ts'
import { NOTHING_USED } from './usage.ts'

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
  removeWorkspace: Starter['removeWorkspace']
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

function journalOf({ journal, record }: Conversation): Journal {
  if (journal !== undefined) return journal
  throw new ConfigError('events', `are not kept, so session "${record.key}" has none; leave out events: false`)
}

const idOf = (tenant: string, key: string): string => `${tenant}\0${key}`

/** All sessions: those this host works on in memory, the others in the store. */
export class Sessions implements SessionHost {
  readonly #context: SessionsContext
  readonly #traces: Traces
  readonly #active = new Map<string, Conversation>()
  /** One at a time for each key, so that two first uses begin one session. */
  readonly #loading = new Map<string, Promise<Conversation | undefined>>()
  readonly #runs = new Set<Promise<void>>()
  readonly #host: ConversationHost
  readonly #closedTenants = new Set<string>()
  #closed = false

  constructor(context: SessionsContext) {
    this.#context = context
    this.#traces = new Traces(context)
    this.#host = {
      store: context.store,
      leaveBehind: (record) => this.#traces.leaveBehind(record),
      clock: context.clock,
      keepsEvents: context.keepsEvents,
      run: (conversation, turn) => this.#run(conversation, turn),
      onIdle: (conversation) => this.#forgetIfQuiet(conversation),
      warn: (message, error) => context.emitter.tell('warning', { message, error }),
    }
  }

  get activeCount(): number {
    return this.#active.size
  }

  /** True while a conversation of this agent is active. */
  uses(agent: string): boolean {
    for (const { record } of this.#active.values()) if (record.agent === agent) return true
    return false
  }

  conversationOf({ session }: { session: { tenant: string; key: string } | undefined }): Conversation | undefined {
    return session === undefined ? undefined : this.#active.get(idOf(session.tenant, session.key))
  }

  /** Finds the session of this key, or begins it. */
  async open(key: string, options: SessionOptions): Promise<Session> {
    this.#checkOpen()
    const tenant = options.tenant ?? 'default'
    checkName('key', key)
    checkName('tenant', tenant)
    if (this.#closedTenants.has(tenant)) throw sessionGone(key, 'session_deleted')
    const agent = options.agent === undefined ? undefined : this.#context.agentOf(options.agent)
    const cwd = options.cwd === undefined ? undefined : await existingDirectory(options.cwd)
    const conversation = await this.#load(tenant, key, () => {
      if (agent === undefined) throw sessionGone(key, 'session_not_found')
      return this.#begin(newRecord({ tenant, key, agent: agent.name, cwd }, this.#context.clock.wall()))
    })
    if (conversation === undefined) throw sessionGone(key, 'session_not_found')
    this.#forgetIfQuiet(conversation)
    checkConflict(conversation.record, agent?.name, cwd)
    return this.handle(conversation.record)
  }

  handle({ tenant, key, uid, agent }: SessionRecord): Session {
    return new Session({ tenant, key, uid, agent }, this)
  }

  async list(page: Partial<SessionPage>): Promise<SessionInfo[]> {
    this.#checkOpen()
    const limit = wholeNumber('limit', page.limit ?? 100, 1)
    const records = await this.#context.store.list({ ...page, limit })
    return records.map((record) => this.#describe(this.#active.get(idOf(record.tenant, record.key))?.record ?? record))
  }

  /** A conversation that no store knows and that ends with its caller. */
  beginEphemeral(agent: Agent, cwd: string | undefined): Conversation {
    this.#checkOpen()
    const record = newRecord(
      { tenant: 'default', key: `query:${randomUUID()}`, agent: agent.name, cwd },
      this.#context.clock.wall(),
    )
    const conversation = new Conversation(record, this.#host, true)
    this.#active.set(idOf(record.tenant, record.key), conversation)
    this.#context.emitter.tell('session.created', { session: conversation.ref })
    return conversation
  }

  send(identity: SessionIdentity, input: TurnInput, options: SendOptions): Turn {
    const active = this.#active.get(idOf(identity.tenant, identity.key))
    if (active !== undefined && active.record.uid === identity.uid) return this.sendTo(active, input, options)
    const turn = this.#newTurn(input, options, identity.agent)
    this.#find(identity).then(
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

  warm(identity: SessionIdentity): Promise<void> {
    return this.#with(identity, async (conversation) => {
      try {
        await this.#context.fleet().warm(conversation)
      } catch (error) {
        // What became of its process says less than why.
        throw conversation.gone ?? error
      }
    })
  }

  hibernate(identity: SessionIdentity): Promise<void> {
    return this.#with(identity, (conversation) => this.#hibernate(conversation))
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
    return this.#with(identity, (conversation) => this.#fork(conversation, key))
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
    const other = await this.#load(record.tenant, key)
    if (other !== undefined) {
      this.#forgetIfQuiet(other)
      throw taken
    }
    const { tenant, agent, cwd, ownsCwd } = record
    const fork = newRecord({ tenant, key, agent, cwd: ownsCwd ? undefined : cwd }, this.#context.clock.wall())
    if (record.begun) Object.assign(fork, await this.#traces.copy(record, fork.uid))
    try {
      const forked = await this.#load(tenant, key, () => this.#begin(fork))
      // Another fork may have been faster: what was copied for this one goes again.
      if (forked?.record.uid !== fork.uid) throw taken
      this.#forgetIfQuiet(forked)
    } catch (error) {
      await this.#traces.remove(fork)
      throw error
    }
    return this.handle(fork)
  }

  async remove(identity: SessionIdentity): Promise<void> {
    const conversation = await this.#find(identity).catch((error: unknown) => {
      if ((error as { code?: string }).code === 'session_deleted') return undefined
      throw error
    })
    if (conversation !== undefined) await this.erase(this.#current(conversation))
  }

  /** Ends what runs, then removes the session with all that it left. One that failed may be asked for again. */
  erase(conversation: Conversation): Promise<void> {
    conversation.erasing ??= this.#erase(conversation).catch((error: unknown) => {
      conversation.erasing = undefined
      throw error
    })
    return conversation.erasing
  }

  async #erase(conversation: Conversation): Promise<void> {
    const { record } = conversation
    conversation.hold()
    const gone = sessionGone(record.key, 'session_deleted')
    conversation.end(gone)
    conversation.journal?.end(gone)
    void conversation.worker?.leave('deleted')
    await conversation.settled
    await conversation.opening?.catch(() => undefined)
    await conversation.worker?.leave('deleted')
    if (!conversation.ephemeral) await this.#context.store.remove(record.tenant, record.key)
    this.#active.delete(idOf(record.tenant, record.key))
    await this.#traces.remove(record)
    this.#context.emitter.tell('session.deleted', { session: conversation.ref })
  }

  async info(identity: SessionIdentity): Promise<SessionInfo> {
    const conversation = await this.#find(identity)
    const info = this.#describe(conversation.record)
    this.#forgetIfQuiet(conversation)
    return info
  }

  events(identity: SessionIdentity, options: EventOptions): EventReader {
    const { after = 0 } = options
    wholeNumber('after', after, 0)
    return new EventReader({ open: () => this.#followed(identity) }, options)
  }

  /** Somebody follows: the conversation stays, so that he hears of what is added to it. */
  async #followed(identity: SessionIdentity): Promise<{ journal: Journal; release: () => void }> {
    const conversation = this.#current(await this.#find(identity))
    conversation.hold()
    const release = (): void => {
      conversation.release()
      this.#forgetIfQuiet(conversation)
    }
    try {
      return { journal: journalOf(conversation), release }
    } catch (error) {
      release()
      throw error
    }
  }

  append(identity: SessionIdentity, events: readonly NewSessionEvent[]): Promise<NumberedEvent[]> {
    return this.#with(identity, async (conversation) => {
      const added = await journalOf(conversation).append(events)
      for (const { event } of added) conversation.running?.record?.told(event)
      return added
    })
  }

  /** True while this host has a process or a turn of it. */
  isLive({ tenant, key }: Pick<SessionRecord, 'tenant' | 'key'>): boolean {
    const active = this.#active.get(idOf(tenant, key))
    return active !== undefined && !active.quiet
  }

  /** Removes a session that nobody has used since that time; false when somebody has, or uses it now. */
  async removeUnused({
    tenant,
    key,
    lastUsedAt,
  }: Pick<SessionRecord, 'tenant' | 'key' | 'lastUsedAt'>): Promise<boolean> {
    const conversation = await this.#load(tenant, key)
    if (conversation === undefined) return false
    if (!conversation.quiet || conversation.record.lastUsedAt !== lastUsedAt) {
      this.#forgetIfQuiet(conversation)
      return false
    }
    await this.erase(conversation)
    return true
  }

  /** Ends what runs of a session, and removes it. */
  async eraseRecord({ tenant, key }: SessionRecord): Promise<void> {
    const conversation = await this.#load(tenant, key)
    if (conversation !== undefined) await this.erase(this.#current(conversation))
  }

  /** Ends what runs for a tenant, for whom nothing can be begun until the work is done. */
  async closeTenant(tenant: string, work: () => Promise<void>): Promise<void> {
    this.#checkOpen()
    checkName('tenant', tenant)
    this.#closedTenants.add(tenant)
    try {
      const active = [...this.#active.values()].filter(({ record }) => record.tenant === tenant)
      await Promise.all(active.map((conversation) => this.erase(conversation)))
      await this.#context.fleet().endTenant(tenant)
      await work()
    } finally {
      this.#closedTenants.delete(tenant)
    }
  }

  /** A session between two turns. It is not forgotten before it is given back. */
  async holdIdle(tenant: string, key: string): Promise<Disposable & { record: SessionRecord; busy: () => boolean }> {
    this.#checkOpen()
    const found = await this.#load(tenant, key)
    if (found === undefined) throw sessionGone(key, 'session_not_found')
    const conversation = this.#current(found)
    const busy = (): boolean => conversation.running !== undefined
    if (busy()) throw new SessionBusyError(`session "${key}" runs a turn; try again when that has ended`)
    conversation.hold()
    await conversation.settled
    return {
      record: conversation.record,
      busy,
      [Symbol.dispose]: () => {
        conversation.release()
        this.#forgetIfQuiet(conversation)
      },
    }
  }

  /** Takes in a session that comes with its events; what else belongs to it is brought by `fill`. All of it or nothing. */
  async adopt(
    record: SessionRecord,
    fill: (events: (events: StoredEvent[]) => Promise<void>) => Promise<void>,
  ): Promise<Session> {
    this.#checkOpen()
    checkName('key', record.key)
    checkName('tenant', record.tenant)
    let adopted = false
    // Whoever asks for this key meanwhile waits until all of it is there.
    const found = await this.#load(record.tenant, record.key, async () => {
      await this.#context.store.put(record)
      try {
        await fill((events) => this.#context.store.appendEvents(record.uid, events))
      } catch (error) {
        await this.#context.store.remove(record.tenant, record.key)
        throw error
      }
      adopted = true
      return this.#activate(record)
    }).catch(async (error: unknown) => {
      await this.#traces.remove(record)
      throw error
    })
    if (found !== undefined) this.#forgetIfQuiet(found)
    if (!adopted) {
      await this.#traces.remove(record)
      throw new SessionConflictError(
        `there is a session "${record.key}" already; import it under another key, or delete that one`,
      )
    }
    const { tenant, key, agent } = record
    this.#context.emitter.tell('session.created', { session: { tenant, key, agent } })
    return this.handle(record)
  }

  history(identity: SessionIdentity, range: EventRange): Promise<NumberedEvent[]> {
    return this.#with(identity, async (conversation) => {
      const journal = journalOf(conversation)
      await journal.ready()
      return journal.page(range)
    })
  }

  /** The keys of a tenant's sessions that run a turn now. */
  runningKeys(tenant: string): string[] {
    return [...this.#active.values()].flatMap(({ record, running }) =>
      record.tenant === tenant && running !== undefined ? [record.key] : [],
    )
  }

  async interrupt(identity: SessionIdentity): Promise<boolean> {
    const { running } = await this.#find(identity)
    await running?.interrupt()
    return running !== undefined
  }

  changeAgent(identity: SessionIdentity, agent: string): Promise<void> {
    this.#context.agentOf(agent)
    return this.#with(identity, async (conversation) => {
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
    return record === undefined ? undefined : this.#load(record.tenant, record.key)
  }

  /** Ends all turns with this error; resolves when each has given back what it held. */
  async close(error: Error): Promise<void> {
    this.#closed = true
    const ended = [...this.#active.values()]
    for (const conversation of ended) conversation.end(error)
    await this.settled()
    // Whoever follows is told how its turn ended before it is told that this is the end.
    for (const { journal } of ended) {
      await journal?.flushed()
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

  #checkOpen(): void {
    if (this.#closed) throw new PoolClosedError()
  }

  /** The conversation of a handle: SessionGoneError when it was deleted, or replaced by another under its key. */
  async #find({ tenant, key, uid }: SessionIdentity): Promise<Conversation> {
    this.#checkOpen()
    const conversation = await this.#load(tenant, key)
    if (conversation?.record.uid !== uid) throw sessionGone(key, 'session_deleted')
    return conversation
  }

  /** Works with the conversation of a handle, which is not forgotten meanwhile. */
  async #with<T>(identity: SessionIdentity, work: (conversation: Conversation) => Promise<T>): Promise<T> {
    const conversation = this.#current(await this.#find(identity))
    conversation.hold()
    try {
      return await work(conversation)
    } finally {
      conversation.release()
      this.#forgetIfQuiet(conversation)
    }
  }

  /** From memory, else from the store, else as `begin` makes it. */
  async #load(tenant: string, key: string, begin?: () => Promise<Conversation>): Promise<Conversation | undefined> {
    const id = idOf(tenant, key)
    // One after the other: what another caller finds or begins is not what this one asked for.
    for (let other = this.#loading.get(id); other !== undefined; other = this.#loading.get(id)) {
      await other.catch(() => undefined)
    }
    const active = this.#active.get(id)
    if (active !== undefined) return active
    const loading = this.#fromStore(tenant, key, begin).finally(() => this.#loading.delete(id))
    this.#loading.set(id, loading)
    return loading
  }

  async #fromStore(
    tenant: string,
    key: string,
    begin?: () => Promise<Conversation>,
  ): Promise<Conversation | undefined> {
    const record = await this.#context.store.get(tenant, key)
    if (record === undefined) return begin?.()
    return this.#activate(record)
  }

  #activate(record: SessionRecord): Conversation {
    const conversation = new Conversation(record, this.#host, false)
    this.#active.set(idOf(record.tenant, record.key), conversation)
    return conversation
  }

  async #begin(record: SessionRecord): Promise<Conversation> {
    await this.#context.store.put(record)
    const conversation = this.#activate(record)
    this.#context.emitter.tell('session.created', { session: conversation.ref })
    return conversation
  }

  /** What nothing goes on with is read from the store again when it is needed: memory stays that of the active. */
  #forgetIfQuiet(conversation: Conversation): void {
    const id = idOf(conversation.record.tenant, conversation.record.key)
    if (conversation.quiet && !conversation.ephemeral && this.#active.get(id) === conversation) this.#active.delete(id)
  }

  /**
   * Between finding a conversation and using it, it may have been forgotten as quiet. Then it is taken up again, unless
   * another object has taken its place: there is never more than one that runs turns.
   */
  #current(conversation: Conversation): Conversation {
    const id = idOf(conversation.record.tenant, conversation.record.key)
    const active = this.#active.get(id)
    // One of another uid is another session, begun after this one was deleted.
    if (active !== undefined) return active.record.uid === conversation.record.uid ? active : conversation
    if (conversation.gone === undefined) this.#active.set(id, conversation)
    return conversation
  }

  #newTurn(input: TurnInput, options: SendOptions, agent: string): RunningTurn {
    const { clock, limits, agentOf } = this.#context
    const { turnTimeMs, silenceMs } = limits
    return newTurn(input, options, { clock, limits: () => ({ turnTimeMs, silenceMs, ...agentOf(agent).limits }) })
  }

  #admit(found: Conversation, turn: RunningTurn, { onBusy }: SendOptions): void {
    if (this.#closed) turn.fail(new PoolClosedError())
    if (turn.phase === 'ended') {
      this.#forgetIfQuiet(found)
      return
    }
    const conversation = this.#current(found)
    conversation.keep(turn)
    const startedAt = this.#context.clock.now()
    void turn.ended.then(() => this.#report(conversation, turn, startedAt))
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
    const { tenant, key, agent, cwd, sdkSessionId, turns, usage, createdAt, lastUsedAt } = record
    const state = this.#active.get(idOf(tenant, key))?.worker?.state
    const shown = state === 'starting' || state === 'idle' || state === 'busy' ? state : 'hibernated'
    const used = usage?.total ?? NOTHING_USED
    return { tenant, key, agent, cwd, sdkSessionId, state: shown, turns, usage: used, createdAt, lastUsedAt }
  }
}
