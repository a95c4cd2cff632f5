import type { PoolOptions } from '../index.ts'

/** Variables that carry a credential, or name a provider that has its own. */
const CREDENTIALS = ['ANTHROPIC_API_KEY', 'ANTHROPIC_AUTH_TOKEN', 'CLAUDE_CODE_OAUTH_TOKEN']
const PROVIDERS = ['CLAUDE_CODE_USE_BEDROCK', 'CLAUDE_CODE_USE_VERTEX', 'CLAUDE_CODE_USE_FOUNDRY']

type Environment = Readonly<Record<string, string | undefined>>

const namesCredential = (env: Environment): boolean =>
  CREDENTIALS.some((name) => (env[name] ?? '') !== '') || PROVIDERS.some((name) => /^(1|true)$/.test(env[name] ?? ''))

/** True when config or environment say how the real model is reached. */
export function hasCredential({ api = {}, agents, driver }: PoolOptions, env: Environment): boolean {
  if (driver !== undefined) return true
  if (api.key !== undefined || api.authToken !== undefined || api.oauthToken !== undefined) return true
  if (api.provider !== undefined && api.provider !== 'anthropic') return true
  return namesCredential(env) || Object.values(agents).some((agent) => namesCredential(agent.env ?? {}))
}

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
