import type { Clock } from '../clock.ts'
import { SessionGoneError } from '../index.ts'
import type { Pool, PoolCluster, Session } from '../index.ts'
import { ApiError, retryAfter } from './errors.ts'
import type { TenantLimits } from './options.ts'
import type { PoolListeners } from './pool-listeners.ts'
import type { Storage } from './storage.ts'
import { keepNewest } from '../newest.ts'

/** All of a process's streams; beyond it memory and sockets would decide. */
const STREAMS_IN_ALL = 10_000

/** Of tenants that have not been heard of for long, nothing needs to be remembered. */
const MAX_TENANTS = 10_000

const PAGE = 1_000

/** Which agent a session is to have: the one that the caller names, else, if it is new, the fallback. */
export interface AgentChoice {
  agent: string | undefined
  fallback: string
}

interface Held {
  count: number
  /** Turns about to start: they count before they exist. */
  beginning: number
  /** Settles when those of before are counted. */
  readonly counted: Promise<void>
}

interface Bucket {
  tokens: number
  at: number
}

/** How many of something each tenant has, and all together. */
class Counts {
  readonly #own = new Map<string, number>()
  all = 0

  of(tenant: string): number {
    return this.#own.get(tenant) ?? 0
  }

  /** Counts one until the function that it returns is called. */
  add(tenant: string): () => void {
    this.#own.set(tenant, this.of(tenant) + 1)
    this.all += 1
    let gone = false
    return () => {
      if (gone) return
      gone = true
      this.all -= 1
      const left = this.of(tenant) - 1
      if (left === 0) this.#own.delete(tenant)
      else this.#own.set(tenant, left)
    }
  }
}

interface QuotaParts {
  pool: Pool
  listeners: Pick<PoolListeners, 'on'>
  clock: Clock
  limits: TenantLimits
  storage: Pick<Storage, 'check'>
  connections: number
}

/** What each tenant may do at once and in a minute, and what it may keep. */
export class Quotas {
  readonly #storage: Pick<Storage, 'check'>
  readonly #clock: Clock
  readonly #pool: Pool
  readonly #limits: TenantLimits
  readonly #buckets = new Map<string, Bucket>()
  readonly #working = new Counts()
  readonly #streams = new Counts()
  readonly #connections: number
  readonly #sessions = new Map<string, Held>()
  /** In a cluster: the last session that each tenant begins here. */
  readonly #beginnings = new Map<string, Promise<Session>>()

