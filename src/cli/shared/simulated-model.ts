import type { PoolOptions } from '../../index.ts'

/** Variables that carry a credential, or name a provider that has its own. */
const CREDENTIALS = ['ANTHROPIC_API_KEY', 'ANTHROPIC_AUTH_TOKEN', 'CLAUDE_CODE_OAUTH_TOKEN']
const PROVIDERS = ['CLAUDE_CODE_USE_BEDROCK', 'CLAUDE_CODE_USE_VERTEX', 'CLAUDE_CODE_USE_FOUNDRY']

type Environment = Readonly<Record<string, string | undefined>>

/** The variable that carries a credential, or says that the provider has its own. */
const namedBy = (env: Environment): string | undefined =>
  CREDENTIALS.find((name) => (env[name] ?? '') !== '') ?? PROVIDERS.find((name) => /^(1|true)$/.test(env[name] ?? ''))

/** Where config or environment say how the real model is reached; undefined: nowhere. */
export function credentialSource({ api = {}, agents, driver }: PoolOptions, env: Environment): string | undefined {
  if (driver !== undefined) return "the config's driver"
  if (api.key !== undefined || api.authToken !== undefined || api.oauthToken !== undefined) return "the config's api"
  if (api.refresh !== undefined)
    return api.refresh.file === undefined ? 'the command of api.refresh' : 'the file of api.refresh'
  if (api.provider !== undefined && api.provider !== 'anthropic') return `provider ${api.provider} of the config`
  const agent = Object.entries(agents).find(([, { env: own = {} }]) => namedBy(own) !== undefined)
  return namedBy(env) ?? (agent === undefined ? undefined : `the env of agent ${agent[0]}`)
}

/** Variables of credentials whose value no credential can have: it would be refused, hours later. */
export const brokenCredentials = (env: Environment): string[] =>
  CREDENTIALS.filter((name) => env[name] !== undefined && env[name] !== '' && !/^[\x21-\x7e]+$/.test(env[name]))

/** The same pool, with the simulated model at `url` whatever config and environment say. */
export function onSimulatedModel(options: PoolOptions, url: string): PoolOptions {
  const agents = Object.entries(options.agents).map(([name, agent]) => {
    const env = Object.entries(agent.env ?? {}).filter(([variable]) => !/^(ANTHROPIC|CLAUDE_CODE_USE)_/.test(variable))
    // A proxy knows nothing of this machine's loopback.
    return [name, { ...agent, env: { ...Object.fromEntries(env), NO_PROXY: '127.0.0.1', no_proxy: '127.0.0.1' } }]
  })
  return {
    ...options,
    agents: Object.fromEntries(agents) as PoolOptions['agents'],
    api: { provider: 'anthropic', baseUrl: url, key: 'simulated' },
  }
}
