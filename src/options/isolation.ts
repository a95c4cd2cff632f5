import { z } from 'zod'
import { isAbsolute } from 'node:path'
import { ConfigError } from '../errors.ts'
import { LIMIT_SHAPES, NO_LIMITS, readWorkerLimits } from './cgroup-limits.ts'
import type { CgroupLimitOptions, WorkerLimits } from './cgroup-limits.ts'
import { egressSchema, readEgress } from './egress.ts'
import type { Egress, EgressOptions } from './egress.ts'
import { validate } from './section.ts'

/** What keeps agents apart from the host and from each other. */
export interface IsolationOptions extends CgroupLimitOptions {
  /**
   * The boundary around each process. `"none"`: none; it has the rights of the host's user. `"bubblewrap"`: a mount, process and
   * user namespace of its own by `bwrap`, in which it sees the system, its tenant's home, its own directory, and nothing else.
   * `"user"`: a user of its tenant's own, if the host is root. `"auto"`: the strongest that works here. Default `"none"`.
   */
  mode?: 'none' | 'bubblewrap' | 'user' | 'auto'
  /**
   * The numbers of users that the mode `"user"` gives to tenants, from `first` on. No number is given twice. `first` is at least 1,000, `count` at
   * least 2. Default `{ first: 50000, count: 10000 }`.
   */
  uids?: { first: number; count: number }
  /**
   * What processes reach over the network. `"open"`: everything. `"none"`: the model alone, by the credential proxy. `{ allow }`: the
   * model, and these places by an HTTP proxy. Default `"open"`.
   */
  egress?: EgressOptions
  /** Tenants that may reach less, by name: both lists must name a place. */
  tenants?: Readonly<Record<string, { egress: EgressOptions }>>
  /** Folders that every sandboxed process sees beside the system and its own: programs of MCP servers, for example. Absolute paths. */
  paths?: { read?: readonly string[]; write?: readonly string[] }
  /**
   * Where the credential of the model is. `"proxy"`: in a process of its own, through which agents reach the model; their environments
   * hold a token that is good for nothing else. What the proxy cannot hold stays in the environment, and `doctor` says why.
   * `"environment"`: in the environment of each agent. Default `"proxy"`.
   */
  credentials?: 'proxy' | 'environment'
}

/** How an agent is isolated more strictly than its pool. */
export interface AgentIsolationOptions extends CgroupLimitOptions {
  /** Puts this agent's processes behind a boundary, if the pool's `isolation.mode` is `"none"`. */
  mode?: 'bubblewrap'
  /** What this agent's processes reach. A place must be allowed here, by the pool and for the tenant. Default: no further limit. */
  egress?: EgressOptions
}

/** Numbers of users, from `first` on. */
export interface UserRange {
  readonly first: number
  readonly count: number
}

export interface Isolation {
  readonly mode: 'none' | 'bubblewrap' | 'user' | 'auto'
  readonly uids: UserRange
  readonly egress: Egress
  readonly tenants: Readonly<Record<string, Egress>>
  readonly paths: { readonly read: readonly string[]; readonly write: readonly string[] }
  readonly credentials: 'proxy' | 'environment'
  readonly limits: WorkerLimits
}

export interface AgentIsolation {
  readonly mode: 'bubblewrap' | undefined
  readonly egress: Egress
  readonly limits: WorkerLimits
}

const folders = z.array(z.string().refine((path) => isAbsolute(path), { error: 'is not an absolute path' })).optional()

/** The last number that is a user's on each Linux. */
const LARGEST_UID = 2 ** 32 - 3

/** Neither users that are added by hand nor those of systemd's own services are usually in it. */
const UIDS = { first: 50_000, count: 10_000 } as const

const schema = z.strictObject({
  mode: z
    .enum(['none', 'bubblewrap', 'user', 'auto'], { error: 'is none of "none", "bubblewrap", "user" and "auto"' })
    .optional(),
  uids: z
    .strictObject({ first: z.int().min(1_000).max(LARGEST_UID), count: z.int().min(2).max(LARGEST_UID) })
    .refine(({ first, count }) => first + count - 1 <= LARGEST_UID, { error: `goes beyond ${LARGEST_UID}` })
    .optional(),
  egress: egressSchema.optional(),
  tenants: z.record(z.string(), z.strictObject({ egress: egressSchema })).optional(),
  paths: z.strictObject({ read: folders, write: folders }).optional(),
  credentials: z.enum(['proxy', 'environment'], { error: 'is neither "proxy" nor "environment"' }).optional(),
  ...LIMIT_SHAPES,
})

const agentSchema = z.strictObject({
  mode: z
    .literal('bubblewrap', { error: 'must be "bubblewrap": an agent can only be isolated more strictly' })
    .optional(),
  egress: egressSchema.optional(),
  ...LIMIT_SHAPES,
})

export function readIsolation(input: IsolationOptions | undefined): Isolation {
  const given = validate('isolation', schema, input ?? {})
  const { mode = 'none', paths = {}, credentials = 'proxy' } = given
  const egress = readEgress(given.egress ?? 'open')
  const tenants = Object.fromEntries(
    Object.entries(given.tenants ?? {}).map(([tenant, own]) => [tenant, readEgress(own.egress)]),
  )
  for (const [path, limit] of [
    ['isolation.egress', egress] as const,
    ...Object.entries(tenants).map(([tenant, own]) => [`isolation.tenants.${tenant}.egress`, own] as const),
  ])
    checkEgress(path, limit, { mode, credentials })
  const { read = [], write = [] } = paths
  return Object.freeze({
    mode,
    uids: given.uids ?? UIDS,
    egress,
    tenants,
    paths: { read, write },
    credentials,
    limits: input === undefined ? NO_LIMITS : readWorkerLimits('isolation', given),
  })
}

/** Throws ConfigError for options that are not valid by themselves. */
export function readAgentIsolation(path: string, input: AgentIsolationOptions | undefined): AgentIsolation | undefined {
  if (input === undefined) return undefined
  const given = validate(path, agentSchema, input)
  const { mode, egress = 'open' } = given
  return Object.freeze({ mode, egress: readEgress(egress), limits: readWorkerLimits(path, given) })
}

/** Throws ConfigError for a limit that nothing would hold. */
function checkEgress(
  path: string,
  egress: Egress,
  { mode, credentials }: Pick<Isolation, 'mode' | 'credentials'>,
): void {
  if (egress === 'open') return
  if (mode === 'user')
    throw new ConfigError(
      path,
      'cannot be held by isolation.mode "user", which leaves processes their network; write isolation.egress "open", or set isolation.mode to "bubblewrap"',
    )
  if (mode === 'none') throw new ConfigError(path, 'needs a boundary that holds it: set isolation.mode to "bubblewrap"')
  if (credentials === 'environment')
    throw new ConfigError(
      path,
      `leaves only the credential proxy as a way to the model; set isolation.credentials to "proxy", or ${path} to "open"`,
    )
}
