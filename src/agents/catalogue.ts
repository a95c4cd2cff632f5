import { ConfigError } from '../errors.ts'
import type { ResidencyOptions } from '../options/residency.ts'
import { readAgent, readAgents } from './agent.ts'
import type { Agent, AgentOptions } from './agent.ts'
import { fingerprintOf, formOf } from './fingerprint.ts'

/** Leads the names of the agents that queries bring along: no agent of a config can have it. */
const QUERY_AGENT = 'query:'

/** True for what belongs to an agent that a query brought along: its options come with each query. */
export const isOfQuery = ({ agent }: { agent: string }): boolean => agent.startsWith(QUERY_AGENT)

/** Agents of queries that are remembered: what reuses their options can reuse their spares. */
const MAX_AD_HOC = 100

/** The agents of a pool: from its options, defined one by one, and made for queries. */
export class Agents {
  readonly #residency: ResidencyOptions | undefined
  readonly #own = new Map<string, Agent>()
  readonly #defined = new Map<string, Agent>()
  readonly #adHoc = new Map<string, Agent>()
  /** What is fixed at start, hashed once for each agent: definitions never change in place. */
  readonly #hashes = new WeakMap<Agent, string>()
  #changed: (names: readonly string[]) => void = () => undefined

  /** `residency`: the pool's, for what its agents leave out. Throws ConfigError. */
  constructor(agents: Readonly<Record<string, AgentOptions>>, residency: ResidencyOptions | undefined) {
    this.#residency = residency
    for (const agent of readAgents(agents, residency)) this.#own.set(agent.name, agent)
  }

  /** Calls the listener with the names of agents that have another definition, or none. */
  onChange(listener: (names: readonly string[]) => void): void {
    this.#changed = listener
  }

  /** The names of the agents that sessions may use. */
  get names(): string[] {
    return [...this.#own.keys()]
  }

  /** Those of the pool's options. */
  get own(): Agent[] {
    return [...this.#own.values()]
  }

  /** The definitions of the pool's own agents by name, as hashes that are the same at each host that has them. */
  get forms(): Record<string, string> {
    return Object.fromEntries(
      this.own.map(({ name, processOptions, isolation }) => [name, formOf({ processOptions, isolation })]),
    )
  }

  find(name: string): Agent | undefined {
    return this.#own.get(name) ?? this.#defined.get(name) ?? this.#adHoc.get(name)
  }

  /** Throws ConfigError if there is no such agent. */
  of(name: string): Agent {
    const agent = this.find(name)
    if (agent !== undefined) return agent
    if (isOfQuery({ agent: name }))
      throw new ConfigError('agent', `"${name}" came with a query; go on with its session by pool.query() with resume`)
    const known = this.names.join(', ')
    throw new ConfigError('agent', `there is no agent "${name}"; known are: ${known === '' ? 'none' : known}`)
  }

  /** Checks agents that could take the place of those of the pool's options. Throws ConfigError. */
  read(agents: Readonly<Record<string, AgentOptions>>): Agent[] {
    return readAgents(agents, this.#residency)
  }

  /** Puts these agents in the place of those of the pool's options. */
  update(agents: readonly Agent[]): void {
    const before = this.names
    this.#own.clear()
    for (const agent of agents) this.#own.set(agent.name, agent)
    this.#changed([...before, ...this.names])
  }

  /** Adds an agent beside those of the pool's options, or gives one that was added so another definition. Throws ConfigError. */
  define(agent: Agent): void {
    const { name } = agent
    if (this.#own.has(name))
      throw new ConfigError(`agents.${name}`, 'is one of the pool’s own; change it with updateAgents()')
    this.#defined.set(name, agent)
    this.#changed([name])
  }

  isDefined(name: string): boolean {
    return this.#defined.has(name)
  }

  /** Removes an agent that `define()` added. */
  forget(name: string): void {
    if (this.#defined.delete(name)) this.#changed([name])
  }

  /** The agent of a query, by its options. The oldest that is not in use makes room for it. Throws ConfigError. */
  adHoc(options: AgentOptions, isInUse: (name: string) => boolean): Agent {
    const name = `${QUERY_AGENT}${fingerprintOf(options)}`
    let agent = this.#adHoc.get(name)
    if (agent === undefined) {
      agent = readAgent(name, options, { ownProcess: true })
      if (this.#adHoc.size >= MAX_AD_HOC) this.#forgetAdHoc(isInUse)
      this.#adHoc.set(name, agent)
    }
    return agent
  }

  #forgetAdHoc(isInUse: (name: string) => boolean): void {
    const unused = [...this.#adHoc.keys()].find((name) => !isInUse(name))
    if (unused === undefined) return
    this.#adHoc.delete(unused)
    this.#changed([unused])
  }

  /** What a worker must have been started with to serve this agent for this tenant. */
  fingerprintOf(agent: Agent, tenant: string): string {
    let hash = this.#hashes.get(agent)
    if (hash === undefined) {
      const { name, processOptions: options, isolation, remotes } = agent
      hash = fingerprintOf({ name, options, isolation, remotes })
      this.#hashes.set(agent, hash)
    }
    return `${hash}:${tenant}`
  }
}
