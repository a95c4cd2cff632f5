import { SessionBusyError, SessionConflictError } from '../errors.ts'
import { eraseEvents } from './erase-events.ts'
import type { SessionRecord, Store, StoredEvent } from '../store/store.ts'
import type { ActiveSessions } from './active-sessions.ts'
import { sessionGone } from './conversation.ts'
import type { Conversation } from './conversation.ts'
import type { PoolEmitter } from './events.ts'
import type { Fleet } from './fleet.ts'
import { checkName } from './input.ts'
import type { Traces } from './traces.ts'

export interface KeptSessionsContext {
  active: ActiveSessions
  store: Store
  emitter: PoolEmitter
  traces: Traces
  fleet: () => Fleet
}

/** Sessions as what is kept: they come in whole, are looked at between turns, and are removed with all that they left. */
export class KeptSessions {
  readonly #context: KeptSessionsContext
  readonly #active: ActiveSessions
  readonly #closedTenants = new Set<string>()

  constructor(context: KeptSessionsContext) {
    this.#context = context
    this.#active = context.active
  }

  /** True while a tenant is being removed. */
  isClosed(tenant: string): boolean {
    return this.#closedTenants.has(tenant)
  }

  /** True while this host has a process or a turn of it. */
  isLive(session: Pick<SessionRecord, 'tenant' | 'key'>): boolean {
    const active = this.#active.get(session)
    return active !== undefined && !active.quiet
  }

  /** The SDK's ids of all conversations that a session has had. */
  conversationsOf(record: SessionRecord): Promise<string[]> {
    return this.#context.traces.conversations(record)
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
    const { store, traces, emitter } = this.#context
    conversation.hold()
    const gone = sessionGone(record.key, 'session_deleted')
    conversation.end(gone)
    conversation.journal?.end(gone)
    void conversation.worker?.leave('deleted')
    await conversation.settled
    await conversation.opening?.catch(() => undefined)
    await conversation.worker?.leave('deleted')
    if (!conversation.ephemeral) {
      await eraseEvents(store, record.uid)
      await store.remove(record.tenant, record.key)
    }
    this.#active.delete(conversation)
    await Promise.all([traces.remove(record), store.flush()])
    emitter.tell('session.deleted', { session: conversation.ref })
  }

  /** Ends what runs of a session, and removes it. */
  async eraseRecord(record: SessionRecord): Promise<void> {
    const conversation = await this.#active.load(record)
    if (conversation !== undefined) await this.erase(this.#active.current(conversation))
  }

  /** Removes a session that nobody has used since that time; false when somebody has, or uses it now. */
  async removeUnused(session: Pick<SessionRecord, 'tenant' | 'key' | 'lastUsedAt'>): Promise<boolean> {
    const conversation = await this.#active.load(session)
    if (conversation === undefined) return false
    if (!conversation.quiet || conversation.record.lastUsedAt !== session.lastUsedAt) {
      this.#active.forgetIfQuiet(conversation)
      return false
    }
    await this.erase(conversation)
    return true
  }

  /** Ends what runs for a tenant, for whom nothing can be begun until the work is done. */
  async closeTenant(tenant: string, work: () => Promise<void>): Promise<void> {
    this.#active.checkOpen()
    checkName('tenant', tenant)
    this.#closedTenants.add(tenant)
    try {
      const active = [...this.#active].filter(({ record }) => record.tenant === tenant)
      await Promise.all(active.map((conversation) => this.erase(conversation)))
      await this.#context.fleet().endTenant(tenant)
      await work()
    } finally {
      this.#closedTenants.delete(tenant)
    }
  }

  /** A session between two turns. It is not forgotten before it is given back. */
  async holdIdle(tenant: string, key: string): Promise<Disposable & { record: SessionRecord; busy: () => boolean }> {
    this.#active.checkOpen()
    const found = await this.#active.load({ tenant, key })
    if (found === undefined) throw sessionGone(key, 'session_not_found')
    const current = this.#active.current(found)
    const busy = (): boolean => current.running !== undefined
    if (busy()) throw new SessionBusyError(`session "${key}" runs a turn; try again when that has ended`)
    const held = this.#active.hold(current)
    await current.settled
    return { record: current.record, busy, [Symbol.dispose]: () => held[Symbol.dispose]() }
  }

  /** Takes in a session that comes with its events; what else belongs to it is brought by `fill`. All of it or nothing. */
  async adopt(
    record: SessionRecord,
    fill: (events: (events: StoredEvent[]) => Promise<void>) => Promise<void>,
  ): Promise<void> {
    const { store, traces, emitter } = this.#context
    this.#active.checkOpen()
    checkName('key', record.key)
    checkName('tenant', record.tenant)
    let adopted = false
    // Whoever asks for this key meanwhile waits until all of it is there.
    const found = await this.#active
      .load(record, async () => {
        await store.put(record)
        try {
          await fill((events) => store.appendEvents(record.uid, events))
          await store.flush()
        } catch (error) {
          await store.remove(record.tenant, record.key)
          throw error
        }
        adopted = true
        return this.#active.activate(record)
      })
      .catch(async (error: unknown) => {
        await traces.remove(record)
        throw error
      })
    if (found !== undefined) this.#active.forgetIfQuiet(found)
    if (!adopted) {
      await traces.remove(record)
      throw new SessionConflictError(
        `there is a session "${record.key}" already; import it under another key, or delete that one`,
      )
    }
    const { tenant, key, agent } = record
    emitter.tell('session.created', { session: { tenant, key, agent } })
  }
}
