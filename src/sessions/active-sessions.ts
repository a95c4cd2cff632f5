import { PoolClosedError } from '../errors.ts'
import type { SessionRecord } from '../store/store.ts'
import { ActiveSession } from './active-session.ts'
import type { Origin, SessionServices } from './active-session.ts'
import { sessionGone } from './session-record.ts'
import { isOfQuery } from '../agents/catalogue.ts'
import type { SessionIdentity } from './session-record.ts'

type SessionName = Pick<SessionRecord, 'tenant' | 'key'>

const idOf = ({ tenant, key }: SessionName): string => `${tenant}\0${key}`

/** The sessions that this host works on, in memory; the others are in the store. Never more than one object for a session. */
export class ActiveSessions {
  readonly #services: SessionServices
  readonly #keepsEvents: boolean
  readonly #active = new Map<string, ActiveSession>()
  /** One at a time for each key, so that two first uses begin one session. */
  readonly #loading = new Map<string, Promise<ActiveSession | undefined>>()
  #closed = false

  constructor(services: Omit<SessionServices, 'onIdle'>, { keepsEvents }: { keepsEvents: boolean }) {
    const onIdle = (session: ActiveSession): void => this.forgetIfQuiet(session)
    this.#services = { ...services, onIdle }
    this.#keepsEvents = keepsEvents
  }

  get size(): number {
    return this.#active.size
  }

  /** True while a conversation of this agent is active. */
  uses(agent: string): boolean {
    for (const { record } of this) if (record.agent === agent) return true
    return false
  }

  [Symbol.iterator](): Iterator<ActiveSession> {
    return this.#active.values()
  }

  get(name: SessionName): ActiveSession | undefined {
    return this.#active.get(idOf(name))
  }

  /** The session of a handle, if this host works on it. */
  inMemory(identity: SessionIdentity): ActiveSession | undefined {
    const active = this.get(identity)
    return active?.record.uid === identity.uid ? active : undefined
  }

  /** No session is found any more. */
  close(): void {
    this.#closed = true
  }

  get closed(): boolean {
    return this.#closed
  }

  checkOpen(): void {
    if (this.#closed) throw new PoolClosedError()
  }

  /** The conversation of a handle: SessionGoneError when it was deleted, or replaced by another under its key. */
  async find(identity: SessionIdentity): Promise<ActiveSession> {
    this.checkOpen()
    const conversation = await this.load(identity)
    if (conversation?.record.uid !== identity.uid) throw sessionGone(identity.key, 'session_deleted')
    return conversation
  }

  /** Works with the conversation of a handle, which is not forgotten meanwhile. */
  async with<T>(identity: SessionIdentity, work: (conversation: ActiveSession) => Promise<T>): Promise<T> {
    using held = this.hold(await this.find(identity))
    return await work(held.conversation)
  }

  /** Keeps a conversation that was found from being forgotten, until it is given back. */
  hold(found: ActiveSession): Disposable & { conversation: ActiveSession } {
    const conversation = this.current(found)
    conversation.hold()
    return {
      conversation,
      [Symbol.dispose]: () => {
        conversation.release()
        this.forgetIfQuiet(conversation)
      },
    }
  }

  /** From memory, else from the store, else as `begin` makes it. */
  async load(name: SessionName, begin?: () => Promise<ActiveSession>): Promise<ActiveSession | undefined> {
    const id = idOf(name)
    // One after the other: what another caller finds or begins is not what this one asked for.
    for (let other = this.#loading.get(id); other !== undefined; other = this.#loading.get(id)) {
      await other.catch(() => undefined)
    }
    const active = this.#active.get(id)
    if (active !== undefined) return active
    const loading = this.#fromStore(name, begin).finally(() => this.#loading.delete(id))
    this.#loading.set(id, loading)
    return loading
  }

  async #fromStore(
    { tenant, key }: SessionName,
    begin?: () => Promise<ActiveSession>,
  ): Promise<ActiveSession | undefined> {
    const record = await this.#services.store.get(tenant, key)
    if (record === undefined) return begin?.()
    // A session dropped as quiet just before its use may have been loaded again meanwhile.
    const active = this.get(record)
    return active?.record.uid === record.uid ? active : this.activate(record)
  }

  /** Takes up a session that the store knows. */
  activate(record: SessionRecord): ActiveSession {
    const conversation = this.#make(record, { isStored: true })
    this.#active.set(idOf(record), conversation)
    return conversation
  }

  #make(record: SessionRecord, { isStored }: { isStored: boolean }): ActiveSession {
    const events = this.#keepsEvents && !isOfQuery(record)
    return new ActiveSession(record, this.#services, { ephemeral: false, isStored, events })
  }

  /**
   * A session that begins now, with what `fill` adds to it, or the one that another host has begun under its key meanwhile.
   * What `fill` throws is thrown on.
   */
  async begin(record: SessionRecord, fill?: (session: ActiveSession) => Promise<void>): Promise<ActiveSession> {
    const { store, emitter } = this.#services
    const conversation = this.#make(record, { isStored: false })
    if ((await conversation.ownership?.create(record)) === false) {
      const found = await store.get(record.tenant, record.key)
      if (found === undefined) throw sessionGone(record.key, 'session_deleted')
      return this.activate(found)
    }
    await fill?.(conversation)
    await store.flush()
    this.#active.set(idOf(record), conversation)
    emitter.tell('session.created', { session: conversation.ref })
    return conversation
  }

  /** A conversation that a query begins. The store learns of it with its first process, or never if it is ephemeral. */
  beginQuery(
    record: SessionRecord,
    { ephemeral, origin }: { ephemeral: boolean; origin: Origin | undefined },
  ): ActiveSession {
    this.checkOpen()
    const conversation = new ActiveSession(record, this.#services, { ephemeral, isStored: false, events: false })
    if (origin !== undefined) conversation.beginFrom(origin)
    this.#active.set(idOf(record), conversation)
    this.#services.emitter.tell('session.created', { session: conversation.ref })
    return conversation
  }

  /** It was removed. */
  delete({ record }: ActiveSession): void {
    this.#active.delete(idOf(record))
  }

  /**
   * What nothing goes on with is read from the store again when it is needed: memory stays that of the active. Any host may
   * claim it then.
   */
  forgetIfQuiet(conversation: ActiveSession): void {
    if (conversation.quiet && !conversation.ephemeral && this.get(conversation.record) === conversation) {
      this.delete(conversation)
      void conversation.ownership?.release()
    }
  }

  /**
   * Between finding a conversation and using it, it may have been forgotten as quiet. Then it is taken up again, unless
   * another object has taken its place: there is never more than one that runs turns.
   */
  current(conversation: ActiveSession): ActiveSession {
    const active = this.get(conversation.record)
    // One of another uid is another session, begun after this one was deleted.
    if (active !== undefined) return active.record.uid === conversation.record.uid ? active : conversation
    if (conversation.gone === undefined) this.#active.set(idOf(conversation.record), conversation)
    return conversation
  }
}
