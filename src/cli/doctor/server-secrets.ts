import { hasSecret, usesEnvironment } from '../../agents/remotes.ts'
import type { AgentOptions, PoolOptions } from '../../index.ts'
import { verdicts } from './finding.ts'
import type { Finding } from './finding.ts'

/** Where the secrets of agents' MCP servers and remotes are, by their places in the config. */
export interface SecretPlaces {
  /** With the credential proxy. */
  held: string[]
  /** With the processes of agents, and why. */
  shown: { of: string; because: string }[]
}

type Server = Exclude<NonNullable<AgentOptions['mcpServers']>, (...given: never[]) => unknown>[string]

/** Names of variables that hold secrets, as a rule. */
const SECRET_NAME = /key|token|secret|passw/i

/** What becomes of the secrets that a config gives to agents for their servers. Servers that a function makes are not known here. */
export function secretPlacesOf({ agents }: PoolOptions, mode: 'proxy' | 'environment'): SecretPlaces {
  const places: SecretPlaces = { held: [], shown: [] }
  const show = (of: string, because: string): void => void places.shown.push({ of, because })
  for (const [name, { mcpServers, agents: subagents = {}, remotes = {} }] of Object.entries(agents)) {
    for (const remote of Object.keys(remotes)) places.held.push(`agents.${name}.remotes.${remote}`)
    const own = typeof mcpServers === 'object' ? Object.entries(mcpServers) : []
    for (const [server, config] of own) {
      const of = `agents.${name}.mcpServers.${server}`
      if (hasSecret(config) && mode === 'proxy') places.held.push(of)
      else if (hasSecret(config)) show(of, 'isolation.credentials is "environment"')
      else if (usesEnvironment(config)) show(of, 'the CLI fills in ${…} from its environment')
      else if (hasSecretVariable(config)) show(of, 'a stdio server is a process of the agent')
    }
    for (const [subagent, { mcpServers: more = [] }] of Object.entries(subagents))
      for (const each of more) {
        if (typeof each === 'string') continue
        for (const [server, config] of Object.entries(each))
          if (hasSecret(config))
            show(`agents.${name}.agents.${subagent}.mcpServers.${server}`, 'name a server of the agent instead')
      }
  }
  return places
}

const hasSecretVariable = (server: Server): boolean =>
  'command' in server && Object.keys(server.env ?? {}).some((variable) => SECRET_NAME.test(variable))

/** Undefined: there are no such secrets. */
export function checkServerSecrets({ held, shown }: SecretPlaces): Finding | undefined {
  const { ok, warning } = verdicts('server secrets')
  if (shown.length > 0)
    return warning(
      `agents can read: ${shown.map(({ of, because }) => `${of} (${because})`).join('; ')}`,
      'give headers to a server of type http or sse; see docs/credentials.md',
    )
  return held.length === 0 ? undefined : ok(`with the credential proxy: ${held.join(', ')}`)
}
