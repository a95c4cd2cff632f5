import { createHash, randomBytes } from 'node:crypto'
import { DatabaseSync } from '../sqlite.ts'
import { calendarOf } from '../calendar.ts'
import type { Clock } from '../clock.ts'
import { BROWSER_TOKEN } from './caller.ts'
import type { Caller, Scope } from './caller.ts'
import { ApiError, retryAfter } from './errors.ts'

/** How many of one tenant may be valid at the same time. */
const MAX_TOKENS = 10_000

const SECRET_BYTES = 32

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS browser_tokens (
    id TEXT PRIMARY KEY, sha256 TEXT NOT NULL UNIQUE, tenant TEXT NOT NULL, name TEXT NOT NULL,
    agents TEXT NOT NULL, sessions TEXT NOT NULL, expires_at INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS browser_tokens_by_tenant ON browser_tokens (tenant, expires_at);
`

interface Row {
  id: string
  tenant: string
  name: string
  agents: string
  sessions: string
  expires_at: number
}

/** A token as its creator gets it. It is shown once: the server keeps its hash. */
export interface NewToken {
  token: string
  scope: Scope
}

/** Short-lived tokens for pages in browsers. They are kept in a file, so that a restart ends none of them. */
export class BrowserTokens {
  readonly #clock: Clock
  readonly #database: DatabaseSync
  /** What ends the streams that a token has opened, by its id. */
  readonly #streams = new Map<string, Set<() => void>>()

  /** `:memory:` keeps them until `close()`. */
  constructor(path: string, clock: Clock) {
    this.#clock = clock
    this.#database = new DatabaseSync(path)
    this.#database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 1000')
    this.#database.exec(SCHEMA)
  }

  /** Makes a token in the name of this caller. Throws ApiError (rate_limit_error) when its tenant has too many. */
  create({ tenant, name }: Caller, { agents, sessions, lifetimeMs }: TokenRequest): NewToken {
    const now = calendarOf(this.#clock).steady
    this.#database.prepare('DELETE FROM browser_tokens WHERE expires_at <= ?').run(now)
    const { count } = this.#database
      .prepare('SELECT count(*) AS count FROM browser_tokens WHERE tenant = ?')
      .get(tenant) as { count: number }
    if (count >= MAX_TOKENS)
      throw new ApiError(
        'rate_limit_error',
        `this tenant has ${MAX_TOKENS} browser tokens that are valid; revoke some`,
        {
          headers: retryAfter(60_000),
        },
      )
    const id = `btok_${randomBytes(12).toString('hex')}`
    const token = `${BROWSER_TOKEN}${randomBytes(SECRET_BYTES).toString('base64url')}`
    const expiresAt = now + lifetimeMs
    this.#database
      .prepare(
        `INSERT INTO browser_tokens (id, sha256, tenant, name, agents, sessions, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?)`,
      )
      .run(id, hashOf(token), tenant, name, JSON.stringify(agents), JSON.stringify(sessions), expiresAt)
    return { token, scope: { id, agents, sessions, expiresAt } }
  }

  /** Whose token it is; undefined when it is unknown, expired or revoked. */
  callerOf(token: string): Caller | undefined {
    const row = this.#database
      .prepare('SELECT id, tenant, name, agents, sessions, expires_at FROM browser_tokens WHERE sha256 = ?')
      .get(hashOf(token)) as Row | undefined
    if (row === undefined || row.expires_at <= calendarOf(this.#clock).steady) return undefined
    const { id, tenant, name, agents, sessions, expires_at: expiresAt } = row
    const scope = { id, agents: JSON.parse(agents) as string[], sessions: JSON.parse(sessions) as string[], expiresAt }
    return { tenant, name: `${id} of ${name}`, scope }
  }

  /** Ends a token and its streams; false when this tenant has no such token. */
  revoke(tenant: string, id: string): boolean {
    const { changes } = this.#database
      .prepare('DELETE FROM browser_tokens WHERE tenant = ? AND id = ? AND expires_at > ?')
      .run(tenant, id, calendarOf(this.#clock).steady)
    for (const cut of this.#streams.get(id) ?? []) cut()
    return Number(changes) > 0
  }

  /**
   * Calls `cut` when the token is revoked, or also when it expires, until the function that it returns is called.
   * `untilExpiry`: what the stream shows comes without an end of its own.
   */
  watch({ id, expiresAt }: Scope, cut: () => void, { untilExpiry }: { untilExpiry: boolean }): () => void {
    const streams = this.#streams.get(id) ?? new Set()
    this.#streams.set(id, streams.add(cut))
    const leftMs = Math.max(expiresAt - calendarOf(this.#clock).steady, 0)
    const cancel = untilExpiry ? this.#clock.after(leftMs, cut) : undefined
    return () => {
      cancel?.()
      streams.delete(cut)
      if (streams.size === 0 && this.#streams.get(id) === streams) this.#streams.delete(id)
    }
  }

  close(): void {
    this.#database.close()
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
