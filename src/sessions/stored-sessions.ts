import { FencedError, FilesError, SessionBusyError, SessionConflictError, SessionGoneError } from '../errors.ts'
import { eraseEvents } from '../journal/erase-events.ts'
import type { SessionOwnership, SessionRecord, Store, StoredEvent } from '../store/store.ts'
import type { ActiveSessions } from './active-sessions.ts'
import type { ActiveSession } from './active-session.ts'
import type { PoolEmitter } from '../events.ts'
import type { Fleet } from '../fleet/fleet.ts'
import type { SessionFiles } from './session-files.ts'
import { sessionGone, checkName } from './session-record.ts'

export interface StoredSessionsContext {
  active: ActiveSessions
  store: Store
  emitter: PoolEmitter
  files: SessionFiles
  fleet: Fleet
}

/** Adds what belongs to a session that comes in. */
type Fill = (events: (events: StoredEvent[]) => Promise<void>, ownership: SessionOwnership | undefined) => Promise<void>

/** A session that is not forgotten before it is given back. */
export interface HeldSession extends Disposable {
  readonly record: SessionRecord
  readonly ownership: SessionOwnership | undefined
  /** True while it runs a turn. */
  busy(): boolean
}

/** Sessions as what is kept: they come in whole, are looked at between turns, and are removed with all that they left. */
export class StoredSessions {
  readonly #context: StoredSessionsContext
  readonly #active: ActiveSessions
  readonly #closedTenants = new Set<string>()

  constructor(context: StoredSessionsContext) {
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
    return active !== undefined && active.gone === undefined && !active.quiet
  }

  /** Tenants, directories and conversations of processes that are there now. */
  get inUse(): Fleet['inUse'] {
    return this.#context.fleet.inUse
  }

  /** The SDK's ids of all conversations that a session has had. */
  conversationsOf(record: SessionRecord): Promise<string[]> {
    return this.#context.files.conversations(record)
  }

  /**
   * Ends what runs, then removes the session with all that it left. Throws FilesError when files of it stay: then its record stays,
   * too, it runs no more turns, and its removal may be asked for again. Without `files`, these are left to the caller.
   */
  erase(conversation: ActiveSession, { files = true }: { files?: boolean } = {}): Promise<void> {
    return conversation.erase(() => this.#erase(conversation, files))
  }

  async #erase(conversation: ActiveSession, files: boolean): Promise<void> {
    const { record } = conversation
    const { store, emitter, fleet } = this.#context
    conversation.hold()
    if (!conversation.owned) await this.#own(conversation)
    const gone = sessionGone(record.key, 'session_deleted')
    conversation.end(gone)
    conversation.journal?.end(gone)
    void conversation.worker?.close('deleted')
    await conversation.settled
    await conversation.opening?.catch(() => undefined)
    await conversation.worker?.close('deleted')
    // Files first: as long as some are there, the record says whose they are.
    if (files) await this.#removeTraces(conversation)
    const { ownership } = conversation
    if (ownership?.isStored === true) {
      await ownership.write((claim) => eraseEvents(store, claim))
      await ownership.write((claim) => store.remove(claim))
    }
    this.#active.delete(conversation)
    await store.flush()
    fleet.residents.sessionDeleted(conversation.ref)
    emitter.tell('session.deleted', { session: conversation.ref })
  }

