import type { Clock } from '../clock.ts'
import { PoolClosedError } from '../errors.ts'
import type { SessionRecord, Store } from '../store/store.ts'
import type { Agent } from '../agents/agent.ts'
import { Conversation } from './active-session.ts'
import type { ConversationHost, Origin } from './active-session.ts'
import type { PoolEmitter } from '../events.ts'
import { isOfQuery, sessionGone } from './session-record.ts'
import type { SessionIdentity } from './session.ts'
import type { Traces } from './session-files.ts'

export interface ActiveSessionsContext {
  clock: Clock
  store: Store
  emitter: PoolEmitter
  traces: Traces
  keepsEvents: boolean
  agentOf: (name: string) => Agent
  describe: ConversationHost['describe']
  run: ConversationHost['run']
  confirm: ConversationHost['confirm']
}

type SessionName = Pick<SessionRecord, 'tenant' | 'key'>

const idOf = ({ tenant, key }: SessionName): string => `${tenant}\0${key}`

/** The sessions that this host works on, in memory; the others are in the store. Never more than one object for a session. */
export class ActiveSessions {
  readonly #context: ActiveSessionsContext
  readonly #active = new Map<string, Conversation>()
  /** One at a time for each key, so that two first uses begin one session. */
  readonly #loading = new Map<string, Promise<Conversation | undefined>>()
  readonly #host: ConversationHost
  readonly #keepsEvents: boolean
  #closed = false

  constructor(context: ActiveSessionsContext) {
    this.#context = context
    const { store, clock, keepsEvents, agentOf, describe, run, confirm, traces, emitter } = context
    this.#keepsEvents = keepsEvents
    this.#host = {
      store,
      clock,
      permissionsOf: (agent) => agentOf(agent).permissions,
      describe,
      run,
      confirm,
      leaveBehind: (record) => traces.leaveBehind(record),
      onIdle: (conversation) => this.forgetIfQuiet(conversation),
      warn: (message, error) => emitter.tell('warning', { message, error }),
    }
  }

  get size(): number {
    return this.#active.size
  }

  /** True while a conversation of this agent is active. */
  uses(agent: string): boolean {
    for (const { record } of this) if (record.agent === agent) return true
    return false
  }

  [Symbol.iterator](): Iterator<Conversation> {
    return this.#active.values()
  }

  get(name: SessionName): Conversation | undefined {
    return this.#active.get(idOf(name))
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
  async find(identity: SessionIdentity): Promise<Conversation> {
    this.checkOpen()
    const conversation = await this.load(identity)
    if (conversation?.record.uid !== identity.uid) throw sessionGone(identity.key, 'session_deleted')
    return conversation
  }

  /** Works with the conversation of a handle, which is not forgotten meanwhile. */
  async with<T>(identity: SessionIdentity, work: (conversation: Conversation) => Promise<T>): Promise<T> {
    using held = this.hold(await this.find(identity))
    return await work(held.conversation)
  }

  /** Keeps a conversation that was found from being forgotten, until it is given back. */
  hold(found: Conversation): Disposable & { conversation: Conversation } {
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
  async load(name: SessionName, begin?: () => Promise<Conversation>): Promise<Conversation | undefined> {
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
    begin?: () => Promise<Conversation>,
  ): Promise<Conversation | undefined> {
    const record = await this.#context.store.get(tenant, key)
    if (record === undefined) return begin?.()
    // One that was forgotten as quiet while somebody was about to use it may have been taken up again meanwhile.
    const active = this.get(record)
    return active?.record.uid === record.uid ? active : this.activate(record)
  }

  /** Takes up a session that the store knows. */
  activate(record: SessionRecord): Conversation {
    const events = this.#keepsEvents && !isOfQuery(record)
    const conversation = new Conversation(record, this.#host, { ephemeral: false, events })
    this.#active.set(idOf(record), conversation)
    return conversation
  }

  async begin(record: SessionRecord): Promise<Conversation> {
    await this.#context.store.put(record)
    await this.#context.store.flush()
    const conversation = this.activate(record)
    this.#context.emitter.tell('session.created', { session: conversation.ref })
    return conversation
  }

  /** A conversation that a query begins. The store learns of it with its first process, or never if it is ephemeral. */
  beginQuery(
    record: SessionRecord,
    { ephemeral, origin }: { ephemeral: boolean; origin: Origin | undefined },
  ): Conversation {
    this.checkOpen()
    const conversation = new Conversation(record, this.#host, { ephemeral, events: false })
    conversation.origin = origin
    this.#active.set(idOf(record), conversation)
    this.#context.emitter.tell('session.created', { session: conversation.ref })
    return conversation
  }

  /** It was removed. */
  delete({ record }: Conversation): void {
    this.#active.delete(idOf(record))
  }

  /** What nothing goes on with is read from the store again when it is needed: memory stays that of the active. */
  forgetIfQuiet(conversation: Conversation): void {
    if (conversation.quiet && !conversation.ephemeral && this.get(conversation.record) === conversation) {
      this.delete(conversation)
    }
  }

  /**
   * Between finding a conversation and using it, it may have been forgotten as quiet. Then it is taken up again, unless
   * another object has taken its place: there is never more than one that runs turns.
   */
  current(conversation: Conversation): Conversation {
    const active = this.get(conversation.record)
    // One of another uid is another session, begun after this one was deleted.
    if (active !== undefined) return active.record.uid === conversation.record.uid ? active : conversation
    if (conversation.gone === undefined) this.#active.set(idOf(conversation.record), conversation)
    return conversation
  }
}
