import { basePath, vertexBase } from './upstream.ts'
import type { Auth, Dialect, Upstream } from './upstream.ts'

type Environment = Readonly<Record<string, string>>

/** What became of the credential in the environment of an agent. */
export type Taken =
  /** `env` holds the worker's token in its place. */
  | { kind: 'taken'; env: Record<string, string>; upstream: Upstream; from: string }
  /** The agent needs it itself. */
  | { kind: 'kept'; because: string }
  /** The environment has no credential. */
  | { kind: 'none' }

interface Need {
  token: string
  /** Throws what the system says. */
  readFile: (path: string) => string
}

type Take = (env: Environment, need: Need) => Taken

const ANTHROPIC = 'https://api.anthropic.com'
const GOOGLE_TOKENS = 'https://oauth2.googleapis.com/token'

const ANTHROPIC_CREDENTIALS = /^(?:ANTHROPIC_(?:API_KEY|AUTH_TOKEN)|CLAUDE_CODE_OAUTH_TOKEN)$/

const isOn = (value: string | undefined): boolean => value === '1' || value?.toLowerCase() === 'true'

/** The same environment without variables that match, and with these. */
function changed(env: Environment, without: RegExp, added: Record<string, string>): Record<string, string> {
  return { ...Object.fromEntries(Object.entries(env).filter(([name]) => !without.test(name))), ...added }
}

/**
 * The address that the CLI is given. It keeps the host, by which the CLI knows what the API can do, and speaks plain HTTP, since the
 * calls go into the worker's socket.
 */
const plain = (url: string): string => url.replace(/^https:/, 'http:')

const upstream = (dialect: Dialect, baseUrl: string, auth: Auth): Upstream => ({
  dialect,
  baseUrl: baseUrl.replace(/\/+$/, ''),
  auth,
})

function takeAnthropic(env: Environment, { token }: Need): Taken {
  const {
    ANTHROPIC_BASE_URL: base = ANTHROPIC,
    ANTHROPIC_API_KEY: apiKey,
    ANTHROPIC_AUTH_TOKEN: authToken,
    CLAUDE_CODE_OAUTH_TOKEN: oauthToken,
  } = env
  const bearer = authToken ?? oauthToken
  if (apiKey === undefined && bearer === undefined) return { kind: 'none' }
  const names = Object.entries({
    ANTHROPIC_API_KEY: apiKey,
    ANTHROPIC_AUTH_TOKEN: authToken,
    // The CLI ignores it beside the other one.
    CLAUDE_CODE_OAUTH_TOKEN: authToken === undefined ? oauthToken : undefined,
  }).flatMap(([name, value]) => (value === undefined ? [] : [name]))
  return {
    kind: 'taken',
    from: names.join(', '),
    upstream: upstream('messages', base, { kind: 'headers', apiKey, bearer }),
    env: changed(env, /^(ANTHROPIC_(BASE_URL|API_KEY|AUTH_TOKEN)|CLAUDE_CODE_OAUTH_TOKEN)$/, {
      ANTHROPIC_BASE_URL: plain(base),
      ...Object.fromEntries(names.map((name) => [name, token])),
    }),
  }
}

function takeFoundry(env: Environment, { token }: Need): Taken {
  const { ANTHROPIC_FOUNDRY_API_KEY: apiKey, ANTHROPIC_FOUNDRY_RESOURCE: resource } = env
  const base =
    env['ANTHROPIC_FOUNDRY_BASE_URL'] ??
    (resource === undefined ? undefined : `https://${resource}.services.ai.azure.com/anthropic`)
  if (apiKey === undefined)
    return { kind: 'kept', because: 'Foundry without ANTHROPIC_FOUNDRY_API_KEY signs in to Entra ID in the agent' }
  if (base === undefined) return { kind: 'kept', because: 'Foundry has neither a resource nor a base URL' }
  return {
    kind: 'taken',
    from: 'ANTHROPIC_FOUNDRY_API_KEY',
    upstream: upstream('messages', base, { kind: 'headers', apiKey }),
    env: changed(env, /^(ANTHROPIC_FOUNDRY_(API_KEY|RESOURCE|BASE_URL)|AZURE_\w+)$/, {
      ANTHROPIC_FOUNDRY_BASE_URL: plain(base),
      ANTHROPIC_FOUNDRY_API_KEY: token,
    }),
  }
}

function bedrockAuth(env: Environment, region: string): { auth: Auth; from: string } | undefined {
  const { AWS_BEARER_TOKEN_BEDROCK: bearer, AWS_ACCESS_KEY_ID: accessKeyId } = env
  const { AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_SESSION_TOKEN: sessionToken } = env
  if (bearer !== undefined) return { auth: { kind: 'headers', bearer }, from: 'AWS_BEARER_TOKEN_BEDROCK' }
  if (accessKeyId === undefined || secretAccessKey === undefined) return undefined
  return {
    auth: { kind: 'sigv4', region, accessKeyId, secretAccessKey, sessionToken },
    from: 'AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY',
  }
}

