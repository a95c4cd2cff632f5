import { createHash, randomBytes } from 'node:crypto'
import { calendarOf } from '../../calendar.ts'
import type { Clock } from '../../clock.ts'
import type { TokenStore } from '../../store/api-store.ts'
import { BROWSER_TOKEN } from './caller.ts'
import type { Caller, Scope } from './caller.ts'
import { ApiError, retryAfter } from '../errors.ts'

/** How many of one tenant may be valid at the same time. */
const MAX_TOKENS = 10_000

const SECRET_BYTES = 32

/** A token as its creator gets it. It is shown once: the server keeps its hash. */
export interface NewToken {
  token: string
  scope: Scope
}

/** Short-lived tokens for pages in browsers. They are kept, so that a restart ends none of them. */
export class BrowserTokens {
  readonly #clock: Clock
  readonly #store: TokenStore
  /** What ends the streams that a token has opened, by its id. */
  readonly #streams = new Map<string, Set<() => void>>()

  constructor(store: TokenStore, clock: Clock) {
    this.#store = store
    this.#clock = clock
  }

  get #now(): number {
    return calendarOf(this.#clock).steady
  }

  /** Makes a token in the name of this caller. Throws ApiError (rate_limit_error) when its tenant has too many. */
  async create({ tenant, name }: Caller, { agents, sessions, lifetimeMs }: TokenRequest): Promise<NewToken> {
    const now = this.#now
    const id = `btok_${randomBytes(12).toString('hex')}`
    const token = `${BROWSER_TOKEN}${randomBytes(SECRET_BYTES).toString('base64url')}`
    const expiresAt = now + lifetimeMs
    const stored = { id, sha256: hashOf(token), tenant, name, agents, sessions, expiresAt }
    if (!(await this.#store.create(stored, { now, max: MAX_TOKENS })))
      throw new ApiError(
        'rate_limit_error',
        `this tenant has ${MAX_TOKENS} browser tokens that are valid; revoke some`,
        {
          headers: retryAfter(60_000),
        },
      )
    return { token, scope: { id, agents, sessions, expiresAt } }
  }

  /** Whose token it is; undefined when it is unknown, expired or revoked. */
  async callerOf(token: string): Promise<Caller | undefined> {
    const stored = await this.#store.find(hashOf(token), this.#now)
    if (stored === undefined) return undefined
    const { id, tenant, name, agents, sessions, expiresAt } = stored
    return { tenant, name: `${id} of ${name}`, scope: { id, agents, sessions, expiresAt } }
  }

  /** Ends a token and its streams; false when this tenant has no such token. */
  async revoke(tenant: string, id: string): Promise<boolean> {
    const removed = await this.#store.remove(tenant, id, this.#now)
    for (const cut of this.#streams.get(id) ?? []) cut()
    return removed
  }

  /**
   * Calls `cut` when the token is revoked, or also when it expires, until the function that it returns is called.
   * `untilExpiry`: what the stream shows comes without an end of its own.
   */
  watch({ id, expiresAt }: Scope, cut: () => void, { untilExpiry }: { untilExpiry: boolean }): () => void {
    const streams = this.#streams.get(id) ?? new Set()
    this.#streams.set(id, streams.add(cut))
    const leftMs = Math.max(expiresAt - this.#now, 0)
    const cancel = untilExpiry ? this.#clock.after(leftMs, cut) : undefined
    return () => {
      cancel?.()
      streams.delete(cut)
      if (streams.size === 0 && this.#streams.get(id) === streams) this.#streams.delete(id)
    }
  }
}

/** What a new token is to open, and for how long, in milliseconds. */
export interface TokenRequest {
  agents: readonly string[]
  sessions: readonly string[]
  lifetimeMs: number
}

const hashOf = (token: string): string => createHash('sha256').update(token).digest('hex')

const threadPath = /^\/ag-ui\/([^/]+)$/
const eventPaths = /^\/(?:v1\/sessions\/([^/]+)\/events(?:\/stream)?|sessions\/([^/]+)\/messages)$/

/** Throws ApiError (permission_error) for all but AG-UI with the token's agents, and the events of its sessions. */
export function checkScope({ agents, sessions }: Scope, method: string, path: string): void {
  const agent = method === 'POST' ? threadPath.exec(path)?.[1] : undefined
  const [, ofV1, ofMessages] = (method === 'GET' ? eventPaths.exec(path) : null) ?? []
  const session = ofV1 ?? ofMessages
  if (agent !== undefined && agents.includes(decoded(agent))) return
  if (session !== undefined && sessions.includes(decoded(session))) return
  throw new ApiError(
    'permission_error',
    `this browser token opens AG-UI with ${agents.join(', ')}, and the events of its sessions; not ${method} ${path}`,
  )
}

/** Throws ApiError (permission_error) for a thread that the token does not name. */
export function checkThread(caller: Caller, threadId: string): void {
  if (caller.scope === undefined || caller.scope.sessions.includes(threadId)) return
  throw new ApiError('permission_error', 'this browser token does not name that session')
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}
