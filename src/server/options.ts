import { z } from 'zod'
import { ConfigError } from '../errors.ts'
import { validate } from '../options/section.ts'
import { parseDuration, parseSize } from '../units.ts'
import type { ConnectionOptions } from './http/connections.ts'
import { isOrigin } from './http/origins.ts'
import { managedAgentsOptions } from './managed-agents/definition-policy.ts'
import type { ManagedAgentsOptions } from './managed-agents/definition-policy.ts'
import { VaultKeys } from './managed-agents/vaults/vault-keys.ts'
import { readEndpoints } from './managed-agents/webhooks/options.ts'
import type { OnDisconnect } from './turn-feeds.ts'

/** An API key, by its hash: what the server stores never opens it. */
export interface ApiKeyOptions {
  /** The tenant of its bearer. */
  tenant: string
  /** SHA-256 of the key, in hex: `printf %s "$KEY" | sha256sum`. The key itself has 24 characters at least. */
  sha256: string
  /** What logs call its bearer. Default: the first eight digits of the hash. */
  name?: string
}

/** The key of someone who runs the server, by its hash. It opens figures of all tenants, and nothing that tenants use. */
export interface OperatorOptions {
  /** What logs call the operator. */
  name: string
  /** SHA-256 of the key, in hex: `printf %s "$KEY" | sha256sum`. The key itself has 24 characters at least. */
  sha256: string
}

/** The address of the operations port. */
export interface OperationsOptions {
  /** Default `"127.0.0.1"`. Any other than loopback needs operators, and then their key for each request but probes. */
  host?: string
  /** 0 takes any free one. */
  port: number
}

/** Tenants of tokens begin with this, so that no issuer can name one that has keys. */
export const JWT_TENANTS = 'jwt:'

/** Tokens of an issuer instead of keys, or beside them. */
export interface JwtOptions {
  /** URL of the issuer's public keys. */
  jwks: string
  issuer: string
  audience: string
  /** The claim that names the tenant. Default `"sub"`. */
  tenantClaim?: string
  /** The prefix of the tenant's name, before the claim. No tenant of a key may have this prefix. Default `"jwt:"`. */
  tenantPrefix?: string
  /** Tokens that are good for longer from now on are refused. Default `"24h"`. */
  maxLifetime?: string
}

/** What one tenant may have at once. Turns are the pool's: `limits.turnsPerTenant`. */
export interface TenantLimitOptions {
  /** Requests in a minute; short bursts of a tenth of it. Default 6000. */
  requestsPerMinute?: number
  /** Sessions that exist. Default 100000. */
  sessions?: number
  /** Event streams that are open. Default 1000. */
  streams?: number
  /** Agents that it has defined over `/v1`, with all their versions. Default 10000. */
  definitions?: number
  /** Environments that it has made over `/v1`. Default 1000. */
  environments?: number
  /** Memory stores that it has made over `/v1`, each with 2,000 memories at most. Default 1000. */
  memoryStores?: number
  /** What it keeps in events, definitions and memories. Default `"10GiB"`. */
  storage?: string
  /** Files that it has uploaded to `/v1/files`. Default 10000. */
  files?: number
  /** What all of these take. Default `"10GiB"`. */
  fileStorage?: string
  /** What one of them takes. Default `"2GiB"`. */
  fileSize?: string
  /** Versions of skills that it has uploaded to `/v1/skills`, each of 30 MiB at most. Default 200. */
  skills?: number
}

/** How front ends that speak AG-UI are served. */
export interface AgUiOptions {
  /**
   * How long the turn of an aborted or disconnected run continues before it is interrupted. A client that comes back in
   * time re-attaches. `"none"`: the turn goes on to its end. Default `"5s"`.
   */
  disconnectGrace?: string
  /** What a new message does to the turn that runs in its thread. Default `"interrupt"`. */
  onBusy?: 'interrupt' | 'steer' | 'queue'
  /** Whether agents may call the tools that front ends bring along. Default `true`. */
  clientTools?: boolean
}

/** What `createServer()` takes beside the pool. */
export interface ServerOptions {
  /** API keys. Without keys and `jwt`, every caller is the tenant `default`. Only a server on loopback may do that. */
  keys?: readonly ApiKeyOptions[]
  jwt?: JwtOptions
  /** Keys with which `/metrics` and `/pressure` tell of all tenants. Default: none. */
  operators?: readonly OperatorOptions[]
  /** The agent of new sessions if the request names none. Default: the first one there is. */
  defaultAgent?: string
  /** What a client of `/sessions/{id}/messages` that goes away does to its turn. Default `"detach"`: it goes on. */
  onDisconnect?: OnDisconnect
  agUi?: AgUiOptions
  tenantLimits?: TenantLimitOptions
  /** Origins of web pages that may call the server from a browser, such as `https://app.example`. Default: none. */
  origins?: readonly string[]
  /** What bounds the connections that `listen()` takes. */
  connections?: ConnectionOptions
  /** Which agents tenants may define over `/v1`, and which models they may call by themselves. */
  managedAgents?: ManagedAgentsOptions
  /**
   * Whether `/` is the operator's page. Default: only while the server asks for no key. With keys it needs `operators`, and
   * the key of one of them, on loopback too.
   */
  page?: boolean
}

