import type { CancelTimer, Clock } from '../../../clock.ts'
import { repeatedly } from '../../../clock.ts'
import type { Pool } from '../../../index.ts'
import type { Resource, ResourceStore } from '../../../store/api-store.ts'
import type { Logger } from '../../../telemetry/log.ts'
import { attempt } from './attempt.ts'
import type { Outcome } from './attempt.ts'
import type { Delivery } from './delivery.ts'
import { EndpointStates } from './endpoint-state.ts'
import type { EndpointState } from './endpoint-state.ts'
import type { Endpoint } from './options.ts'
import { Outlet } from './outlet.ts'

/** Deliveries on their way at once: in all, and to one endpoint. */
const AT_ONCE = 64
const AT_ONCE_EACH = 8

/** How often the queues of other hosts, and those of before, are looked at, in milliseconds. */
const LOOK_MS = 2_000
const LOOK_ALONE_MS = 60_000

/** One host of a cluster sends at a time. It holds the job for so long, in milliseconds. */
const JOB = 'webhooks'
const JOB_MS = 30_000

const TENANTS = 1_000

interface QueueContext {
  pool: Pick<Pool, 'cluster'>
  store: ResourceStore
  clock: Clock
  logger: Logger
  /** The endpoints of a tenant as they are now. */
  endpointsOf: (tenant: string) => readonly Endpoint[]
  random: () => number
}

/** What became of tries since the start. */
export interface QueueCounts {
  delivered: number
  retried: number
  failed: number
}

/** Sends what the store has for the endpoints, and tries again what fails. The store is the queue: nothing else outlives the host. */
export class WebhookQueue {
  readonly counts: QueueCounts = { delivered: 0, retried: 0, failed: 0 }
  readonly states: EndpointStates
  readonly #context: QueueContext
  readonly #outlets = new Map<string, Outlet>()
  /** Of each endpoint, as it was read last. */
  readonly #known = new Map<Endpoint, EndpointState>()
  readonly #sending = new Map<Endpoint, number>()
  readonly #ends = new AbortController()
  readonly #stop: CancelTimer
  #all = 0
  #looking = false
  /** Something is due for which there was no room. */
  #starved = false

