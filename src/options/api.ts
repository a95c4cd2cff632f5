import { z } from 'zod'
import { ConfigError } from '../errors.ts'
import { validate } from './section.ts'

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
}

const apiSchema = z.strictObject({
  baseUrl: z.url({ protocol: /^https?$/, error: 'is not an http(s) URL' }).optional(),
  key: credential().optional(),
  authToken: credential().optional(),
  oauthToken: credential().optional(),
  provider: z.enum(['anthropic', 'bedrock', 'vertex', 'foundry']).optional(),
})

function credential(): z.ZodType<string> {
  // Never show the value: it may be the real one with a newline at its end.
  return z.string().regex(/^[\x21-\x7e]+$/, 'is empty or has characters that no credential has (spaces, newlines?)')
}

export function readApi(input: ApiOptions | undefined): ApiOptions {
  const api = validate('api', apiSchema, input ?? {}) as ApiOptions
  const given = (['key', 'authToken', 'oauthToken'] as const).filter((name) => api[name] !== undefined)
  if (given.length > 1) throw new ConfigError(`api.${given[1]}`, `is given beside api.${given[0]}; keep one`)
  return Object.freeze(api)
}
