import { randomUUID } from 'node:crypto'
import { calendarOf } from '../calendar.ts'
import type { Clock } from '../clock.ts'
import { SessionConflictError } from '../errors.ts'
import type { SessionRecord, Store } from '../store/store.ts'
import { recordActivity } from '../usage/usage.ts'
import type { Ownership } from './ownership.ts'

/** The record of a session that this host works on: what becomes of it, and what of that is durable. */
export class LiveRecord {
  readonly #record: SessionRecord
  readonly #store: Store
  readonly #clock: Clock
  /** Undefined for a session that is deleted at its end: no store knows it. */
  readonly #ownership: Ownership | undefined
  /** True while the record says more of its identity than the store. */
  #identityUnsaved = false

  constructor(
    record: SessionRecord,
    { store, clock }: { store: Store; clock: Clock },
    ownership: Ownership | undefined,
  ) {
    this.#record = record
    this.#store = store
    this.#clock = clock
    this.#ownership = ownership
  }

  get now(): Readonly<SessionRecord> {
    return this.#record
  }

  /** This host owns it from now on, and it is as its last owner left it. */
  refresh(record: SessionRecord): void {
    Object.assign(this.#record, record)
  }

  /** Notes what it has become; durable once any of the saves has resolved. */
  identify(identity: Pick<SessionRecord, 'sdkSessionId' | 'cwd' | 'ownsCwd'>): void {
    Object.assign(this.#record, identity)
    this.#identityUnsaved = true
  }

  /** Gives the conversation its id and its place before its first process. `makePlace` makes one of the pool's, by the id. */
  async settleIdentity(cwd: string | undefined, makePlace: (sdkSessionId: string) => Promise<string>): Promise<void> {
    const id = (this.#record.sdkSessionId ??= randomUUID())
    if (this.#record.cwd !== undefined) return
    this.#record.cwd = cwd ?? (await makePlace(id))
    this.#record.ownsCwd = cwd === undefined
  }

  /** The process of a host that died had begun it before that host could note it. */
  recordBegun(): void {
    this.#record.begun = true
  }

  /** From now on its prompt may have run: it is resumed ever after, also by another host. Resolves when that is durable. */
  async markBegun(): Promise<void> {
    if (this.#record.begun) return
    this.#record.begun = true
    try {
      await this.save()
    } catch (error) {
      this.#record.begun = false
      throw error
    }
  }

  /** Its conversation is gone: it has another one, of which nothing was said yet. */
  beginAnew(): void {
    Object.assign(this.#record, { begun: false, sdkSessionId: randomUUID(), turns: 0 })
  }

  /** Its process goes on with another conversation. Returns the record as it was. */
  recordReset(sdkSessionId: string): SessionRecord {
    const before = { ...this.#record }
    this.#record.sdkSessionId = sdkSessionId
    return before
  }

  /** Its options are another agent's from now on. Durable when a save has resolved. */
  recordAgent(agent: string): void {
    this.#record.agent = agent
  }

  /** Its options are another agent's from now on, for good. */
  async changeAgent(agent: string): Promise<void> {
    const before = this.#record.agent
    this.#record.agent = agent
    try {
      await this.save()
    } catch (error) {
      this.#record.agent = before
      throw error
    }
  }

  /** A turn has ended with a result. */
  async recordTurn(): Promise<void> {
    this.#record.turns += 1
    this.#record.lastUsedAt = calendarOf(this.#clock).latest
    await this.touch()
  }

  /** A turn has run for so long, in milliseconds. */
  recordActivity(ms: number): void {
    recordActivity(this.#record, ms)
  }

  /** Makes the record durable. */
  async save(): Promise<void> {
    const ownership = this.#ownership
    if (ownership?.isStored === false) await this.#create(ownership)
    else await ownership?.write((claim) => this.#store.put(this.#record, claim))
    this.#identityUnsaved = false
  }

  async #create(ownership: Ownership): Promise<void> {
    if (await ownership.create(this.#record)) return
    throw new SessionConflictError(`there is a session "${this.#record.key}" already`)
  }

  /** Makes its identity durable, unless a save has done so. */
  async saveIdentity(): Promise<void> {
    if (this.#identityUnsaved) await this.save()
  }

  /** Notes the use of the session, less urgently. */
  async touch(): Promise<void> {
    if (this.#ownership?.isStored === true)
      await this.#ownership.write((claim) => this.#store.touch(this.#record, claim))
  }
}
