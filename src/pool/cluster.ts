import type { Peers } from '../cluster/peers.ts'
import type { PeerQuestion, PeerReply, SessionPlace } from '../cluster/peers.ts'
import type { Membership } from '../cluster/membership.ts'
import type { Peer, PeerAnswer, PeerCall } from '../cluster/peer-client.ts'
import type { PeerService } from '../cluster/peer-port.ts'
import type { Sessions } from '../sessions/sessions.ts'

interface ClusterContext {
  membership: Membership
  peers: Peers
  sessions: Sessions
  /** True when this host takes no turn any more. */
  isDraining: () => boolean
}

/** The other hosts of the store, for servers that pass requests on to the owner of a session. */
export class PoolCluster {
  readonly #membership: Membership
  readonly #sessions: Sessions
  readonly #peers: Peers
  readonly #isDraining: () => boolean

  constructor({ membership, peers, sessions, isDraining }: ClusterContext) {
    this.#isDraining = isDraining
    this.#membership = membership
    this.#sessions = sessions
    this.#peers = peers
    peers.answer((question) => this.#answer(question))
  }

  /** False: the others may hold this host for gone by now. */
  get isValid(): boolean {
    return this.#membership.isValid
  }

  /**
   * Where a session is. Asks the store unless this host has the session, or the store has named another owner in the last 10 s.
   * `forgetPlace()` makes it ask. Rejects with StoreError.
   */
  async placeOf(tenant: string, key: string): Promise<SessionPlace> {
    if (this.#sessions.active.get({ tenant, key })?.ownership?.held !== undefined && this.isValid) {
      this.#peers.forgetOwner(tenant, key)
      return 'here'
    }
    const known = this.#peers.knownOwner(tenant, key)
    return known === undefined ? this.#peers.placeOf(tenant, key) : { peer: known }
  }

  /** False: this host drains, and gives the session away unless it runs a turn. */
  keeps(tenant: string, key: string): boolean {
    return !this.#isDraining() || this.#sessions.active.get({ tenant, key })?.running !== undefined
  }

  /** How many sessions a tenant has at all hosts, counted up to `atMost`. Rejects with StoreError. */
  countSessions(tenant: string, atMost: number): Promise<number> {
    return this.#peers.countSessions(tenant, atMost)
  }

  /** Gives a job to this host for a time, in milliseconds. False: another host does it. Rejects with StoreError. */
  takeJob(name: string, forMs: number): Promise<boolean> {
    return this.#peers.takeJob(name, forMs)
  }

  /** The host that `placeOf()` has named has not answered, or does not have the session any more. */
  forgetPlace(tenant: string, key: string): void {
    this.#peers.forgetOwner(tenant, key)
  }

  /** A request waits for a host that may be gone: this host asks the store about that sooner. */
  lookSoon(): void {
    this.#membership.lookSoon()
  }

  /**
   * Claims a session for this host, and keeps it until it is given back. Undefined: there is no such session. Rejects with
   * SessionElsewhereError and StoreError.
   */
  async hold(tenant: string, key: string): Promise<Disposable | undefined> {
    const { active } = this.#sessions
    const found = await active.load({ tenant, key })
    if (found === undefined) return undefined
    const held = active.hold(found)
    try {
      await this.#membership.valid()
      if (held.conversation.ownership?.isStored === true) await held.conversation.ownership.take()
      return held
    } catch (error) {
      held[Symbol.dispose]()
      throw error
    }
  }

  /** Sends a request to the server of another host. Never rejects. The answer must be read or destroyed. */
  call(peer: Peer, call: PeerCall): Promise<PeerAnswer> {
    return this.#peers.call(peer, call)
  }

  /** Answers requests that other hosts pass on. */
  serve(service: PeerService): void {
    this.#peers.serve(service)
  }

  /** Other hosts reach this one no more. */
  close(): Promise<void> {
    return this.#peers.close()
  }

  /** Another host asks about a session that is here. */
  async #answer({ do: what, tenant, key, uid }: PeerQuestion): Promise<PeerReply> {
    const session = this.#sessions.active.get({ tenant, key })
    if (session?.record.uid !== uid || !this.isValid) return 'refused'
    const { running } = session
    if (what === 'interrupt') {
      await running?.interrupt()
      return running === undefined ? 'refused' : 'done'
    }
    if (await session.giveBack()) return 'done'
    return session.running === undefined ? 'refused' : 'busy'
  }
}