  async #own(conversation: ActiveSession): Promise<void> {
    try {
      await conversation.own()
    } catch (error) {
      conversation.release()
      this.#active.forgetIfQuiet(conversation)
      throw error
    }
  }

  async #removeTraces(conversation: ActiveSession): Promise<void> {
    const { record, ephemeral, ownership } = conversation
    try {
      await this.#context.files.remove(record, ownership)
    } catch (error) {
      if (!(error instanceof FilesError)) throw error
      // No record says of such a one that it was there: what stays is a leftover.
      if (ephemeral) return this.#context.emitter.tell('warning', { message: 'a query has left files behind', error })
      const message = `session "${record.key}" is deleted but for some of its files; delete it again to remove them`
      conversation.end(new SessionGoneError('session_deleted', message))
      throw error
    }
  }

  /** Ends what runs of a session, and removes it from the store. Its files are left to the caller. */
  async eraseRecord(record: SessionRecord): Promise<void> {
    const conversation = await this.#active.load(record)
    if (conversation !== undefined) await this.#eraseSparing(this.#active.current(conversation))
  }

  async #eraseSparing(conversation: ActiveSession): Promise<void> {
    // A removal with its files that was under way may fail for them.
    await conversation.erasing?.catch(() => undefined)
    await this.erase(conversation, { files: false })
  }

  /** Removes a session that was not used since that time; false if it was, or is in use here or on another host. */
  async removeUnused(session: Pick<SessionRecord, 'tenant' | 'key' | 'lastUsedAt'>): Promise<boolean> {
    const conversation = await this.#active.load(session)
    if (conversation === undefined) return false
    const isUsed = !conversation.quiet || conversation.record.lastUsedAt !== session.lastUsedAt
    // A session whose removal failed before is not in use.
    if (conversation.gone === undefined && isUsed) {
      this.#active.forgetIfQuiet(conversation)
      return false
    }
    return unlessFenced(this.erase(conversation))
  }

  /** Removes the events of a session before this number; false if it is gone or another host owns it. */
  async trimEvents({ tenant, key, uid }: SessionRecord, before: number): Promise<boolean> {
    const found = await this.#active.load({ tenant, key })
    if (found === undefined) return false
    using held = this.#active.hold(found)
    const { record, ownership } = held.conversation
    if (record.uid !== uid || ownership === undefined) return false
    return await unlessFenced(ownership.write((claim) => this.#context.store.trimEvents(claim, before)))
  }

  /** Ends what runs for a tenant, for whom nothing can be begun until the work is done. */
  async closeTenant(tenant: string, work: () => Promise<void>): Promise<void> {
    this.#active.checkOpen()
    checkName('tenant', tenant)
    this.#closedTenants.add(tenant)
    try {
      const active = [...this.#active].filter(({ record }) => record.tenant === tenant)
      await Promise.all(active.map((conversation) => this.#eraseSparing(conversation)))
      await this.#context.fleet.endTenant(tenant)
      await work()
    } finally {
      this.#closedTenants.delete(tenant)
    }
  }

  /** A session between two turns. It is not forgotten before it is given back. */
  async holdIdle(tenant: string, key: string): Promise<HeldSession> {
    this.#active.checkOpen()
    const found = await this.#active.load({ tenant, key })
    if (found === undefined) throw sessionGone(key, 'session_not_found')
    const current = this.#active.current(found)
    const busy = (): boolean => current.running !== undefined
    if (busy()) throw new SessionBusyError(`session "${key}" runs a turn; try again when that has ended`)
    const held = this.#active.hold(current)
    await current.settled
    const { record, ownership } = current
    return { record, ownership, busy, [Symbol.dispose]: () => held[Symbol.dispose]() }
  }

  /** Takes in a session that comes with its events; what else belongs to it is brought by `fill`. All of it or nothing. */
  async adopt(record: SessionRecord, fill: Fill): Promise<void> {
    this.#active.checkOpen()
    checkName('key', record.key)
    checkName('tenant', record.tenant)
    let adopted = false
    // A caller that asks for this key meanwhile waits until all of it is there.
    const found = await this.#active
      .load(record, () =>
        this.#active.begin(record, async (session) => {
          await this.#fill(session, fill)
          adopted = true
        }),
      )
      .catch(async (error: unknown) => {
        await this.#removeArrived(record)
        throw error
      })
    if (found !== undefined) this.#active.forgetIfQuiet(found)
    if (!adopted) {
      await this.#removeArrived(record)
      throw new SessionConflictError(
        `there is a session "${record.key}" already; import it under another key, or delete that one`,
      )
    }
  }

  async #fill({ ownership }: ActiveSession, fill: Fill): Promise<void> {
    const { store } = this.#context
    try {
      await fill(async (events) => ownership?.write((claim) => store.appendEvents(claim, events)), ownership)
    } catch (error) {
      await ownership?.write((claim) => store.remove(claim))
      throw error
    }
  }

  /** Removes what has come of a session that does not come. What stays is found as a leftover. */
  async #removeArrived(record: SessionRecord): Promise<void> {
    await this.#context.files.remove(record, undefined).catch((error: unknown) => {
      const message = `files of the session "${record.key}", which was not imported, stay`
      this.#context.emitter.tell('warning', { message, error })
    })
  }
}

/** False where another host owns the session. */
async function unlessFenced(work: Promise<void>): Promise<boolean> {
  try {
    await work
    return true
  } catch (error) {
    if (error instanceof FencedError) return false
    throw error
  }
}
