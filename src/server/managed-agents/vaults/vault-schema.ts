import { z } from 'zod'
import { metadata, metadataPatch } from '../schema.ts'
import type { MetadataPatch } from '../schema.ts'

export interface VaultCreate {
  display_name: string
  metadata?: Record<string, string> | undefined
}

export interface VaultUpdate {
  display_name?: string | null | undefined
  metadata?: MetadataPatch | undefined
}

const displayName = z.string().min(1).max(255)

export const vaultCreate: z.ZodType<VaultCreate> = z.strictObject({
  display_name: displayName,
  metadata: metadata.optional(),
})

export const vaultUpdate: z.ZodType<VaultUpdate> = z.strictObject({
  display_name: displayName.nullish(),
  metadata: metadataPatch.optional(),
})

/** How a token endpoint learns who asks. */
export interface TokenEndpointAuth {
  type: 'none' | 'client_secret_basic' | 'client_secret_post'
  client_secret?: string | null | undefined
}

interface RefreshParams {
  client_id: string
  refresh_token: string
  token_endpoint: string
  token_endpoint_auth: TokenEndpointAuth
  resource?: string | null | undefined
  scope?: string | null | undefined
}

interface BearerParams {
  type: 'static_bearer'
  token: string
  mcp_server_url: string
}

interface OAuthParams {
  type: 'mcp_oauth'
  access_token: string
  mcp_server_url: string
  expires_at?: string | null | undefined
  refresh?: RefreshParams | null | undefined
}

export interface CredentialCreate {
  auth: BearerParams | OAuthParams
  display_name?: string | null | undefined
  metadata?: Record<string, string> | undefined
}

interface RefreshUpdate {
  refresh_token?: string | null | undefined
  scope?: string | null | undefined
  token_endpoint_auth?: TokenEndpointAuth | undefined
}

export interface CredentialUpdate {
  auth?:
    | { type: 'static_bearer'; token?: string | null | undefined }
    | {
        type: 'mcp_oauth'
        access_token?: string | null | undefined
        expires_at?: string | null | undefined
        refresh?: RefreshUpdate | null | undefined
      }
    | undefined
  display_name?: string | null | undefined
  metadata?: MetadataPatch | undefined
}

/** It goes into a header. */
const secret = z
  .string()
  .min(1)
  .max(16_384)
  .regex(/^[\x21-\x7e]+$/, 'has characters that no header can have')

const place = z
  .url({ protocol: /^https?$/, error: 'is not an http(s) URL' })
  .max(2_048)
  .refine((text) => {
    const { username, password, hash } = new URL(text)
    return username === '' && password === '' && hash === ''
  }, 'has a user, a password or a fragment')

const words = z.string().min(1).max(2_048)
const time = z.iso.datetime({ offset: true, error: 'must be a timestamp in RFC 3339 format' })

const noVariables = z.strictObject({
  type: z.literal('environment_variable', { error: 'must be static_bearer or mcp_oauth' }),
})

const NO_VARIABLES =
  'environment_variable is not supported: this server does not look into the requests of agents; use static_bearer with an MCP server, or remotes of an agent in the server’s config'

const withoutVariables = <T>(schema: z.ZodType<T>): z.ZodType<T> =>
  z.unknown().transform((value, context) => {
    if (noVariables.loose().safeParse(value).success) {
      context.addIssue({ code: 'custom', path: ['type'], message: NO_VARIABLES })
      return z.NEVER
    }
    const read = schema.safeParse(value)
    if (read.success) return read.data
    for (const { path, message } of read.error.issues) context.addIssue({ code: 'custom', path: [...path], message })
    return z.NEVER
  }) as unknown as z.ZodType<T>

const endpointAuth = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('none') }),
  z.strictObject({ type: z.literal('client_secret_basic'), client_secret: secret }),
  z.strictObject({ type: z.literal('client_secret_post'), client_secret: secret }),
])

const authCreate = z.discriminatedUnion(
  'type',
  [
    z.strictObject({ type: z.literal('static_bearer'), token: secret, mcp_server_url: place }),
    z.strictObject({
      type: z.literal('mcp_oauth'),
      access_token: secret,
      mcp_server_url: place,
      expires_at: time.nullish(),
      refresh: z
        .strictObject({
          client_id: words,
          refresh_token: secret,
          token_endpoint: place,
          token_endpoint_auth: endpointAuth,
          resource: words.nullish(),
          scope: words.nullish(),
        })
        .nullish(),
    }),
  ],
  { error: 'must be static_bearer or mcp_oauth' },
)

const authUpdate = z.discriminatedUnion(
  'type',
  [
    z.strictObject({ type: z.literal('static_bearer'), token: secret.nullish() }),
    z.strictObject({
      type: z.literal('mcp_oauth'),
      access_token: secret.nullish(),
      expires_at: time.nullish(),
      refresh: z
        .strictObject({
          refresh_token: secret.nullish(),
          scope: z.string().max(2_048).nullish(),
          token_endpoint_auth: z
            .discriminatedUnion('type', [
              z.strictObject({ type: z.literal('client_secret_basic'), client_secret: secret.nullish() }),
              z.strictObject({ type: z.literal('client_secret_post'), client_secret: secret.nullish() }),
            ])
            .optional(),
        })
        .nullish(),
    }),
  ],
  { error: 'must be static_bearer or mcp_oauth' },
)

export const credentialCreate: z.ZodType<CredentialCreate> = z.strictObject({
  auth: withoutVariables(authCreate),
  display_name: displayName.nullish(),
  metadata: metadata.optional(),
})

export const credentialUpdate: z.ZodType<CredentialUpdate> = z.strictObject({
  auth: withoutVariables(authUpdate).optional(),
  display_name: displayName.nullish(),
  metadata: metadataPatch.optional(),
})
