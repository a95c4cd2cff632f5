import type { CancelTimer, Clock } from '../../../clock.ts'
import type { ResourceStore } from '../../../store/api-store.ts'
import type { Outcome } from './attempt.ts'
import { changed, toDelivery } from './delivery.ts'
import type { Delivery, KeptDelivery } from './delivery.ts'
import { GIVE_UP_MS, waitAfter } from './retries.ts'

/** As many deliveries of a queue are in memory; those behind them wait in the store. */
const WINDOW = 500
const WINDOW_SIZE = 4 * 2 ** 20

/** What a queue needs of its surroundings. */
export interface OutletContext {
  tenant: string
  /** The endpoint's id. */
  endpoint: string
  store: ResourceStore
  clock: Clock
  random: () => number
  /** Sends it once, unless there is no room now, or the endpoint is disabled. Never rejects. */
  send: (delivery: Delivery) => Promise<Outcome> | 'full' | 'disabled'
  /** What became of a try. */
  told: (delivery: Delivery) => void
  trouble: (error: unknown) => void
}

/** What waits to be sent to one endpoint of what happened to one tenant. The deliveries of one resource go one after the other. */
export class Outlet {
  readonly #context: OutletContext
  readonly #waiting = new Map<string, Delivery>()
  /** Resources whose delivery is on its way. */
  readonly #sending = new Set<string>()
  /** Sent while the store was read: what was read of them is old. */
  readonly #settled = new Set<string>()
  #loading: Promise<void> | undefined
  #loadAgain = false
  #isCut = false
  #timer: CancelTimer | undefined
  #closed = false

  constructor(context: OutletContext) {
    this.#context = context
  }

  get isEmpty(): boolean {
    return this.#waiting.size === 0 && this.#loading === undefined && this.#sending.size === 0
  }

  get waiting(): number {
    return this.#waiting.size
  }

  /** Something was added to the store, or may have been. */
  load(): void {
    if (this.#closed) return
    if (this.#loading !== undefined) {
      this.#loadAgain = true
      return
    }
    this.#loading = this.#load()
  }

  async #load(): Promise<void> {
    const { store, tenant, endpoint, trouble } = this.#context
    try {
      do {
        this.#loadAgain = false
        this.#settled.clear()
        const query = { kind: 'webhook_delivery', tenant, parent: endpoint, order: 'asc' } as const
        const { rows, more } = await store.list({ ...query, limit: WINDOW, maxSize: WINDOW_SIZE })
        this.#isCut = more
        for (const row of rows)
          if (!this.#waiting.has(row.id) && !this.#settled.has(row.id)) this.#waiting.set(row.id, toDelivery(row))
      } while (this.#loadAgain && !this.#closed)
    } catch (error) {
      trouble(error)
    } finally {
      this.#loading = undefined
    }
    this.pump()
  }

  /** Sends what is due. Called again when there is room. */
  pump(): void {
    this.#timer?.()
    this.#timer = undefined
    if (this.#closed) return
    const now = this.#context.clock.wall()
    let next = Infinity
    for (const head of this.#heads()) {
      if (this.#sending.has(head.kept.id)) continue
      if (head.kept.nextAt > now) next = Math.min(next, head.kept.nextAt)
      else this.#try(head)
    }
    if (next < Infinity) this.#timer = this.#context.clock.after(next - now, () => this.pump())
  }

  /** The first delivery of each resource. */
  #heads(): Delivery[] {
    const heads = new Map<string, Delivery>()
    for (const delivery of this.#waiting.values()) {
      const head = heads.get(delivery.kept.id)
      if (head === undefined || delivery.row.createdAt < head.row.createdAt) heads.set(delivery.kept.id, delivery)
    }
    return [...heads.values()].toSorted((a, b) => a.row.createdAt - b.row.createdAt)
  }

  #try(delivery: Delivery): void {
    const { clock, send } = this.#context
    const sent = send(delivery)
    if (sent === 'full') return
    // One that waits behind a disabled endpoint is given up in time, like one that fails.
    if (sent === 'disabled' && clock.wall() - delivery.kept.at < GIVE_UP_MS) return
    this.#sending.add(delivery.kept.id)
    void this.#finish(delivery, sent === 'disabled' ? undefined : sent)
  }

  async #finish(delivery: Delivery, sent: Promise<Outcome> | undefined): Promise<void> {
    const { clock, store, told, trouble } = this.#context
    let kept = true
    try {
      const outcome = await sent
      if (this.#closed) return
      const now = clock.wall()
      const after = changed(delivery, this.#after(delivery.kept, outcome, now), now)
      kept = await store.replace(delivery.row, after.row)
      const { id } = delivery.row
      if (!kept || after.kept.status !== 'pending') {
        this.#waiting.delete(id)
        if (this.#loading !== undefined) this.#settled.add(id)
      } else this.#waiting.set(id, after)
      if (kept) told(after)
    } catch (error) {
      // It stays as it was, and is tried again under the same id.
      this.#waiting.set(delivery.row.id, {
        ...delivery,
        kept: { ...delivery.kept, nextAt: clock.wall() + waitAfter(1, 0) },
      })
      trouble(error)
    } finally {
      this.#sending.delete(delivery.kept.id)
      // Another host, or the erasure of the tenant, has changed it.
      if (!kept || (this.#isCut && this.#waiting.size < WINDOW / 2)) this.load()
      else this.pump()
    }
  }

  #after({ attempts, at }: KeptDelivery, outcome: Outcome | undefined, now: number): Partial<KeptDelivery> {
    if (outcome === undefined) return { status: 'failed' }
    const tried = { attempts: attempts + 1, lastAt: now, lastStatus: outcome.status }
    if (outcome.ok) return { ...tried, status: 'delivered', lastError: null }
    const nextAt = Math.ceil(now + waitAfter(attempts + 1, this.#context.random()))
    return {
      ...tried,
      lastError: outcome.error,
      nextAt,
      ...(nextAt - at >= GIVE_UP_MS ? { status: 'failed' as const } : {}),
    }
  }

  close(): void {
    this.#closed = true
    this.#timer?.()
  }
}
