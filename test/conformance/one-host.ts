import type { SessionClaim, SessionRecord, Store, StoredEvent } from '../../src/store/store.ts'

/** What one host at a time does with a store: its writes, with the claims that they need. */
export class OneHost {
  readonly #store: Store
  #owner: string
  readonly #claims = new Map<string, SessionClaim>()

  private constructor(store: Store, owner: string) {
    this.#store = store
    this.#owner = owner
  }

  /** At the place of a pool's own host, the pool's host before is gone from then on. */
  static async of(store: Store, place = 'here'): Promise<OneHost> {
    return new OneHost(store, await store.register(place))
  }

  /** Takes a session over from a host that is gone, or that has given it back. */
  async claim(uid: string): Promise<void> {
    this.#claims.set(uid, (await this.#store.claim(uid, this.#owner)).claim)
  }

  async release(uid: string): Promise<void> {
    await this.#store.release(this.claimOf(uid))
    this.#claims.delete(uid)
  }

  /** The host's claim of a session, also of one that is not there. */
  claimOf(uid: string): SessionClaim {
    return this.#claims.get(uid) ?? { uid, owner: this.#owner, fence: 1 }
  }

  /** Adds a session, or replaces its record. */
  async put(record: SessionRecord): Promise<void> {
    const before = this.#claims.get(record.uid)
    if (before !== undefined) return this.#store.put(record, before)
    const claim = await this.#store.create(record, this.#owner)
    if (claim === undefined) throw new Error(`the key ${record.key} is taken`)
    this.#claims.set(record.uid, claim)
  }

  touch(record: SessionRecord): Promise<void> {
    return this.#store.touch(record, this.claimOf(record.uid))
  }

  /** Removes the session that has this key, if one has it. */
  async remove(tenant: string, key: string): Promise<void> {
    const found = await this.#store.get(tenant, key)
    if (found !== undefined) await this.#store.remove(this.claimOf(found.uid))
    if (found !== undefined) this.#claims.delete(found.uid)
  }

  appendEvents(uid: string, events: readonly StoredEvent[], turn?: 'open' | 'closed'): Promise<void> {
    return this.#store.appendEvents(this.claimOf(uid), events, turn)
  }

  trimEvents(uid: string, before: number): Promise<void> {
    return this.#store.trimEvents(this.claimOf(uid), before)
  }

  /** The host dies, and the next one takes over the sessions with a running turn. */
  async openTurns(): Promise<SessionRecord[]> {
    this.#owner = await this.#store.register('here')
    const adopted = await this.#store.adopt(this.#owner, 1_000)
    for (const { claim } of adopted) this.#claims.set(claim.uid, claim)
    return adopted.map(({ record }) => record)
  }
}
