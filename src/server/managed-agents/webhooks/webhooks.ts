import type { CancelTimer, Clock } from '../../../clock.ts'
import { repeatedly } from '../../../clock.ts'
import type { Pool } from '../../../index.ts'
import type { ApiStore, ResourceStore } from '../../../store/api-store.ts'
import type { Logger } from '../../../telemetry/log.ts'
import type { PoolListeners } from '../../pool-listeners.ts'
import { newId } from '../ids.ts'
import { announced } from './announced.ts'
import { newDelivery } from './delivery.ts'
import type { Told } from './delivery.ts'
import { DeliveryLog } from './delivery-log.ts'
import type { Endpoint } from './options.ts'
import { WebhookQueue } from './queue.ts'
import { SessionWatch } from './session-watch.ts'

/** How often sessions are looked for that a host has not told to their end, in milliseconds. */
const SWEEP_MS = 60_000

const TENANTS = 1_000

/** Of one tenant in one sweep. */
const SESSIONS = 1_000

interface WebhooksContext {
  pool: Pool
  listeners: Pick<PoolListeners, 'on'>
  store: ApiStore
  clock: Clock
  logger: Logger
  endpoints: readonly Endpoint[]
  /** From 0 to 1. Default: `Math.random`. */
  random?: () => number
}

/** Tells endpoints of the config what happens to sessions, agents and environments. */
export class Webhooks {
  /** The store of resources, which tells what is done to them. */
  readonly resources: ResourceStore
  readonly queue: WebhookQueue
  readonly #log: DeliveryLog
  readonly #watch: SessionWatch
  readonly #context: WebhooksContext
  readonly #stop: CancelTimer
  #endpoints: readonly Endpoint[]
  /** The place of the last delivery about something else than a session. */
  #place = 0

  constructor(context: WebhooksContext) {
    const { pool, listeners, clock, logger, endpoints, random = Math.random } = context
    const store = context.store.resources
    this.#context = context
    this.#endpoints = endpoints
    this.#log = new DeliveryLog(store, clock)
    this.queue = new WebhookQueue({
      pool,
      store,
      clock,
      logger,
      random,
      endpointsOf: (tenant) => this.endpointsOf(tenant),
    })
    this.#watch = new SessionWatch({
      pool,
      store,
      clock,
      tell: ({ tenant, type, session, ...news }) =>
        this.#tell(tenant, { type, id: session }, { event: news.id, ...news }),
      trouble: (message, error) => logger.warn(message, { error }),
    })
    this.resources = announced(store, {
      isHeard: (tenant) => this.endpointsOf(tenant).length > 0,
      expect: (tenant, session) => this.#watch.expect(tenant, session),
      tell: (tenant, told) => this.tell(tenant, told),
    })
    listeners.on('turn.started', ({ session: { tenant, key } }) => {
      if (this.endpointsOf(tenant).length > 0) this.#watch.begun(tenant, key)
    })
    for (const name of ['turn.ended', 'session.takenOver'] as const)
      listeners.on(name, ({ session: { tenant, key } }) => {
        if (this.endpointsOf(tenant).length > 0) this.#watch.look(tenant, key)
      })
    this.#stop = repeatedly(
      clock,
      () => SWEEP_MS,
      () => this.#sweep(),
    )
    this.#sweep()
  }

  /** All endpoints of the config. */
  get endpoints(): readonly Endpoint[] {
    return this.#endpoints
  }

  /** Deliveries that were not kept, because their tenant had too many. */
  get dropped(): number {
    return this.#log.dropped
  }

  /** Where events of this tenant go to. */
  endpointsOf(tenant: string): Endpoint[] {
    return this.#endpoints.filter((endpoint) => endpoint.tenant === undefined || endpoint.tenant === tenant)
  }

  /**
   * A session is about to change: that is durable when this resolves. What it gives is called when the change is durable, or has failed.
   * Rejects with StoreError.
   */
  async expect(tenant: string, session: string): Promise<() => void> {
    return this.endpointsOf(tenant).length === 0 ? () => undefined : this.#watch.expect(tenant, session)
  }

  /** Tells of something that has happened now. Resolves when that is durable. Rejects with StoreError. */
  async tell(tenant: string, told: Told): Promise<void> {
    const at = this.#context.clock.wall()
    this.#place = Math.max(at, this.#place + 1)
    await this.#tell(tenant, told, { event: newId('webhookEvent'), at, place: this.#place })
  }

  async #tell(tenant: string, told: Told, what: { event: string; at: number; place: number }): Promise<void> {
    for (const { id, events } of this.endpointsOf(tenant)) {
      if (!events.has(told.type)) continue
      const delivery = newDelivery({ tenant, endpoint: id, told, event: what.event, at: what.at, place: what.place })
      if (await this.#log.takes(delivery)) await this.queue.add(delivery)
    }
  }

  /** From now on events go to these. */
  update(endpoints: readonly Endpoint[]): void {
    this.#endpoints = endpoints
    this.queue.updated()
  }

  /** Resolves when nothing more is written about a tenant that is erased. */
  async settled(tenant: string): Promise<void> {
    await this.#watch.settled(tenant)
    this.#log.forget(tenant)
  }

  /** A host may have died before it has told all of its sessions. */
  #sweep(): void {
    if (this.#endpoints.length > 0)
      void this.#lookAtAll().catch((error: unknown) =>
        this.#context.logger.warn('sessions with news for webhooks were not looked for', { error }),
      )
  }

  async #lookAtAll(): Promise<void> {
    const { resources } = this.#context.store
    let after: string | undefined
    for (;;) {
      const tenants = await resources.tenantsWith('webhook_session', { after, limit: TENANTS })
      for (const tenant of tenants) {
        const query = { kind: 'webhook_session', tenant, order: 'asc', limit: SESSIONS, maxSize: 2 ** 28 } as const
        for (const { id } of (await resources.list(query)).rows) this.#watch.look(tenant, id)
      }
      after = tenants.at(-1)
      if (tenants.length < TENANTS) return
    }
  }

  close(): void {
    this.#stop()
    this.#watch.close()
    this.queue.close()
  }
}
