import type { Pool, PoolEvents, Session } from '../../../index.ts'
import { SessionGoneError } from '../../../index.ts'
import { keepNewest } from '../../../newest.ts'
import type { ResourceStore } from '../../../store/api-store.ts'
import type { StoredSession } from './session-resource.ts'

/** Sessions whose servers have refused their credential, as far as they are remembered. */
const MOST_REFUSED = 10_000

type Failure = Omit<PoolEvents['mcp.failed'][0], 'worker'>

/** A session by its names. */
interface Place {
  tenant: string
  session: string
}

interface FailedServersContext {
  pool: Pool
  store: ResourceStore
  /** Something went wrong that no client asked for. */
  warn: (message: string, error: unknown) => void
}

const markOf = ({ tenant, session }: Place, href: string): string => JSON.stringify([tenant, session, href])

/** Tells sessions which MCP servers their agents cannot use: their turns go on without the tools of these. */
export class FailedServers {
  readonly #context: FailedServersContext
  /** Servers that have refused the credential of a session's vault, and have not taken one since. */
  readonly #refused = new Set<string>()

  constructor(context: FailedServersContext) {
    this.#context = context
  }

  /** The server has refused the credential of a session's vault. Told once, until it takes one. */
  refused(place: Place, { href }: URL, why: string): void {
    const mark = markOf(place, href)
    if (this.#refused.has(mark)) return
    this.#refused.add(mark)
    keepNewest(this.#refused, MOST_REFUSED)
    this.#tellOf(place, (servers) =>
      servers
        .filter(({ url }) => new URL(url).href === href)
        .map(({ name }) => ({ server: name, status: 'needs-auth', error: why })),
    )
  }

  /** The server has taken a credential. */
  accepted(place: Place, { href }: URL): void {
    this.#refused.delete(markOf(place, href))
  }

  /** A process of the session cannot use one of its servers. */
  failed(place: Place, failure: Failure): void {
    this.#tellOf(place, (servers) => {
      const url = servers.find(({ name }) => name === failure.server)?.url
      const isToldWhy = url !== undefined && this.#refused.has(markOf(place, new URL(url).href))
      return isToldWhy ? [] : [failure]
    })
  }

  #tellOf(place: Place, failures: (servers: StoredSession['agent']['mcp_servers']) => Failure[]): void {
    this.#tell(place, failures).catch((error: unknown) =>
      this.#context.warn('a failed MCP server was not told to its session', error),
    )
  }

  async #tell(
    { tenant, session: key }: Place,
    failures: (servers: StoredSession['agent']['mcp_servers']) => Failure[],
  ): Promise<void> {
    const { pool, store } = this.#context
    const row = await store.get('session', tenant, key)
    if (row === undefined) return
    const events = failures((JSON.parse(row.body) as StoredSession).agent.mcp_servers).map(eventOf)
    if (events.length === 0) return
    const session = await pool.session(key, { tenant }).catch((cause: unknown) => {
      if (!(cause instanceof SessionGoneError)) throw cause
      return undefined
    })
    await session?.append(events)
  }
}

function eventOf({ server, status, error }: Failure): Parameters<Session['append']>[0][number] {
  const type = status === 'needs-auth' ? 'mcp_authentication_failed_error' : 'mcp_connection_failed_error'
  const how = status === 'needs-auth' ? 'asks for a login' : 'cannot be reached'
  const message = `the MCP server ${server} ${how}${error === undefined ? '' : `: ${error}`}; the agent works without its tools`
  return {
    type: 'session.error',
    error: { type, message, mcp_server_name: server, retry_status: { type: 'retrying' } },
  }
}
