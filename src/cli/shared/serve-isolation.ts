import { StartError } from '../../errors.ts'
import type { Logger, PoolOptions, SpareOptions } from '../../index.ts'
import type { EgressOptions } from '../../options/egress.ts'
import type { IsolationOptions } from '../../options/isolation.ts'
import type { ServerOptions } from '../../server/index.ts'

/** How `serve` isolates agents: as the config says, and for the rest by how many tenants there are. */
export interface ServedIsolation {
  /** The pool is opened with it. */
  readonly options: IsolationOptions
  /** Several tenants share the server. */
  readonly shared: boolean
  /** What holds if no mode works: `refuse` to start, or `warn` and go on with `none`. Undefined: the config names the mode. */
  readonly otherwise: 'refuse' | 'warn' | undefined
  /** Why no mode is tried though the config names none. */
  readonly because?: string
}

/** Where processes may go, in words. */
export function saysEgress(egress: EgressOptions = 'open'): string {
  const allowed = typeof egress === 'object' ? egress.allow.length : 0
  if (egress === 'open') return 'open'
  return allowed === 0
    ? 'to the model alone'
    : `to the model and ${allowed} listed ${allowed === 1 ? 'place' : 'places'}`
}

/** Whether more than one tenant can use the server: tokens name as many as their issuer likes. */
const isShared = ({ keys = [], jwt }: Pick<ServerOptions, 'keys' | 'jwt'>): boolean =>
  jwt !== undefined || new Set(keys.map(({ tenant }) => tenant)).size > 1

const wanted = ({ min = 0, max = min }: SpareOptions = {}): number => max

/** What the config has that no mode takes. */
function obstacleIn({ agents, driver }: Pick<PoolOptions, 'agents' | 'driver'>): string | undefined {
  if (driver !== undefined) return 'the config has its own driver'
  const unbound = Object.entries(agents).find(([, { unboundSpares }]) => wanted(unboundSpares) > 0)
  return unbound === undefined ? undefined : `agents.${unbound[0]}.unboundSpares cannot be sandboxed`
}

/**
 * The isolation of a server. One tenant: the strongest mode that works. Several: the same with the model as the only way out,
 * and no start without it.
 */
export function servedIsolation(
  config: Pick<PoolOptions, 'agents' | 'driver' | 'isolation'>,
  server: Pick<ServerOptions, 'keys' | 'jwt'>,
): ServedIsolation {
  const given = config.isolation ?? {}
  const shared = isShared(server)
  const egress = given.egress ?? (shared && given.mode !== 'none' ? 'none' : 'open')
  if (given.mode !== undefined) return { options: { ...given, egress }, shared, otherwise: undefined }
  const options = { ...given, mode: 'auto', egress } as const
  if (shared) return { options, shared, otherwise: 'refuse' }
  const because = obstacleIn(config)
  if (because === undefined) return { options, shared, otherwise: 'warn' }
  return { options: { ...options, mode: 'none' }, shared, otherwise: 'warn', because }
}

const isIsolation = (error: unknown): error is StartError => error instanceof StartError && error.phase === 'isolation'

/**
 * Opens a pool with this isolation, or without one if that is allowed, and says so in a line of the log. Throws StartError if
 * no mode works and there must be one.
 */
export async function openIsolated<Opened>(
  { options, otherwise, because }: ServedIsolation,
  open: (isolation: IsolationOptions) => Promise<Opened>,
  logger: Logger,
): Promise<Opened> {
  const warn = (problem: string): void => logger.warn(`agents have the rights of this user: ${problem}`, {})
  try {
    const opened = await open(options)
    if (because !== undefined) warn(`${because}, so isolation.mode is "none"; see docs/isolation.md`)
    return opened
  } catch (error) {
    if (!isIsolation(error) || otherwise === undefined) throw error
    if (otherwise === 'refuse')
      throw new StartError('isolation', `a server of several tenants needs isolation. ${error.message}`, undefined, {
        cause: error,
      })
    const opened = await open({ ...options, mode: 'none', egress: 'open' })
    warn(error.message)
    return opened
  }
}
