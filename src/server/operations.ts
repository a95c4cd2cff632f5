import { Hono } from 'hono'
import { describeRoute, resolver } from 'hono-openapi'
import { z } from 'zod'
import type { Clock } from '../clock.ts'
import type { CapacityReason, OldestWaiter, Pool, StoreErrorCode } from '../index.ts'
import type { KnowsTenant } from './auth/operators.ts'
import type { ServerEnv, ServerSettings, ServerState } from './context.ts'
import type { PoolListeners } from './pool-listeners.ts'

const statusSchema = z.object({ status: z.string(), reason: z.string().optional() }).meta({ id: 'Status' })

const pressureSchema = z
  .object({
    running: z.int(),
    waiting: z.int(),
    /** Null: nothing bounds it. */
    capacity: z.int().nullable(),
    /** How short memory is. */
    memory: z.enum(['none', 'high', 'critical']),
    /** What keeps the store from working, such as `disk_full`; null: it works. */
    store: z.enum(['disk_full', 'read_only', 'corrupt', 'store_failed']).nullable(),
    /** What separates agents from the host. */
    isolation: z.enum(['none', 'bubblewrap', 'user']),
    /** The cgroups of workers, and what they can limit; null: workers have none. */
    cgroup: z
      .object({
        version: z.union([z.literal(1), z.literal(2)]),
        controllers: z.array(z.enum(['memory', 'pids', 'cpu'])),
      })
      .nullable(),
    /** Why a turn would be refused now; null: it would not. */
    reason: z.string().nullable(),
    recentlyShed: z.int(),
    /** The turn that has waited longest for a place; left out if none waits. */
    oldestWaiter: z
      .object({
        waitMs: z.number(),
        /** What it waits for: `turns`, `tenant`, `memory` or `suspended`. */
        reason: z.string(),
        /** Only for callers who may know. */
        tenant: z.string().optional(),
        agent: z.string().optional(),
      })
      .optional(),
    /** The hosts that share the database, this one included, as of a second ago at most. Left out if the store has one host at a time. */
    hosts: z
      .array(
        z.object({
          place: z.string(),
          state: z.enum(['ready', 'draining']),
          running: z.int(),
          waiting: z.int(),
          free: z.int(),
          isThisHost: z.boolean(),
        }),
      )
      .optional(),
  })
  .meta({ id: 'Pressure' })

const answer = (description: string, schema: z.ZodType): never =>
  ({ description, content: { 'application/json': { schema: resolver(schema) } } }) as never

/** For how long a refusal counts as recent. */
const RECENT_SECONDS = 60

/** Turns that were refused within the last minute, counted by the second. */
export class RecentlyShed {
  readonly #clock: Clock
  readonly #counts = new Map<number, number>()

  constructor(listeners: Pick<PoolListeners, 'on'>, clock: Clock) {
    this.#clock = clock
    listeners.on('turn.refused', () => {
      const second = this.#second
      this.#counts.set(second, (this.#counts.get(second) ?? 0) + 1)
      this.#forget()
    })
  }

  get count(): number {
    this.#forget()
    let sum = 0
    for (const count of this.#counts.values()) sum += count
    return sum
  }

  get #second(): number {
    return Math.floor(this.#clock.now() / 1_000)
  }

  #forget(): void {
    for (const second of this.#counts.keys()) if (second <= this.#second - RECENT_SECONDS) this.#counts.delete(second)
  }
}

type Obstacle = CapacityReason | StoreErrorCode | Exclude<ServerState, 'ready'>

/** Why a turn that came now would be refused; undefined: it would not. */
export function obstacleOf(pool: Pool, state: ServerState): Obstacle | undefined {
  if (state !== 'ready') return state
  const { turns, memory, store, suspended } = pool.stats()
  if (suspended.pool) return 'suspended'
  if (store.trouble !== undefined) return store.trouble
  if (memory.pressure === 'critical' || turns.running >= memory.turnsThatFit) return 'memory'
  return turns.running >= turns.limit ? 'turns' : undefined
}

interface OperationsContext {
  /** Which tenants the sender of a request may know. */
  knowledgeOf: (headers: Headers) => KnowsTenant
  pool: Pool
  settings: ServerSettings
  shed: RecentlyShed
}

/** What a load balancer, a supervisor and a person at 3 a.m. ask. No key is asked for, and no tenant is named to a stranger. */
export function operations({ pool, settings, shed, knowledgeOf }: OperationsContext): Hono<ServerEnv> {
  const app = new Hono<ServerEnv>()
  app.get(
    '/health',
    describeRoute({
      operationId: 'health',
      summary: 'The server answers',
      tags: ['operations'],
      responses: { 200: answer('It does', statusSchema) },
    }),
    (c) => c.json({ status: 'ok' }),
  )
  app.get(
    '/livez',
    describeRoute({
      operationId: 'livez',
      summary: 'The process works: restart it only if this fails',
      tags: ['operations'],
      responses: { 200: answer('It does', statusSchema) },
    }),
    (c) => c.json({ status: 'live' }),
  )
  app.get(
    '/readyz',
    describeRoute({
      operationId: 'readyz',
      summary: 'A turn that came now would be taken',
      tags: ['operations'],
      responses: {
        200: answer('It would', statusSchema),
        503: answer(
          'It would not: starting, draining, no memory for one more turn, or a store that fails',
          statusSchema,
        ),
      },
    }),
    (c) => {
      const reason = notReady(pool, settings.state)
      return reason === undefined ? c.json({ status: 'ready' }) : c.json({ status: 'not ready', reason }, 503)
    },
  )
  app.get(
    '/pressure',
    describeRoute({
      operationId: 'pressure',
      summary: 'How full the pool is',
      tags: ['operations'],
      responses: { 200: answer('Now', pressureSchema) },
    }),
    (c) => {
      const { turns, memory, store, waits, isolation } = pool.stats()
      const { running, waiting, limit } = turns
      const oldest = waits.oldest && told(waits.oldest, knowledgeOf(c.req.raw.headers))
      const reason = obstacleOf(pool, settings.state) ?? null
      const capacity = Number.isFinite(limit) ? limit : null
      const now = {
        memory: memory.pressure,
        store: store.trouble ?? null,
        isolation: isolation.mode,
        cgroup: isolation.cgroup ?? null,
        reason,
        recentlyShed: shed.count,
      }
      const hosts = pool.hosts().map(({ id: _, version: __, silentMs: ___, ...host }) => host)
      return c.json({
        running,
        waiting,
        capacity,
        ...now,
        ...(oldest === undefined ? {} : { oldestWaiter: oldest }),
        ...(hosts.length === 0 ? {} : { hosts }),
      })
    },
  )
  return app
}

/** A tenant, and an agent that it may have defined, are for callers who may know the tenant. */
const told = ({ waitMs, reason, ...names }: OldestWaiter, knows: KnowsTenant): Partial<OldestWaiter> =>
  knows(names.tenant) ? { waitMs, reason, ...names } : { waitMs, reason }

/** A full pool is ready: it sheds by itself, and a balancer that took all full ones out would leave none. */
function notReady(pool: Pool, state: ServerState): string | undefined {
  if (state !== 'ready') return state
  const { memory, store } = pool.stats()
  return store.trouble ?? (memory.pressure === 'critical' ? 'memory' : undefined)
}
