import { ConfigError } from '../errors.ts'
import { allows, placeOfUrl } from '../egress/rules.ts'
import type { EgressLists } from '../egress/rules.ts'

/** A list of places, or everything. */
type Egress = 'open' | readonly string[]

/** What is said of a pool, and of an agent of it. */
interface PoolRules {
  readonly mode: 'none' | 'bubblewrap'
  readonly egress: Egress
  readonly tenants: Readonly<Record<string, Egress>>
  readonly credentials: 'proxy' | 'environment'
}

interface ConfinedAgent {
  readonly name: string
  readonly isolation: { readonly mode: 'bubblewrap' | undefined; readonly egress: Egress } | undefined
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
  #boundary: { readonly network: Network } | undefined

  constructor(rules: PoolRules) {
    this.#rules = rules
  }

  /** What there is from now on. */
  set boundary(boundary: { readonly network: Network } | undefined) {
    this.#boundary = boundary
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

  isSandboxed({ isolation }: Pick<ConfinedAgent, 'isolation'>): boolean {
    return this.#rules.mode !== 'none' || isolation?.mode !== undefined
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

  /** Throws ConfigError for an agent whose isolation this pool cannot give. */
  check(path: string, agent: ConfinedAgent): void {
    const { isolation } = agent
    if (isolation === undefined) return
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
    const needed = this.needs([agent])
    if (needed === undefined) return
    if (this.#boundary === undefined || NETWORKS.indexOf(this.#boundary.network) < NETWORKS.indexOf(needed))
      throw new ConfigError(path, 'needs a boundary that this pool was created without; create it again')
  }

  #ofTenant(tenant: string): Egress {
    const { tenants } = this.#rules
    return (Object.hasOwn(tenants, tenant) ? tenants[tenant] : undefined) ?? 'open'
  }
}