function takeBedrock(env: Environment, { token }: Need): Taken {
  const region = env['AWS_REGION'] ?? env['AWS_DEFAULT_REGION'] ?? 'us-east-1'
  const given = bedrockAuth(env, region)
  if (given === undefined)
    return {
      kind: 'kept',
      because:
        'Bedrock has neither AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY nor AWS_BEARER_TOKEN_BEDROCK: the agent asks a profile, a role or the machine for them',
    }
  const base = env['ANTHROPIC_BEDROCK_BASE_URL'] ?? `https://bedrock-runtime.${region}.amazonaws.com`
  return {
    kind: 'taken',
    from: given.from,
    upstream: upstream('bedrock', base, given.auth),
    env: changed(
      env,
      /^(AWS_(?!REGION$|DEFAULT_REGION$)\w+|ANTHROPIC_BEDROCK_BASE_URL|CLAUDE_CODE_SKIP_BEDROCK_AUTH)$/,
      {
        ANTHROPIC_BEDROCK_BASE_URL: plain(base),
        AWS_REGION: region,
        AWS_BEARER_TOKEN_BEDROCK: token,
      },
    ),
  }
}

interface ServiceAccount {
  type?: unknown
  client_email?: unknown
  private_key?: unknown
  private_key_id?: unknown
  project_id?: unknown
  token_uri?: unknown
}

const text = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined)

function readAccount(path: string, readFile: Need['readFile']): ServiceAccount | string {
  try {
    const account = JSON.parse(readFile(path)) as ServiceAccount
    if (account.type === 'service_account') return account
    return `${path} is a credential of type "${String(account.type)}", and the proxy signs for service accounts`
  } catch (error) {
    // The text of a JSON error quotes the file.
    return `${path} ${error instanceof SyntaxError ? 'is not JSON' : `cannot be read: ${(error as Error).message}`}`
  }
}

function takeVertex(env: Environment, { token, readFile }: Need): Taken {
  const path = env['GOOGLE_APPLICATION_CREDENTIALS']
  if (path === undefined)
    return {
      kind: 'kept',
      because:
        'Vertex AI without GOOGLE_APPLICATION_CREDENTIALS takes the credential of the machine or of gcloud in the agent',
    }
  const account = readAccount(path, readFile)
  if (typeof account === 'string') return { kind: 'kept', because: account }
  const [email, privateKey] = [text(account.client_email), text(account.private_key)]
  const project = env['ANTHROPIC_VERTEX_PROJECT_ID'] ?? env['GOOGLE_CLOUD_PROJECT'] ?? text(account.project_id)
  if (email === undefined || privateKey === undefined || project === undefined)
    return { kind: 'kept', because: `${path} lacks client_email, private_key or project_id` }
  const own = env['ANTHROPIC_VERTEX_BASE_URL']
  const base = own ?? vertexBase(env['CLOUD_ML_REGION'] ?? 'us-east5')
  const auth: Auth = {
    kind: 'service-account',
    email,
    privateKey,
    keyId: text(account.private_key_id),
    tokenUrl: text(account.token_uri) ?? GOOGLE_TOKENS,
  }
  const headers = [env['ANTHROPIC_CUSTOM_HEADERS'] ?? '', `authorization: Bearer ${token}`]
  return {
    kind: 'taken',
    from: 'GOOGLE_APPLICATION_CREDENTIALS',
    upstream: { ...upstream('vertex', base, auth), byLocation: own === undefined, project },
    env: changed(env, /^((GOOGLE|GCLOUD|CLOUDSDK)_\w+|ANTHROPIC_VERTEX_BASE_URL)$/, {
      ANTHROPIC_VERTEX_BASE_URL: plain(base),
      ANTHROPIC_VERTEX_PROJECT_ID: project,
      CLAUDE_CODE_SKIP_VERTEX_AUTH: '1',
      ANTHROPIC_CUSTOM_HEADERS: headers.filter((line) => line !== '').join('\n'),
    }),
  }
}

const PROVIDERS: readonly [variable: string, take: Take][] = [
  ['CLAUDE_CODE_USE_BEDROCK', takeBedrock],
  ['CLAUDE_CODE_USE_VERTEX', takeVertex],
  ['CLAUDE_CODE_USE_FOUNDRY', takeFoundry],
]

/**
 * Takes the credential of the model out of an agent's environment and puts `token` in its place. The CLI then reaches the API through
 * `ANTHROPIC_UNIX_SOCKET`, which the caller adds.
 */
export function takeCredential(env: Environment, need: Need): Taken {
  const [, take] = PROVIDERS.find(([variable]) => isOn(env[variable])) ?? []
  if (take === undefined) return takeAnthropic(env, need)
  // The CLI does not use it beside that of a cloud.
  return take(changed(env, ANTHROPIC_CREDENTIALS, {}), need)
}

/** The variables that hold the base URL of an API, of which an environment has one. */
const BASE_URLS = ['ANTHROPIC_BEDROCK_BASE_URL', 'ANTHROPIC_VERTEX_BASE_URL', 'ANTHROPIC_FOUNDRY_BASE_URL'] as const

/** The same environment with its API on a port of loopback, for a CLI of which it is not known that it takes the socket. */
export function onLoopback(env: Environment, port: number, { dialect, baseUrl }: Upstream): Record<string, string> {
  const variable = BASE_URLS.find((name) => env[name] !== undefined) ?? 'ANTHROPIC_BASE_URL'
  const around = (name: string): string => [env[name] ?? '', '127.0.0.1'].filter((part) => part !== '').join(',')
  const firstParty = dialect === 'messages' && baseUrl === ANTHROPIC
  return {
    ...env,
    [variable]: `http://127.0.0.1:${port}${basePath(baseUrl)}`,
    NO_PROXY: around('NO_PROXY'),
    no_proxy: around('no_proxy'),
    // At another address the CLI turns these off, which the API itself understands all the same.
    ...(firstParty ? { ENABLE_TOOL_SEARCH: 'true', CLAUDE_CODE_ENABLE_FINE_GRAINED_TOOL_STREAMING: '1' } : {}),
  }
}
