import { formatWall } from '../../../clock.ts'
import type { Clock } from '../../../clock.ts'
import type { Fetch } from '../../outbound/public-fetch.ts'
import { ApiError } from '../../errors.ts'
import { secretTexts } from './access-tokens.ts'
import type { AccessTokens, Refreshed } from './access-tokens.ts'
import { askOnce, shownAnswer } from './http-answer.ts'
import type { Answered, ShownAnswer } from './http-answer.ts'
import type { StoredCredential } from './vault-resource.ts'
import type { Vaults } from './vaults.ts'

/** What a check of a credential found, as the wire shows it. */
export interface Validation {
  type: 'vault_credential_validation'
  credential_id: string
  vault_id: string
  has_refresh_token: boolean
  mcp_probe: { method: string; http_response: ShownAnswer | null } | null
  refresh: Refreshed | null
  status: 'valid' | 'invalid' | 'unknown'
  validated_at: string
}

interface ValidationContext {
  vaults: Vaults
  tokens: AccessTokens
  clock: Clock
  fetchOf: (tenant: string, url: URL) => Fetch
  checkAddress: (tenant: string, url: URL, field: string) => Promise<void>
}

const METHOD = 'initialize'

const INITIALIZE = JSON.stringify({
  jsonrpc: '2.0',
  id: 1,
  method: METHOD,
  params: {
    protocolVersion: '2025-06-18',
    capabilities: {},
    clientInfo: { name: 'claude-agent-pool', version: '1' },
  },
})

/** Asks the MCP server of an OAuth credential whether it takes it, and renews the access token if it does not. Throws ApiError. */
export async function validate(
  { vaults, tokens, clock, fetchOf, checkAddress }: ValidationContext,
  tenant: string,
  [vaultId, id]: readonly [vaultId: string, id: string],
): Promise<Validation> {
  const before = await vaults.stored(tenant, vaultId, id)
  if (before.archived_at !== null) throw new ApiError('invalid_request_error', `credential ${id} is archived`)
  if (before.auth.type !== 'mcp_oauth')
    throw new ApiError(
      'invalid_request_error',
      `credential ${id} is no mcp_oauth credential, which alone can be validated`,
    )
  const url = new URL(before.auth.mcp_server_url)
  await checkAddress(tenant, url, 'auth.mcp_server_url')
  const probe = async (credential: StoredCredential): Promise<Answered | undefined> => {
    const headers = {
      authorization: `Bearer ${tokens.secretsOf(tenant, credential).token}`,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
    }
    return askOnce(fetchOf(tenant, url), url, { headers, body: INITIALIZE }, clock).catch(() => undefined)
  }
  let credential = before
  let answered = await probe(credential)
  let refresh: Refreshed | null = null
  if (answered?.status === 401) {
    refresh = await tokens.refresh(tenant, credential)
    if (refresh.status === 'succeeded') {
      credential = await vaults.stored(tenant, vaultId, id)
      answered = await probe(credential)
    }
  }
  const works = answered !== undefined && answered.status >= 200 && answered.status < 300
  const isRefused = answered?.status === 401 || answered?.status === 403
  const isOpen = refresh?.status === 'connect_error' || !isRefused
  const hidden = [before, credential].flatMap((each) => secretTexts(tokens.secretsOf(tenant, each)))
  const http_response = answered === undefined ? null : shownAnswer(answered, hidden)
  return {
    type: 'vault_credential_validation',
    credential_id: id,
    vault_id: vaultId,
    has_refresh_token: before.auth.refresh !== null,
    mcp_probe: works ? null : { method: METHOD, http_response },
    refresh,
    status: works ? 'valid' : isOpen ? 'unknown' : 'invalid',
    validated_at: formatWall(clock.wall()),
  }
}