/** The `server` section of a config file: the options of `createServer()` and `listen()`, and those of the questions. */
export interface ServerConfig extends ServerOptions {
  /** Default `"127.0.0.1"`. */
  host?: string
  /** Default 8080; 0 takes any free one. */
  port?: number
  /** A port of its own for probes, `/metrics` and `/pressure`, where they tell of all tenants. Default: none. */
  operations?: OperationsOptions
  /** How long running turns may go on after SIGTERM. Default `"30s"`. */
  grace?: string
  /** How long a permission request or a question waits for an answer before it is a no. Default `"10m"`. */
  answerWithin?: string
}

type Sizes = 'storage' | 'fileStorage' | 'fileSize'

/** `tenantLimits`, resolved. */
export interface TenantLimits extends Required<Omit<TenantLimitOptions, Sizes>> {
  /** Bytes. */
  storage: number
  fileStorage: number
  fileSize: number
}

/** `agUi`, resolved. */
export interface AgUi extends Required<Pick<AgUiOptions, 'onBusy' | 'clientTools'>> {
  /** In milliseconds. */
  readonly disconnectGraceMs: number
}

const name = z.string().min(1).max(256)

const positive = z.int().positive()

const sha256 = z.string().regex(/^[0-9a-fA-F]{64}$/, 'is not a SHA-256 in hex (64 digits)')

const portNumber = z.int().min(0).max(65_535)

const optionsShape = {
  keys: z
    .array(
      z.strictObject({
        tenant: name,
        sha256,
        name: name.optional(),
      }),
    )
    .max(1000, 'are more than 1000')
    .optional(),
  jwt: z
    .strictObject({
      jwks: z.url({ protocol: /^https?$/, error: 'is not an http(s) URL' }),
      issuer: z.string().min(1),
      audience: z.string().min(1),
      tenantClaim: z.string().min(1).optional(),
      tenantPrefix: z.string().max(64).optional(),
      maxLifetime: z.string().optional(),
    })
    .optional(),
  operators: z.array(z.strictObject({ name, sha256 })).max(1000, 'are more than 1000').optional(),
  defaultAgent: z.string().optional(),
  origins: z
    .array(z.string().refine(isOrigin, 'is not an origin; write scheme, host and port alone, like https://app.example'))
    .max(100, 'are more than 100')
    .optional(),
  onDisconnect: z.enum(['detach', 'interrupt']).optional(),
  agUi: z
    .strictObject({
      disconnectGrace: z.string().optional(),
      onBusy: z.enum(['interrupt', 'steer', 'queue']).optional(),
      clientTools: z.boolean().optional(),
    })
    .optional(),
  tenantLimits: z
    .strictObject({
      requestsPerMinute: positive.optional(),
      sessions: positive.optional(),
      streams: positive.optional(),
      definitions: positive.optional(),
      environments: positive.optional(),
      memoryStores: positive.optional(),
      storage: z.string().optional(),
      files: positive.optional(),
      fileStorage: z.string().optional(),
      fileSize: z.string().optional(),
      skills: positive.optional(),
    })
    .optional(),
  connections: z.strictObject({ max: positive.optional(), perAddress: positive.optional() }).optional(),
  managedAgents: managedAgentsOptions.optional(),
  page: z.boolean().optional(),
}

const configSchema = z.strictObject({
  ...optionsShape,
  host: z.string().min(1).optional(),
  port: portNumber.optional(),
  operations: z.strictObject({ host: z.string().min(1).optional(), port: portNumber }).optional(),
  grace: z.string({ error: 'must be text with a unit, like "30s"' }).optional(),
  answerWithin: z.string({ error: 'must be text with a unit, like "10m"' }).optional(),
})

/** Checks the `server` section of a config. Throws ConfigError. */
export function readServerConfig(input: unknown): ServerConfig {
  const config = validate('server', configSchema, input ?? {}) as ServerConfig
  for (const key of ['grace', 'answerWithin'] as const)
    if (config[key] !== undefined) parseDuration(`server.${key}`, config[key])
  readTenantLimits(config.tenantLimits)
  checkTenants(config)
  checkOperators(config)
  readAgUi(config.agUi)
  return config
}