  constructor(context: QueueContext) {
    this.#context = context
    const { pool, clock, store } = context
    this.states = new EndpointStates(store, () => clock.wall())
    const every = pool.cluster === undefined ? LOOK_ALONE_MS : LOOK_MS
    this.#stop = repeatedly(
      clock,
      () => every,
      () => this.look(),
    )
    this.look()
  }

  get waiting(): number {
    let sum = 0
    for (const { waiting } of this.#outlets.values()) sum += waiting
    return sum
  }

  get disabled(): number {
    return [...this.#known.values()].filter(({ disabledAt }) => disabledAt !== null).length
  }

  /** Keeps a delivery, and sends it soon. One that is kept already is left alone. */
  async add({ row }: Delivery): Promise<void> {
    await createOnce(this.#context.store, row)
    if (this.#context.pool.cluster === undefined) this.#load(row.tenant)
  }

  /** Looks at all that waits. */
  look(): void {
    if (this.#looking || this.#ends.signal.aborted) return
    this.#looking = true
    void this.#look()
      .catch((error: unknown) => this.#trouble(error))
      .finally(() => (this.#looking = false))
  }

  async #look(): Promise<void> {
    const { pool, store } = this.#context
    if (pool.cluster !== undefined && !(pool.cluster.isValid && (await pool.cluster.takeJob(JOB, JOB_MS)))) {
      this.#forgetAll()
      return
    }
    let after: string | undefined
    for (;;) {
      const tenants = await store.tenantsWith('webhook_delivery', { after, limit: TENANTS })
      for (const tenant of tenants) this.#load(tenant)
      after = tenants.at(-1)
      if (tenants.length < TENANTS || this.#ends.signal.aborted) return
    }
  }

  #load(tenant: string): void {
    if (this.#ends.signal.aborted) return
    for (const endpoint of this.#context.endpointsOf(tenant)) {
      const place = JSON.stringify([tenant, endpoint.id])
      const outlet = this.#outlets.get(place) ?? this.#outlet(tenant, endpoint.id)
      this.#outlets.set(place, outlet)
      // Another host may have enabled it.
      if (this.#known.get(endpoint)?.disabledAt === null) outlet.load()
      else void this.#read(endpoint).then(() => outlet.load())
    }
  }

  async #read(endpoint: Endpoint): Promise<void> {
    try {
      this.#known.set(endpoint, await this.states.of(endpoint))
    } catch (error) {
      this.#trouble(error)
    }
  }

  #outlet(tenant: string, id: string): Outlet {
    const { store, clock, random, endpointsOf } = this.#context
    const now = (): Endpoint | undefined => endpointsOf(tenant).find((endpoint) => endpoint.id === id)
    return new Outlet({
      tenant,
      endpoint: id,
      store,
      clock,
      random,
      send: (delivery) => {
        const endpoint = now()
        return endpoint === undefined ? 'full' : this.#send(delivery, endpoint)
      },
      told: (delivery) => this.#told(delivery),
      trouble: (error) => this.#trouble(error),
    })
  }

  #send(delivery: Delivery, endpoint: Endpoint): Promise<Outcome> | 'full' | 'disabled' {
    const sending = this.#sending.get(endpoint) ?? 0
    const state = this.#known.get(endpoint)
    if (state !== undefined && state.disabledAt !== null) return 'disabled'
    if (state === undefined || sending >= AT_ONCE_EACH || this.#all >= AT_ONCE) {
      this.#starved = true
      return 'full'
    }
    this.#sending.set(endpoint, sending + 1)
    this.#all += 1
    return this.#sent(delivery, endpoint)
  }

  async #sent(delivery: Delivery, endpoint: Endpoint): Promise<Outcome> {
    const { clock } = this.#context
    try {
      const outcome = await attempt(delivery, endpoint, { clock, signal: this.#ends.signal })
      if (!this.#ends.signal.aborted) await this.#note(endpoint, outcome)
      return outcome
    } finally {
      this.#all -= 1
      this.#sending.set(endpoint, (this.#sending.get(endpoint) ?? 1) - 1)
      if (this.#starved) queueMicrotask(() => this.#pumpAll())
    }
  }

  async #note(endpoint: Endpoint, outcome: Outcome): Promise<void> {
    const before = this.#known.get(endpoint)
    if (outcome.ok && before?.failingSince === null) return
    try {
      const after = outcome.ok ? await this.states.succeeded(endpoint) : await this.states.failed(endpoint, outcome)
      this.#known.set(endpoint, after)
      if (after.disabledAt !== null && before?.disabledAt === null) this.#tellDisabled(endpoint, after)
    } catch (error) {
      this.#trouble(error)
    }
  }

  #tellDisabled({ name, tenant, url }: Endpoint, { reason }: EndpointState): void {
    const facts = { endpoint: name, host: url.host, reason, ...(tenant === undefined ? {} : { tenant }) }
    this.#context.logger.warn('a webhook endpoint was disabled; enable it when its receiver works again', facts)
  }

  #told({ row: { tenant }, kept }: Delivery): void {
    const outcome = kept.status === 'pending' ? 'retried' : kept.status
    this.counts[outcome] += 1
    const facts = { tenant, endpoint: kept.endpoint, event: kept.event, type: kept.type, attempts: kept.attempts }
    if (outcome === 'failed')
      this.#context.logger.warn('an event was not delivered', { ...facts, error: kept.lastError })
    else this.#context.logger.debug(`an event was ${outcome}`, { ...facts, error: kept.lastError })
  }

  /** Its receiver works again: what waits is sent. */
  async enable(endpoint: Endpoint): Promise<EndpointState> {
    const state = await this.states.enable(endpoint)
    this.#known.set(endpoint, state)
    this.#pumpAll()
    return state
  }

  /** The endpoints have changed. */
  updated(): void {
    this.#known.clear()
    this.look()
  }

  #pumpAll(): void {
    this.#starved = false
    for (const [place, outlet] of this.#outlets) {
      if (outlet.isEmpty) this.#outlets.delete(place)
      else outlet.pump()
    }
  }

  #forgetAll(): void {
    for (const outlet of this.#outlets.values()) outlet.close()
    this.#outlets.clear()
    this.#known.clear()
  }

  #trouble(error: unknown): void {
    if (!this.#ends.signal.aborted) this.#context.logger.warn('the queue of webhooks could not be used', { error })
  }

  /** What is on its way is cut. It is sent again, under the same id, when a host starts. */
  close(): void {
    this.#stop()
    this.#ends.abort(new Error('the server closes'))
    this.#forgetAll()
  }
}

/** Adds a resource unless it is there. */
export async function createOnce(store: ResourceStore, row: Resource): Promise<void> {
  try {
    await store.create(row)
  } catch (error) {
    if ((await store.get(row.kind, row.tenant, row.id)) === undefined) throw error
  }
}
