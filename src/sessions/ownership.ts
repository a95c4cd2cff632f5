import { FencedError, SessionElsewhereError } from '../errors.ts'
import type {
  ClaimedSession,
  HostMember,
  SessionClaim,
  SessionOwnership,
  SessionRecord,
  Store,
} from '../store/store.ts'

/** Hears what becomes of a session's ownership. */
export interface OwnershipListener {
  /** This host owns the session now, which is as this record says. `openTurn`: its last owner has left it in a turn. */
  claimed(record: SessionRecord, openTurn: boolean): void
  /** Another host has claimed the session since. */
  lost(error: FencedError): void
}

export interface OwnershipContext {
  store: Store
  /** This host. */
  member: HostMember
  /** Gives claims back that could not be given back at first. */
  returns?: Returns | undefined
  listener?: OwnershipListener
}

type Claimed = Pick<ClaimedSession, 'claim' | 'lastEvent'>

/** Claims whose return has failed. Until they are back, no other host may take their sessions. */
export class Returns {
  readonly #store: Pick<Store, 'release'>
  readonly #claims = new Set<SessionClaim>()
  #trying = false

  constructor(store: Pick<Store, 'release'>) {
    this.#store = store
  }

  get size(): number {
    return this.#claims.size
  }

  add(claim: SessionClaim): void {
    this.#claims.add(claim)
  }

  /** Tries again, unless that is under way. Never rejects: what fails is left to the next time. */
  async again(): Promise<void> {
    if (this.#trying) return
    this.#trying = true
    try {
      for (const claim of this.#claims) {
        await this.#store.release(claim)
        this.#claims.delete(claim)
      }
    } catch {
      // The store is away for the others as well.
    } finally {
      this.#trying = false
    }
  }
}

/** This host's claim of one session. It is taken at the first write and carried by each. */
export class Ownership implements SessionOwnership {
  readonly #uid: string
  readonly #context: OwnershipContext
  #isStored: boolean
  #held: Claimed | undefined
  #claiming: Promise<Claimed> | undefined
  #lost: FencedError | undefined

  /** `known`: the session is in the store, and whether this host has claimed it already. */
  constructor(uid: string, context: OwnershipContext, known: { isStored: boolean; claimed?: Claimed }) {
    this.#uid = uid
    this.#context = context
    this.#isStored = known.isStored
    this.#held = known.claimed
  }

  get isStored(): boolean {
    return this.#isStored
  }

  get held(): Claimed | undefined {
    return this.#held
  }

  get isReleased(): boolean {
    return this.#held === undefined && this.#lost === undefined
  }

  /** Adds the session to the store, owned by this host. False: its key is taken. Rejects with StoreError. */
  async create(record: SessionRecord): Promise<boolean> {
    const claim = await this.#context.store.create(record, this.#context.member.id)
    if (claim === undefined) return false
    this.#isStored = true
    this.#held = { claim, lastEvent: 0 }
    return true
  }

  async take(): Promise<Claimed> {
    if (this.#lost !== undefined) throw this.#lost
    if (this.#held !== undefined) return this.#held
    this.#claiming ??= this.#claim().finally(() => {
      this.#claiming = undefined
    })
    return this.#claiming
  }

  write<T>(work: (claim: SessionClaim) => Promise<T>): Promise<T> {
    const carried = ({ claim }: Claimed): Promise<T> =>
      work(claim).catch((error: unknown) => {
        // One that came too late for its claim says nothing of the next one.
        if (error instanceof FencedError && this.#held?.claim === claim) this.#lose(error)
        throw error
      })
    // At once: what is written after it comes after it.
    return this.#held === undefined ? this.take().then(carried) : carried(this.#held)
  }

  /** Gives the session back. A later write claims it again. What fails is tried again with the next beats. */
  async release(): Promise<void> {
    const held = this.#held
    this.#held = undefined
    if (held === undefined) return
    const { store, returns } = this.#context
    await store.release(held.claim).catch(() => returns?.add(held.claim))
  }

  /** The session is another host's by now, also if no write has shown it. */
  lose(error: FencedError): void {
    if (this.#held !== undefined) this.#lose(error)
  }

  async #claim(): Promise<Claimed> {
    const { store, member, listener } = this.#context
    // A host that others may hold for gone takes nothing.
    await member.valid()
    const claimed = await store.claim(this.#uid, member.id).catch((error: unknown) => {
      if (!(error instanceof FencedError) || error.owner === undefined) throw error
      throw new SessionElsewhereError(this.#uid, error.owner, member.nameOf(error.owner))
    })
    this.#held = claimed
    listener?.claimed(claimed.record, claimed.openTurn === true)
    return claimed
  }

  #lose(error: FencedError): void {
    this.#lost = error
    this.#held = undefined
    this.#context.listener?.lost(error)
  }
}
