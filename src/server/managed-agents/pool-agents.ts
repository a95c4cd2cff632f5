import type { AgentOptions, Pool } from '../../index.ts'
import { agentOptions, permissionPolicy } from './agent-options.ts'
import type { ClientCalls, FetchOf } from './agent-options.ts'
import { configuredName } from './agents.ts'
import type { ConfiguredAgents } from './agents.ts'
import { dollarsOf } from './sessions/session-resource.ts'
import type { StoredSession } from './sessions/session-resource.ts'

/** Definitions that are kept at once. One that is needed again is made again. */
const MAX_DEFINED = 1_000

/** What starts ahead is the agent's, not that of one session. */
const NO_SPARES: Pick<AgentOptions, 'spares' | 'unboundSpares'> = {
  spares: { min: 0, max: 0 },
  unboundSpares: { min: 0, max: 0 },
}

/** Gives the pool the agents of the API's sessions, each when a session needs it. */
export class PoolAgents {
  readonly #pool: Pool
  readonly #configured: ConfiguredAgents
  readonly #calls: ClientCalls
  readonly #fetchOf: (tenant: string, url: URL) => ReturnType<FetchOf>
  /** By name, what each was made from; the one that was needed longest ago comes first. */
  readonly #defined = new Map<string, { base: string | Readonly<AgentOptions>; ceiling: number | undefined }>()

  /** `fetchOf`: how the host reaches that MCP server of a tenant's agent, if it does. */
  constructor(
    pool: Pool,
    configured: ConfiguredAgents,
    calls: ClientCalls,
    fetchOf: (tenant: string, url: URL) => ReturnType<FetchOf> = () => undefined,
  ) {
    this.#pool = pool
    this.#configured = configured
    this.#calls = calls
    this.#fetchOf = fetchOf
  }

  isConfigured(agentId: string): boolean {
    return configuredName(agentId, this.#configured) !== undefined
  }

  /** The name of the pool's agent for this session, which is defined from then on. */
  nameOf(tenant: string, { id, agent, budget, sharesAgent }: StoredSession): string {
    const configured = configuredName(agent.id, this.#configured)
    if (configured !== undefined && sharesAgent) return configured
    const name = sharesAgent ? `${agent.id}.v${agent.version}` : id
    const { model, system, tools, mcp_servers } = agent
    const definition = { model, system, tools, mcp_servers }
    const base = configured === undefined ? JSON.stringify(definition) : this.#pool.agentOptions(configured)
    const made = { base, ceiling: budget === null ? undefined : dollarsOf(budget) }
    const known = this.#defined.get(name)
    this.#defined.delete(name)
    this.#defined.set(name, made)
    if (known?.base === made.base && known.ceiling === made.ceiling) return name
    const options =
      typeof base === 'string'
        ? {
            ...agentOptions(definition, this.#calls, (url) => this.#fetchOf(tenant, url)),
            evaluatedPermission: permissionPolicy(definition),
          }
        : { ...base, ...NO_SPARES }
    // Its running total goes on over all its processes: the CLI stops at the ceiling of the session, not of a turn.
    const bounded = made.ceiling === undefined ? options : { ...options, maxBudgetUsd: made.ceiling }
    this.#pool.defineAgent(name, bounded)
    this.#forgetOldest()
    return name
  }

  #forgetOldest(): void {
    if (this.#defined.size <= MAX_DEFINED) return
    for (const name of this.#defined.keys()) {
      if (!this.#pool.forgetAgent(name)) continue
      this.#defined.delete(name)
      return
    }
  }
}
