import type { ApiOptions } from '../options/api.ts'
import type { Telemetry } from '../options/telemetry.ts'

type Environment = Readonly<Record<string, string | undefined>>

/** Variables of the host that an agent may see; nothing else is passed on. */
const PASSED_ON = [
  /^PATH$/,
  /^LANG$/,
  /^LC_\w+$/,
  /^TZ$/,
  /^(HTTPS?|NO|ALL)_PROXY$/i,
  /^(NODE_EXTRA_CA_CERTS|SSL_CERT_FILE|SSL_CERT_DIR)$/,
  /^(SystemRoot|windir|COMSPEC|PATHEXT|TEMP|TMP)$/i,
]

/** The variables of each provider, by the names that the CLI reads. */
const PROVIDER_VARIABLES: Record<NonNullable<ApiOptions['provider']>, readonly RegExp[]> = {
  anthropic: [],
  bedrock: [/^CLAUDE_CODE_USE_BEDROCK$/, /^AWS_\w+$/, /^ANTHROPIC_BEDROCK_\w+$/, /^CLAUDE_CODE_SKIP_BEDROCK_AUTH$/],
  vertex: [
    /^CLAUDE_CODE_USE_VERTEX$/,
    /^(GOOGLE|GCLOUD|CLOUDSDK)_\w+$/,
    /^CLOUD_ML_REGION$/,
    /^(ANTHROPIC_VERTEX|VERTEX_REGION)_\w+$/,
    /^CLAUDE_CODE_SKIP_VERTEX_AUTH$/,
  ],
  foundry: [/^CLAUDE_CODE_USE_FOUNDRY$/, /^ANTHROPIC_FOUNDRY_\w+$/, /^AZURE_\w+$/, /^CLAUDE_CODE_SKIP_FOUNDRY_AUTH$/],
}

const PROVIDER_SWITCH = {
  bedrock: 'CLAUDE_CODE_USE_BEDROCK',
  vertex: 'CLAUDE_CODE_USE_VERTEX',
  foundry: 'CLAUDE_CODE_USE_FOUNDRY',
} as const

/** What every agent process gets: no telemetry, no memory shared between conversations, a word on why it refuses to start. */
const QUIET = {
  CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
  CLAUDE_CODE_DISABLE_AUTO_MEMORY: '1',
  CLAUDE_CODE_STARTUP_FAILURE_RESULTS: '1',
  DISABLE_TELEMETRY: '1',
  DISABLE_AUTOUPDATER: '1',
} as const

function pick(host: Environment, patterns: readonly RegExp[]): Record<string, string> {
  const picked: Record<string, string> = {}
  for (const [name, value] of Object.entries(host)) {
    if (value !== undefined && patterns.some((pattern) => pattern.test(name))) picked[name] = value
  }
  return picked
}

function providerOf(api: ApiOptions, host: Environment): NonNullable<ApiOptions['provider']> {
  if (api.provider !== undefined) return api.provider
  for (const [provider, variable] of Object.entries(PROVIDER_SWITCH)) {
    if (host[variable] === '1' || host[variable] === 'true') return provider as keyof typeof PROVIDER_SWITCH
  }
  return 'anthropic'
}

/** The variables that carry the credential and the address of the model. */
export function apiEnvironment(api: ApiOptions, host: Environment): Record<string, string> {
  const provider = providerOf(api, host)
  const explicit = api.key !== undefined || api.authToken !== undefined || api.oauthToken !== undefined
  const own = (value: string | undefined, variable: string): string | undefined =>
    value ?? (explicit ? undefined : host[variable])
  const entries = {
    ANTHROPIC_BASE_URL: api.baseUrl ?? host['ANTHROPIC_BASE_URL'],
    ANTHROPIC_API_KEY: own(api.key, 'ANTHROPIC_API_KEY'),
    ANTHROPIC_AUTH_TOKEN: own(api.authToken, 'ANTHROPIC_AUTH_TOKEN'),
    CLAUDE_CODE_OAUTH_TOKEN: own(api.oauthToken, 'CLAUDE_CODE_OAUTH_TOKEN'),
    ...pick(host, PROVIDER_VARIABLES[provider]),
    ...(provider === 'anthropic' ? {} : { [PROVIDER_SWITCH[provider]]: '1' }),
  }
  const set: Record<string, string> = {}
  for (const [name, value] of Object.entries(entries)) if (value !== undefined && value !== '') set[name] = value
  return set
}

/** What a host's environment adds for every agent of a pool. */
export function hostEnvironment(api: ApiOptions, host: Environment): Record<string, string> {
  return { ...pick(host, PASSED_ON), ...apiEnvironment(api, host) }
}

/** The variables of an agent's telemetry. What it tells carries its tenant and agent as attributes of its resource. */
export function telemetryEnvironment(
  { agents }: Telemetry,
  { tenant, agent }: { tenant: string; agent: string },
): Record<string, string> {
  if (agents === undefined) return {}
  const { OTEL_RESOURCE_ATTRIBUTES: given = '', ...rest } = agents
  const own = { 'claude_agent_pool.tenant': tenant, 'claude_agent_pool.agent': agent }
  const attributes = Object.entries(own).map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
  return { ...rest, OTEL_RESOURCE_ATTRIBUTES: [given, ...attributes].filter((text) => text !== '').join(',') }
}

/** The whole environment of one agent process: an allow-list of the host's, the tenant's places, then the agent's own. */
export function agentEnvironment(
  host: Readonly<Record<string, string>>,
  tenant: { home: string; configDir: string; tmpDir: string },
  agent: Environment,
): Record<string, string> {
  const own: Record<string, string> = {}
  for (const [name, value] of Object.entries(agent)) if (value !== undefined) own[name] = value
  return {
    CLAUDE_AGENT_SDK_CLIENT_APP: 'claude-agent-pool',
    ...QUIET,
    ...host,
    HOME: tenant.home,
    TMPDIR: tenant.tmpDir,
    ...own,
    CLAUDE_CONFIG_DIR: tenant.configDir,
  }
}
