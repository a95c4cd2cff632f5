import { isAbsolute } from 'node:path'
import { z } from 'zod'
import { ConfigError } from '../errors.ts'
import { validate } from './section.ts'
import { parseDuration } from '../units.ts'

/** Which option a credential is for. */
export type CredentialKind = 'key' | 'authToken' | 'oauthToken'

/** Where a credential is read again and again, so that it can be replaced without a restart. Give `command` or `file`. */
export interface RefreshOptions {
  /** A program and its arguments, which prints the credential. It runs as the host, without a shell, for 30 s at most. */
  command?: readonly string[]
  /** The absolute path of a file that holds the credential and nothing else. */
  file?: string
  /** What it gives. Default `"key"`. */
  as?: CredentialKind
  /** How often it is read, at least `"1s"`. Default `"1m"`. */
  every?: string
}

/** How one tenant reaches the model, where that differs. */
export interface TenantApiOptions {
  /** Default: that of the pool. */
  baseUrl?: string
  key?: string
  /** A bearer token instead of a key. */
  authToken?: string
  /** A Claude Code OAuth token instead of a key. */
  oauthToken?: string
  /** Reads the credential from a command or a file instead. */
  refresh?: RefreshOptions
}

/** How the agent's process reaches the model. Explicit values win over the host's environment. */
export interface ApiOptions {
  /** Default: `ANTHROPIC_BASE_URL` of the host, else the CLI's own. */
  baseUrl?: string
  /** Default: `ANTHROPIC_API_KEY` of the host. */
  key?: string
  /** A bearer token instead of a key. Default: `ANTHROPIC_AUTH_TOKEN` of the host. */
  authToken?: string
  /** A Claude Code OAuth token instead of a key. Default: `CLAUDE_CODE_OAUTH_TOKEN` of the host. */
  oauthToken?: string
  /** Reads the credential from a command or a file instead. `createPool()` rejects with ConfigError if it cannot be read at first. */
  refresh?: RefreshOptions
  /** Default: what `CLAUDE_CODE_USE_BEDROCK`, `_VERTEX` or `_FOUNDRY` of the host say, else `anthropic`. */
  provider?: 'anthropic' | 'bedrock' | 'vertex' | 'foundry'
  /** Tenants that have a credential of their own, by name. It is Anthropic's, whatever the pool's provider is. */
  tenants?: Readonly<Record<string, TenantApiOptions>>
}

/** What a credential looks like. */
export const CREDENTIAL: RegExp = /^[\x21-\x7e]+$/

const KINDS = ['key', 'authToken', 'oauthToken'] as const

const LEAST_EVERY_MS = 1_000

const credentials = {
  baseUrl: z.url({ protocol: /^https?$/, error: 'is not an http(s) URL' }).optional(),
  key: credential().optional(),
  authToken: credential().optional(),
  oauthToken: credential().optional(),
  refresh: z
    .strictObject({
      command: z.array(z.string().min(1)).min(1).optional(),
      file: z.string().refine(isAbsolute, { error: 'is not an absolute path' }).optional(),
      as: z.enum(KINDS, { error: 'is none of "key", "authToken" and "oauthToken"' }).optional(),
      every: z.string().optional(),
    })
    .refine(({ command, file }) => (command === undefined) !== (file === undefined), {
      error: 'needs either a command or a file',
    })
    .optional(),
}

const apiSchema = z.strictObject({
  ...credentials,
  provider: z.enum(['anthropic', 'bedrock', 'vertex', 'foundry']).optional(),
  tenants: z.record(z.string(), z.strictObject(credentials)).optional(),
})

function credential(): z.ZodType<string> {
  // Never show the value: it may be the real one with a newline at its end.
  return z.string().regex(CREDENTIAL, 'is empty or has characters that no credential has (spaces, newlines?)')
}

function onlyOne(path: string, api: TenantApiOptions): number {
  const given = ([...KINDS, 'refresh'] as const).filter((name) => api[name] !== undefined)
  if (given.length > 1) throw new ConfigError(`${path}.${given[1]}`, `is given beside ${path}.${given[0]}; keep one`)
  return given.length
}

function checkEvery(path: string, { refresh }: TenantApiOptions): void {
  if (refresh?.every === undefined) return
  if (parseDuration(`${path}.refresh.every`, refresh.every) < LEAST_EVERY_MS)
    throw new ConfigError(`${path}.refresh.every`, 'is less than 1s')
}

export function readApi(input: ApiOptions | undefined): ApiOptions {
  const api = validate('api', apiSchema, input ?? {}) as ApiOptions
  onlyOne('api', api)
  checkEvery('api', api)
  if (api.refresh !== undefined && api.provider !== undefined && api.provider !== 'anthropic')
    throw new ConfigError('api.refresh', `is for Anthropic's API or a gateway, not for ${api.provider}; leave it out`)
  for (const [tenant, own] of Object.entries(api.tenants ?? {})) {
    checkEvery(`api.tenants.${tenant}`, own)
    if (onlyOne(`api.tenants.${tenant}`, own) === 0)
      throw new ConfigError(
        `api.tenants.${tenant}`,
        'has no credential; give it a key, an authToken, an oauthToken or a refresh',
      )
  }
  return Object.freeze(api)
}

/** How a tenant reaches the model: by its own credential, else as the pool does. */
export function apiOf({ tenants = {}, ...api }: ApiOptions, tenant: string): ApiOptions {
  const own = Object.hasOwn(tenants, tenant) ? tenants[tenant] : undefined
  if (own === undefined) return api
  return { ...(api.baseUrl === undefined ? {} : { baseUrl: api.baseUrl }), ...own, provider: 'anthropic' }
}
