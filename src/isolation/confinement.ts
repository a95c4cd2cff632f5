import { ConfigError } from '../errors.ts'
import { NO_LIMITS, limitsIn, stricter } from '../options/cgroup-limits.ts'
import type { WorkerLimits } from '../options/cgroup-limits.ts'
import { allows, placeOfUrl } from '../egress/rules.ts'
import type { EgressLists } from '../egress/rules.ts'

/** A list of places, or everything. */
type Egress = 'open' | readonly string[]

/** What can be around a process. */
export type Mode = 'bubblewrap' | 'user'

/** What is said of a pool, and of an agent of it. */
interface PoolRules {
  readonly mode: 'none' | 'auto' | Mode
  readonly egress: Egress
  readonly tenants: Readonly<Record<string, Egress>>
  readonly credentials: 'proxy' | 'environment'
  readonly limits: WorkerLimits
}

interface ConfinedAgent {
  readonly name: string
  readonly isolation:
    | { readonly mode: 'bubblewrap' | undefined; readonly egress: Egress; readonly limits: WorkerLimits }
    | undefined
  /** It needs local addresses that add a credential: a bridge, if its network is closed. */
  readonly hasRemotes?: boolean
}

/** What a boundary must be able to do: share the network, close it, or lead out to listed places. Each can do what those before it can. */
export const NETWORKS = ['open', 'closed', 'bridged'] as const
export type Network = (typeof NETWORKS)[number]

const networkFor = (limits: readonly Egress[]): Network => {
  if (limits.some((limit) => limit !== 'open' && limit.length > 0)) return 'bridged'
  return limits.every((limit) => limit === 'open') ? 'open' : 'closed'
}

/** Which processes are sandboxed, and where they may go: the pool's rules, those of the tenant and those of the agent all hold. */
export class Confinements {
  readonly #rules: PoolRules
  /** What the boundary can do; undefined: there is none. */
  #boundary: { readonly network: Network; readonly mode: Mode } | undefined
  /** What cgroups can limit here. */
  #controllers: readonly (keyof WorkerLimits)[] = []

  constructor(rules: PoolRules) {
    this.#rules = rules
  }

  /** What there is from now on. */
  set boundary(boundary: { readonly network: Network; readonly mode: Mode } | undefined) {
    this.#boundary = boundary
  }

  /** The modes that can hold what is said of these agents, the best one first. A user of its own leaves a process its network. */
  modes(agents: readonly ConfinedAgent[]): readonly Mode[] {
    const { mode } = this.#rules
    if (mode !== 'auto') return [mode === 'none' ? 'bubblewrap' : mode]
    const isOpen = this.needs(agents) === 'open' && agents.every(({ isolation }) => isolation?.mode === undefined)
    return isOpen ? ['bubblewrap', 'user'] : ['bubblewrap']
  }

