import type { Clock } from '../clock.ts'
import type { Pool } from '../index.ts'
import { formatSize } from '../units.ts'
import type { ResourceStore } from '../store/api-store.ts'
import { ApiError } from './errors.ts'
import type { PoolListeners } from './pool-listeners.ts'
import { keepNewest } from '../newest.ts'

/** How long a count holds while a tenant is below its limit, and once it has reached it. */
const RECOUNT_MS = 10 * 60_000
const RECOUNT_FULL_MS = 30_000

/** Of tenants that have not been heard of for long, nothing needs to be remembered. */
const MAX_TENANTS = 10_000

interface Kept {
  bytes: number
  /** When it was counted; never: -Infinity. */
  at: number
  counting: boolean
}

interface StorageParts {
  pool: Pool
  listeners: Pick<PoolListeners, 'on'>
  clock: Clock
  /** What `/v1` keeps beside the pool. */
  resources: Pick<ResourceStore, 'size'>
  /** Bytes that one tenant may keep. */
  limit: number
  onTrouble: (error: unknown) => void
}

/**
 * What each tenant keeps in events and definitions. It is counted now and then, in steps, beside the requests; in between
 * everything that a tenant sends is taken as kept.
 */
export class Storage {
  readonly #parts: StorageParts
  readonly #tenants = new Map<string, Kept>()

  constructor(parts: StorageParts) {
    this.#parts = parts
    parts.listeners.on('session.deleted', ({ session: { tenant } }) => this.#stale(tenant))
  }

  /** A tenant has sent so many bytes. */
  add(tenant: string, bytes: number): void {
    this.#keptBy(tenant).bytes += bytes
  }

  /** Throws ApiError (rate_limit_error) when the tenant keeps all that it may. */
  check(tenant: string): void {
    const { limit, clock } = this.#parts
    const kept = this.#keptBy(tenant)
    const isFull = kept.bytes >= limit
    if (!kept.counting && clock.now() - kept.at >= (isFull ? RECOUNT_FULL_MS : RECOUNT_MS))
      void this.#count(tenant, kept)
    if (isFull && kept.at !== -Infinity)
      throw new ApiError(
        'rate_limit_error',
        `this tenant keeps its ${formatSize(limit)} of events and definitions; delete sessions`,
        {
          headers: { 'x-should-retry': 'false' },
        },
      )
  }

  async #count(tenant: string, kept: Kept): Promise<void> {
    const { pool, clock, resources, onTrouble } = this.#parts
    kept.counting = true
    const before = kept.bytes
    try {
      const counted = (await pool.storedBytes(tenant)) + (await resources.size(tenant))
      // What came meanwhile may not be in it.
      kept.bytes = counted + kept.bytes - before
      kept.at = clock.now()
    } catch (error) {
      onTrouble(error)
    } finally {
      kept.counting = false
    }
  }

  #stale(tenant: string): void {
    const kept = this.#tenants.get(tenant)
    if (kept !== undefined && kept.at !== -Infinity) kept.at = Math.min(kept.at, this.#parts.clock.now() - RECOUNT_MS)
  }

  #keptBy(tenant: string): Kept {
    const kept = this.#tenants.get(tenant) ?? { bytes: 0, at: -Infinity, counting: false }
    // The one that was heard of longest ago goes first.
    this.#tenants.delete(tenant)
    this.#tenants.set(tenant, kept)
    keepNewest(this.#tenants, MAX_TENANTS)
    return kept
  }
}
