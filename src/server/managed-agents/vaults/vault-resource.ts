import { toRow } from '../kept.ts'
import type { Resource } from '../../../store/api-store.ts'
import type { Sealed } from './vault-keys.ts'
import type { TokenEndpointAuth } from './vault-schema.ts'

/** A vault as the wire shows it, and as it is kept. */
export interface VaultResource {
  type: 'vault'
  id: string
  display_name: string
  metadata: Record<string, string>
  created_at: string
  updated_at: string
  archived_at: string | null
}

interface BearerAuth {
  type: 'static_bearer'
  mcp_server_url: string
}

export interface OAuthAuth {
  type: 'mcp_oauth'
  mcp_server_url: string
  expires_at: string | null
  refresh: {
    client_id: string
    token_endpoint: string
    token_endpoint_auth: Pick<TokenEndpointAuth, 'type'>
    resource: string | null
    scope: string | null
  } | null
}

/** A credential as the wire shows it. */
export interface CredentialResource {
  type: 'vault_credential'
  id: string
  vault_id: string
  display_name: string | null
  metadata: Record<string, string>
  auth: BearerAuth | OAuthAuth
  created_at: string
  updated_at: string
  archived_at: string | null
}

/** A credential as it is kept. */
export interface StoredCredential extends CredentialResource {
  /** Null once it is archived. */
  sealed: Sealed | null
  /** A host asks for a new access token until then, in milliseconds since the epoch. */
  refreshing_until?: number
  /** The token endpoint has refused the refresh token: it is not asked again. */
  refresh_refused?: true
}

/** What is encrypted of a credential. */
export interface Secrets {
  /** The bearer token, or the access token of OAuth. */
  token: string
  refresh_token?: string | undefined
  client_secret?: string | undefined
}

/** What a secret belongs to: sealed for one credential, it opens in no other. */
export const placeOf = (tenant: string, { vault_id, id }: Pick<StoredCredential, 'vault_id' | 'id'>): string[] => [
  tenant,
  vault_id,
  id,
]

export const wireCredential = ({
  sealed: _sealed,
  refreshing_until: _until,
  refresh_refused: _refused,
  ...shown
}: StoredCredential): CredentialResource => shown

export const toCredentialRow = (tenant: string, credential: StoredCredential): Resource =>
  toRow('vault_credential', tenant, credential, credential.vault_id)
