import type { Clock } from '../../../clock.ts'
import type { ResourceStore } from '../../../store/api-store.ts'
import type { Delivery } from './delivery.ts'
import { keepNewest } from '../../../newest.ts'

/** How long deliveries are listed, in milliseconds. */
const KEPT_MS = 7 * 24 * 3_600_000

/** Deliveries kept for each tenant, waiting ones included. */
const MOST = 20_000

/** Beyond this the oldest go that do not wait. */
const MANY = 15_000

const RECOUNT_MS = 600_000

/** Of tenants that have not been heard of for long, nothing needs to be remembered. */
const MAX_TENANTS = 10_000

const PAGE = 1_000

interface Count {
  count: number
  /** When it was counted, by the monotonic clock. */
  at: number
}

/** Bounds what is kept of deliveries. */
export class DeliveryLog {
  readonly #store: ResourceStore
  readonly #clock: Clock
  readonly #counts = new Map<string, Promise<Count>>()
  /** Deliveries that were not kept, because their tenant had too many. */
  dropped = 0

  constructor(store: ResourceStore, clock: Clock) {
    this.#store = store
    this.#clock = clock
  }

  /** False: the tenant has too many, and this one is not kept. */
  async takes({ row: { tenant } }: Delivery): Promise<boolean> {
    let count = await this.#counts.get(tenant)
    if (count === undefined || this.#clock.now() - count.at >= RECOUNT_MS) {
      const counted = this.#count(tenant)
      this.#counts.delete(tenant)
      this.#counts.set(tenant, counted)
      counted.catch(() => this.#counts.delete(tenant))
      keepNewest(this.#counts, MAX_TENANTS)
      count = await counted
    }
    if (count.count >= MOST) {
      this.dropped += 1
      return false
    }
    count.count += 1
    return true
  }

  /** Nothing is remembered of this tenant. */
  forget(tenant: string): void {
    this.#counts.delete(tenant)
  }

  async #count(tenant: string): Promise<Count> {
    const old = await this.#remove(tenant, { to: this.#clock.wall() - KEPT_MS, all: true })
    let count = await this.#store.count('webhook_delivery', tenant)
    if (old < PAGE && count >= MANY) {
      await this.#remove(tenant, { to: undefined, all: false })
      count = await this.#store.count('webhook_delivery', tenant)
    }
    return { count, at: this.#clock.now() }
  }

  /** Removes the oldest page of deliveries, and says how many that were. `all`: those that wait, too. */
  async #remove(tenant: string, { to, all }: { to: number | undefined; all: boolean }): Promise<number> {
    const query = { kind: 'webhook_delivery', tenant, order: 'asc', includeArchived: true } as const
    const { rows } = await this.#store.list({ ...query, to, limit: PAGE, maxSize: 2 ** 28 })
    const gone = rows.filter(({ archivedAt }) => all || archivedAt !== null)
    for (const { kind, id } of gone) await this.#store.remove(kind, tenant, id)
    return gone.length
  }
}