  /** `connections`: how many the server takes. One tenant may keep half of them busy. */
  constructor({ pool, listeners, clock, limits, storage, connections }: QuotaParts) {
    this.#storage = storage
    this.#connections = connections
    this.#pool = pool
    this.#clock = clock
    this.#limits = limits
    listeners.on('session.created', ({ session }) => this.#count(session.tenant, 1))
    listeners.on('session.deleted', ({ session }) => this.#count(session.tenant, -1))
  }

  get streams(): number {
    return this.#streams.all
  }

  /** Counts a request. Throws ApiError (rate_limit_error). */
  request(tenant: string): void {
    const { requestsPerMinute } = this.#limits
    const burst = Math.max(1, requestsPerMinute / 10)
    const perMs = requestsPerMinute / 60_000
    const now = this.#clock.now()
    const bucket = this.#buckets.get(tenant) ?? { tokens: burst, at: now }
    bucket.tokens = Math.min(burst, bucket.tokens + (now - bucket.at) * perMs)
    bucket.at = now
    // The one that was heard of longest ago goes first.
    this.#buckets.delete(tenant)
    this.#buckets.set(tenant, bucket)
    keepNewest(this.#buckets, MAX_TENANTS)
    if (bucket.tokens < 1) {
      throw new ApiError('rate_limit_error', `this tenant has its ${requestsPerMinute} requests a minute`, {
        headers: retryAfter((1 - bucket.tokens) / perMs),
      })
    }
    bucket.tokens -= 1
  }

  /** Counts a request that is worked on until the function that it returns is called. Throws ApiError (rate_limit_error). */
  begin(tenant: string): () => void {
    return this.#occupy(this.#working, tenant, Infinity, 'requests of this tenant are being served; wait for some')
  }

  /** Counts an event stream until the function that it returns is called. Throws ApiError (rate_limit_error). */
  openStream(tenant: string): () => void {
    return this.#occupy(
      this.#streams,
      tenant,
      this.#limits.streams,
      'event streams of this tenant are open; close some',
    )
  }

  /** Streams and requests keep connections busy: a quarter stays free, and one tenant gets half at most. */
  #occupy(counts: Counts, tenant: string, limit: number, what: string): () => void {
    const own = counts.of(tenant)
    const busy = this.#working.of(tenant) + this.#streams.of(tenant)
    const all = this.#working.all + this.#streams.all
    const most = Math.min(STREAMS_IN_ALL, this.#connections)
    if (own >= limit || busy >= Math.max(1, most / 2) || all >= Math.max(1, (most * 3) / 4))
      throw new ApiError('rate_limit_error', `${own} ${what}`, { headers: retryAfter(1_000) })
    return counts.add(tenant)
  }

  /** Throws ApiError (rate_limit_error) when the tenant keeps all that it may. */
  keep(tenant: string): void {
    this.#storage.check(tenant)
  }

  /** Another definition of an agent, another environment or version of a skill, beside so many. Throws ApiError (rate_limit_error). */
  define(tenant: string, what: 'definitions' | 'environments' | 'skills' | 'memoryStores', kept: number): void {
    this.keep(tenant)
    const most = this.#limits[what]
    if (kept < most) return
    const advice = what === 'definitions' ? 'use those that are there, in place of new ones' : 'delete some'
    const noun = what === 'skills' ? 'versions of skills' : what === 'memoryStores' ? 'memory stores' : what
    throw new ApiError('rate_limit_error', `this tenant has its ${most} ${noun}; ${advice}`, {
      headers: { 'x-should-retry': 'false' },
    })
  }

  /** The session of this key; a new one if the tenant may have another. Throws as `pool.session()` does, and ApiError. */
  async session(tenant: string, key: string, { agent, fallback }: AgentChoice): Promise<Session> {
    // The pool also has the agents that tenants define, each under a name that no other tenant may use.
    if (agent !== undefined && !this.#pool.agents.includes(agent))
      throw new ApiError('invalid_request_error', `agent: there is no agent "${agent}" in this server’s config`)
    this.keep(tenant)
    const found = await this.#find(tenant, key)
    if (found !== undefined && agent === undefined) return found
    const begin = (): Promise<Session> => this.#pool.session(key, { tenant, agent: agent ?? fallback })
    return found === undefined ? this.beginSession(tenant, begin) : begin()
  }

  async #find(tenant: string, key: string): Promise<Session | undefined> {
    try {
      return await this.#pool.session(key, { tenant })
    } catch (error) {
      if (error instanceof SessionGoneError) return undefined
      throw error
    }
  }

  /** Begins a session. Throws ApiError (rate_limit_error) when the tenant has all the sessions it may have. */
  async beginSession(tenant: string, begin: () => Promise<Session>): Promise<Session> {
    this.keep(tenant)
    const { cluster } = this.#pool
    if (cluster !== undefined) return this.#beginOneByOne(tenant, cluster, begin)
    const held = this.#heldBy(tenant)
    await held.counted
    this.#checkSessions(held.count + held.beginning)
    held.beginning += 1
    try {
      return await begin()
    } finally {
      held.beginning -= 1
    }
  }

  /** Other hosts begin sessions, too: each time the database counts. One at a time, so that each finds the one before. */
  async #beginOneByOne(tenant: string, cluster: PoolCluster, begin: () => Promise<Session>): Promise<Session> {
    const before = this.#beginnings.get(tenant)
    const session = (async () => {
      await before?.catch(() => undefined)
      this.#checkSessions(await cluster.countSessions(tenant, this.#limits.sessions))
      return begin()
    })()
    this.#beginnings.set(tenant, session)
    try {
      return await session
    } finally {
      if (this.#beginnings.get(tenant) === session) this.#beginnings.delete(tenant)
    }
  }

  #checkSessions(count: number): void {
    if (count < this.#limits.sessions) return
    throw new ApiError('rate_limit_error', `this tenant has its ${this.#limits.sessions} sessions; delete some`, {
      headers: { 'x-should-retry': 'false' },
    })
  }

  /** Counted once from the store, then by the pool's events. */
  #heldBy(tenant: string): Held {
    const known = this.#sessions.get(tenant)
    if (known !== undefined) return known
    const held: Held = {
      count: 0,
      beginning: 0,
      counted: this.#countStored(tenant).then((count) => void (held.count += count)),
    }
    this.#sessions.set(tenant, held)
    held.counted.catch(() => this.#sessions.delete(tenant))
    keepNewest(this.#sessions, MAX_TENANTS)
    return held
  }

  async #countStored(tenant: string): Promise<number> {
    let count = 0
    let last: { tenant: string; key: string } | undefined
    while (count <= this.#limits.sessions) {
      const page = await this.#pool.sessions({ tenant, limit: PAGE, ...(last === undefined ? {} : { after: last }) })
      count += page.length
      last = page.at(-1)
      if (page.length < PAGE) break
    }
    return count
  }

  #count(tenant: string, change: 1 | -1): void {
    const held = this.#sessions.get(tenant)
    if (held !== undefined) held.count += change
  }
}
