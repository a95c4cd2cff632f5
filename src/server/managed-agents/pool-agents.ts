import { createHash } from 'node:crypto'
import type { AgentOptions, Pool } from '../../index.ts'
import { agentOptions, permissionPolicy } from './agent-options.ts'
import type { ClientCalls, FetchOf } from './agent-options.ts'
import { configuredName } from './agents.ts'
import type { ConfiguredAgents } from './agents.ts'
import type { AgentSkill } from './definition.ts'
import { placesOf } from './networking.ts'
import { memoryPrompt } from './memory/memory-mounts.ts'
import { dollarsOf } from './sessions/session-resource.ts'
import type { StoredSession } from './sessions/session-resource.ts'

/** Definitions that are kept at once. One that is needed again is made again. */
const MAX_DEFINED = 1_000

/** What starts ahead is the agent's, not that of one session. */
const NO_SPARES: Pick<AgentOptions, 'spares' | 'unboundSpares'> = {
  spares: { min: 0, max: 0 },
  unboundSpares: { min: 0, max: 0 },
}

/** What an agent of the pool was made from. */
interface Made {
  base: string | Readonly<AgentOptions>
  ceiling: number | undefined
  /** Where it goes, if that is limited. */
  places: string | undefined
  /** What it is told beside its definition. */
  prompt: string | undefined
}

const isSame = (a: Made, b: Made): boolean =>
  a.base === b.base && a.ceiling === b.ceiling && a.places === b.places && a.prompt === b.prompt

/** An agent of the config whose session has memory stores. */
function withPrompt({ systemPrompt: own }: AgentOptions, more: string | undefined): AgentOptions {
  if (more === undefined) return {}
  if (own === undefined || typeof own === 'string') return { systemPrompt: [own ?? [], more].flat().join('\n\n') }
  if (Array.isArray(own)) return { systemPrompt: [...own, more] }
  if (own.type === 'preset') return { systemPrompt: { ...own, append: [own.append ?? [], more].flat().join('\n\n') } }
  return { systemPrompt: { ...own, prompt: [own.prompt, more].flat() } }
}

/** Sessions of one version of an agent may have different versions of its skills. */
const markOf = (skills: readonly AgentSkill[]): string =>
  skills.length === 0 ? '' : `.${createHash('sha256').update(JSON.stringify(skills)).digest('hex').slice(0, 16)}`

/** How the host reaches an MCP server for a session of a tenant; undefined: the process does it itself. */
type FetchOfSession = (
  tenant: string,
  url: URL,
  session: Pick<StoredSession, 'id' | 'vault_ids'>,
) => ReturnType<FetchOf>

/** Gives the pool the agents of the API's sessions, each when a session needs it. */
export class PoolAgents {
  readonly #pool: Pool
  readonly #configured: ConfiguredAgents
  readonly #calls: ClientCalls
  readonly #fetchOf: FetchOfSession
  /** By name, what each was made from; the one that was needed longest ago comes first. */
  readonly #defined = new Map<string, Made>()

  /** `fetchOf`: how the host reaches that MCP server of a tenant's agent, if it does. */
  constructor(pool: Pool, configured: ConfiguredAgents, calls: ClientCalls, fetchOf: FetchOfSession = () => undefined) {
    this.#pool = pool
    this.#configured = configured
    this.#calls = calls
    this.#fetchOf = fetchOf
  }

  isConfigured(agentId: string): boolean {
    return configuredName(agentId, this.#configured) !== undefined
  }

  /** True for an agent of the config that says itself where it goes. */
  limitsEgress(agentId: string): boolean {
    const name = configuredName(agentId, this.#configured)
    return name !== undefined && this.#pool.agentOptions(name).isolation?.egress !== undefined
  }

  /** The name of the pool's agent for this session, which is defined from then on. */
  nameOf(tenant: string, session: StoredSession): string {
    const { id, agent, budget, sharesAgent, network, skillNames, resources, vault_ids: vaults } = session
    const configured = configuredName(agent.id, this.#configured)
    if (configured !== undefined && sharesAgent) return configured
    const { model, system, tools, mcp_servers, skills } = agent
    const definition = { model, system, tools, mcp_servers, skills }
    const name = sharesAgent ? `${agent.id}.v${agent.version}${markOf(skills)}` : id
    const prompt = memoryPrompt(resources)
    const base =
      configured === undefined ? JSON.stringify([definition, skillNames, vaults]) : this.#pool.agentOptions(configured)
    const allow = network && placesOf(network, mcp_servers)
    const ceiling = budget === null ? undefined : dollarsOf(budget)
    const made = { base, ceiling, places: allow?.join(' '), prompt }
    const known = this.#defined.get(name)
    this.#defined.delete(name)
    this.#defined.set(name, made)
    if (known !== undefined && isSame(known, made)) return name
    const options =
      typeof base === 'string'
        ? {
            ...agentOptions(definition, this.#calls, (url) => this.#fetchOf(tenant, url, session), {
              skillNames,
              prompt,
            }),
            // Their files are in the workspace of the session before its process starts.
            ...(skillNames === undefined && prompt === undefined ? {} : NO_SPARES),
            evaluatedPermission: permissionPolicy(definition),
          }
        : { ...base, ...NO_SPARES, ...withPrompt(base, prompt) }
    // Its running total goes on over all its processes: the CLI stops at the ceiling of the session, not of a turn.
    const bounded = made.ceiling === undefined ? options : { ...options, maxBudgetUsd: made.ceiling }
    const isolation = allow && { ...bounded.isolation, mode: 'bubblewrap' as const, egress: { allow } }
    this.#pool.defineAgent(name, isolation === undefined ? bounded : { ...bounded, isolation })
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
