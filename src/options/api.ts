import { z } from 'zod'
import { ConfigError } from '../errors.ts'
import { validate } from './section.ts'

/** How one tenant reaches the model, where that differs. */
export interface TenantApiOptions {
  /** Default: that of the pool. */
  baseUrl?: string
  key?: string
  /** A bearer token instead of a key. */
  authToken?: string
  /** A Claude Code OAuth token instead of a key. */
  oauthToken?: string
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
  /** Default: what `CLAUDE_CODE_USE_BEDROCK`, `_VERTEX` or `_FOUNDRY` of the host say, else `anthropic`. */
  provider?: 'anthropic' | 'bedrock' | 'vertex' | 'foundry'
  /** Tenants that have a credential of their own, by name. It is Anthropic's, whatever the pool's provider is. */
  tenants?: Readonly<Record<string, TenantApiOptions>>
}

const credentials = {
  baseUrl: z.url({ protocol: /^https?$/, error: 'is not an http(s) URL' }).optional(),
  key: credential().optional(),
  authToken: credential().optional(),
  oauthToken: credential().optional(),
}

const apiSchema = z.strictObject({
  ...credentials,
  provider: z.enum(['anthropic', 'bedrock', 'vertex', 'foundry']).optional(),
  tenants: z.record(z.string(), z.strictObject(credentials)).optional(),
})

function credential(): z.ZodType<string> {
  // Never show the value: it may be the real one with a newline at its end.
  return z.string().regex(/^[\x21-\x7e]+$/, 'is empty or has characters that no credential has (spaces, newlines?)')
}

function onlyOne(path: string, api: TenantApiOptions): number {
  const given = (['key', 'authToken', 'oauthToken'] as const).filter((name) => api[name] !== undefined)
  if (given.length > 1) throw new ConfigError(`${path}.${given[1]}`, `is given beside ${path}.${given[0]}; keep one`)
  return given.length
}

export function readApi(input: ApiOptions | undefined): ApiOptions {
  const api = validate('api', apiSchema, input ?? {}) as ApiOptions
  onlyOne('api', api)
  for (const [tenant, own] of Object.entries(api.tenants ?? {}))
    if (onlyOne(`api.tenants.${tenant}`, own) === 0)
      throw new ConfigError(`api.tenants.${tenant}`, 'has no credential; give it a key, an authToken or an oauthToken')
  return Object.freeze(api)
}

/** How a tenant reaches the model: by its own credential, else as the pool does. */
export function apiOf({ tenants = {}, ...api }: ApiOptions, tenant: string): ApiOptions {
  const own = Object.hasOwn(tenants, tenant) ? tenants[tenant] : undefined
  if (own === undefined) return api
  return { ...(api.baseUrl === undefined ? {} : { baseUrl: api.baseUrl }), ...own, provider: 'anthropic' }
}
