import type { Clock } from '../clock.ts'
import type { Peer } from './peer-client.ts'
import { keepNewest } from '../newest.ts'

/** An owner is asked about in the database again after this time. */
const KNOWN_MS = 10_000

const MOST_KNOWN = 10_000

interface Known {
  peer: Peer
  until: number
}

/**
 * The owners of sessions as the database named them last. An owner that is wrong by now costs one more round trip: the host that is
 * asked checks its own ownership.
 */
export class KnownOwners {
  readonly #clock: Clock
  /** By tenant and key. The oldest entry is the first. */
  readonly #known = new Map<string, Known>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get(tenant: string, key: string): Peer | undefined {
    const name = nameOf(tenant, key)
    const known = this.#known.get(name)
    if (known === undefined) return undefined
    if (this.#clock.now() < known.until) return known.peer
    this.#known.delete(name)
    return undefined
  }

  record(tenant: string, key: string, peer: Peer): void {
    const name = nameOf(tenant, key)
    this.#known.delete(name)
    this.#known.set(name, { peer, until: this.#clock.now() + KNOWN_MS })
    keepNewest(this.#known, MOST_KNOWN)
  }

  forget(tenant: string, key: string): void {
    this.#known.delete(nameOf(tenant, key))
  }

  /** The host is gone. */
  forgetHost(id: string): void {
    for (const [name, { peer }] of this.#known) if (peer.id === id) this.#known.delete(name)
  }
}

const nameOf = (tenant: string, key: string): string => JSON.stringify([tenant, key])