  /** The boundary that these agents need; undefined: none. */
  needs(agents: readonly ConfinedAgent[]): Network | undefined {
    if (this.#rules.mode === 'none' && !agents.some((agent) => this.isSandboxed(agent))) return undefined
    const { egress, tenants } = this.#rules
    const network = networkFor([
      egress,
      ...Object.values(tenants),
      ...agents.map(({ isolation }) => isolation?.egress ?? 'open'),
    ])
    return network === 'closed' && agents.some(({ hasRemotes }) => hasRemotes === true) ? 'bridged' : network
  }

  /** What cgroups can limit from now on. */
  set controllers(controllers: readonly (keyof WorkerLimits)[]) {
    this.#controllers = controllers
  }

  /** What these agents need cgroups for. */
  limited(agents: readonly ConfinedAgent[]): (keyof WorkerLimits)[] {
    return [...new Set(agents.flatMap((agent) => limitsIn(this.#both(agent))).concat(limitsIn(this.#rules.limits)))]
  }

  /** What the processes of an agent may use; undefined: as much as the host. */
  limitsOf(agent: Pick<ConfinedAgent, 'isolation'>): WorkerLimits | undefined {
    const limits = this.#both(agent)
    return limitsIn(limits).length === 0 ? undefined : limits
  }

  isSandboxed({ isolation }: Pick<ConfinedAgent, 'isolation'>): boolean {
    const { mode } = this.#rules
    const resolved = mode === 'auto' ? (this.#boundary?.mode ?? 'bubblewrap') : mode
    return resolved === 'bubblewrap' || isolation?.mode !== undefined
  }

  /** Where the processes of an agent may go for a tenant. No list: anywhere. */
  listsOf({ isolation }: Pick<ConfinedAgent, 'isolation'>, tenant: string): EgressLists {
    const limits = [this.#rules.egress, this.#ofTenant(tenant), isolation?.egress ?? 'open']
    return limits.filter((limit) => limit !== 'open')
  }

  /** Whether what acts for a tenant may reach a URL. */
  reaches(tenant: string, url: URL): boolean {
    return allows(this.listsOf({ isolation: undefined }, tenant), placeOfUrl(url))
  }

  /** Why an agent that comes later cannot have a list of places; undefined: it can. */
  get egressProblem(): string | undefined {
    const boundary = this.#boundary
    if (this.#rules.credentials === 'environment') return 'isolation.credentials is "environment"'
    if (boundary === undefined) return 'agents run without a sandbox (isolation.mode)'
    if (boundary.mode === 'user') return 'isolation.mode "user" leaves processes their network'
    return boundary.network === 'bridged' ? undefined : 'socat is not installed, or does not work here'
  }

  /** Throws ConfigError for an agent whose isolation this pool cannot give. */
  check(path: string, agent: ConfinedAgent): void {
    const { isolation } = agent
    if (isolation === undefined) return
    this.#checkLimits(path, isolation.limits)
    if (isolation.mode !== undefined && (this.#boundary?.mode ?? this.#rules.mode) === 'user')
      throw new ConfigError(
        `${path}.mode`,
        'is not possible in a pool of isolation.mode "user"; set isolation.mode to "bubblewrap", or leave it out here',
      )
    if (isolation.egress !== 'open' && !this.isSandboxed(agent))
      throw new ConfigError(`${path}.egress`, `needs a boundary that holds it: set ${path}.mode to "bubblewrap"`)
    if (isolation.egress !== 'open' && this.#rules.credentials === 'environment')
      throw new ConfigError(
        `${path}.egress`,
        'leaves only the credential proxy as a way to the model; set isolation.credentials to "proxy"',
      )
  }

  /** Throws ConfigError for an agent that came later, and needs what was not tried when the pool was created. */
  checkLater(path: string, agent: ConfinedAgent): void {
    this.check(path, agent)
    const unlimited = this.limited([agent]).find((name) => !this.#controllers.includes(name))
    if (unlimited !== undefined)
      throw new ConfigError(
        `${path}.${unlimited}`,
        'needs a cgroup that this pool was created without; create it again',
      )
    const needed = this.needs([agent])
    if (needed === undefined) return
    if (this.#boundary === undefined || NETWORKS.indexOf(this.#boundary.network) < NETWORKS.indexOf(needed))
      throw new ConfigError(path, 'needs a boundary that this pool was created without; create it again')
  }

  #both({ isolation }: Pick<ConfinedAgent, 'isolation'>): WorkerLimits {
    return stricter(this.#rules.limits, isolation?.limits ?? NO_LIMITS)
  }

  #checkLimits(path: string, limits: WorkerLimits): void {
    for (const name of limitsIn(limits)) {
      const [own, outer] = [limits[name], this.#rules.limits[name]]
      if (own !== undefined && outer !== undefined && own > outer)
        throw new ConfigError(
          `${path}.${name}`,
          `${own} is more than the ${outer} of isolation.${name}: an agent can only be isolated more strictly`,
        )
    }
  }

  #ofTenant(tenant: string): Egress {
    const { tenants } = this.#rules
    return (Object.hasOwn(tenants, tenant) ? tenants[tenant] : undefined) ?? 'open'
  }
}