/** Throws ConfigError. */
export function readAgUi({ disconnectGrace = '5s', onBusy = 'interrupt', clientTools = true }: AgUiOptions = {}): AgUi {
  const disconnectGraceMs =
    disconnectGrace === 'none' ? Infinity : parseDuration('server.agUi.disconnectGrace', disconnectGrace)
  return { disconnectGraceMs, onBusy, clientTools }
}

/** Checks the options of `createServer()` for a pool of these agents. Throws ConfigError. */
export function readServerOptions(input: ServerOptions, agents: readonly string[]): ServerOptions {
  const options = validate('server', z.strictObject(optionsShape), input) as ServerOptions
  checkTenants(options)
  checkOperators(options)
  checkPage(options)
  readEndpoints(options.managedAgents)
  new VaultKeys(options.managedAgents?.vaults)
  const { defaultAgent } = options
  if (defaultAgent !== undefined && !agents.includes(defaultAgent))
    throw new ConfigError('server.defaultAgent', `there is no agent "${defaultAgent}"; known are: ${agents.join(', ')}`)
  return options
}

/** A tenant's key must never do what an operator's does. */
function checkOperators({ keys = [], operators = [] }: Pick<ServerOptions, 'keys' | 'operators'>): void {
  const hashes = new Set(keys.map((key) => key.sha256.toLowerCase()))
  const shared = operators.find((operator) => hashes.has(operator.sha256.toLowerCase()))
  if (shared !== undefined)
    throw new ConfigError(
      'server.operators',
      `the key of "${shared.name}" is also one of server.keys; give it another one`,
    )
}

/** A page without operators could not be opened. */
function checkPage({ page, keys = [], jwt, operators = [] }: ServerOptions): void {
  if (page !== true || operators.length > 0 || (keys.length === 0 && jwt === undefined)) return
  throw new ConfigError(
    'server.page',
    'needs operators while the server has keys: no tenant may open it; give server.operators, or leave it out',
  )
}

/** An issuer says which tenants its tokens are for: it must not be able to name one that has keys. */
function checkTenants({ keys = [], jwt }: Pick<ServerOptions, 'keys' | 'jwt'>): void {
  if (jwt === undefined) return
  if (jwt.maxLifetime !== undefined) parseDuration('server.jwt.maxLifetime', jwt.maxLifetime)
  const { tenantPrefix = JWT_TENANTS } = jwt
  const shared = keys.find(({ tenant }) => tenant.startsWith(tenantPrefix))
  if (shared !== undefined)
    throw new ConfigError(
      'server.jwt.tenantPrefix',
      `"${tenantPrefix}" lets the issuer name the tenant "${shared.tenant}", which has a key; take another prefix, or rename the tenant`,
    )
}

export const readTenantLimits = (input: TenantLimitOptions = {}): TenantLimits => ({
  requestsPerMinute: input.requestsPerMinute ?? 6_000,
  sessions: input.sessions ?? 100_000,
  streams: input.streams ?? 1_000,
  definitions: input.definitions ?? 10_000,
  environments: input.environments ?? 1_000,
  memoryStores: input.memoryStores ?? 1_000,
  storage: parseSize('server.tenantLimits.storage', input.storage ?? '10GiB'),
  files: input.files ?? 10_000,
  fileStorage: parseSize('server.tenantLimits.fileStorage', input.fileStorage ?? '10GiB'),
  fileSize: parseSize('server.tenantLimits.fileSize', input.fileSize ?? '2GiB'),
  skills: input.skills ?? 200,
})

/** A key as it is handed to a client. Short keys can be guessed without their hash. */
const SHORTEST_KEY = 24

/** Reads keys of an environment variable: `tenant=key,tenant=key`. Throws ConfigError, which never shows a key. */
export const parseKeyList = (path: string, text: string, hash: (key: string) => string): ApiKeyOptions[] =>
  readKeys(path, text, 'tenant').map(([tenant, key]) => ({ tenant, sha256: hash(key) }))

/** The same of operators: `name=key,name=key`. */
export const parseOperatorKeys = (path: string, text: string, hash: (key: string) => string): OperatorOptions[] =>
  readKeys(path, text, 'name').map(([operator, key]) => ({ name: operator, sha256: hash(key) }))

function readKeys(path: string, text: string, whose: string): [holder: string, key: string][] {
  return text.split(',').map((entry, index) => {
    const at = entry.indexOf('=')
    const [holder, key] = [entry.slice(0, at).trim(), entry.slice(at + 1).trim()]
    if (at < 1 || holder === '') throw new ConfigError(path, `entry ${index + 1} is not of the form ${whose}=key`)
    if (key.length < SHORTEST_KEY)
      throw new ConfigError(
        path,
        `the key of entry ${index + 1} has less than ${SHORTEST_KEY} characters; take a random one`,
      )
    return [holder, key]
  })
}
