import type { FetchLike } from '@modelcontextprotocol/sdk/shared/transport.js'
import type { Fetch } from '../../outbound/public-fetch.ts'
import type { AccessTokens } from './access-tokens.ts'
import type { StoredCredential } from './vault-resource.ts'
import type { Vaults } from './vaults.ts'

const UNAUTHORIZED = 401
const REFUSALS = new Set([UNAUTHORIZED, 403])

/** A session that uses vaults. */
export interface VaultUser {
  tenant: string
  session: string
  vaultIds: readonly string[]
}

/** Hears whether servers take the credentials of sessions. */
export interface CredentialListener {
  refused(user: VaultUser, server: URL, why: string): void
  accepted(user: VaultUser, server: URL): void
}

interface VaultFetchContext {
  vaults: Vaults
  tokens: AccessTokens
  fetchOf: (tenant: string, url: URL) => Fetch
  servers: CredentialListener
}

/**
 * How the host reaches the MCP servers of sessions with vaults: each request gets the token that the vault has at that time. It is in no
 * process of an agent, and in no file.
 */
export class VaultFetch {
  readonly #context: VaultFetchContext

  constructor(context: VaultFetchContext) {
    this.#context = context
  }

  /** For the messages to one server. */
  for(user: VaultUser, server: URL): FetchLike {
    const { fetchOf, servers } = this.#context
    const plain = fetchOf(user.tenant, server)
    return async (input, init) => {
      const credential = await this.#credential(user, server)
      // A server that names another place for its messages does not get the token there.
      if (credential === undefined || new URL(input).origin !== server.origin) return plain(input, init as RequestInit)
      const answer = await this.#send(user, plain, credential, [input, init as RequestInit])
      if (!REFUSALS.has(answer.status)) {
        servers.accepted(user, server)
        return answer
      }
      const why = `the server refused the credential (${answer.status})`
      servers.refused(user, server, why)
      // Its words may repeat what it was sent, and reach the agent.
      await answer.body?.cancel()
      return new Response(why, { status: answer.status })
    }
  }

  async #credential({ tenant, vaultIds }: VaultUser, server: URL): Promise<StoredCredential | undefined> {
    return this.#context.vaults.find(tenant, vaultIds, server.href)
  }

  async #send(
    user: VaultUser,
    plain: Fetch,
    found: StoredCredential,
    [input, init = {}]: [string | URL, RequestInit?],
  ): Promise<Response> {
    const { tokens } = this.#context
    const send = (credential: StoredCredential): Promise<Response> => {
      const headers = new Headers(init.headers)
      headers.set('authorization', `Bearer ${tokens.secretsOf(user.tenant, credential).token}`)
      return plain(input, { ...init, headers })
    }
    const current = tokens.isOld(found) ? await this.#renewed(user, found) : found
    const answer = await send(current)
    if (answer.status !== UNAUTHORIZED || current !== found) return answer
    const renewed = await this.#renewed(user, current)
    if (renewed === current) return answer
    await answer.body?.cancel()
    return send(renewed)
  }

  /** The credential with a new token; as it is if there is none. */
  async #renewed({ tenant }: VaultUser, credential: StoredCredential): Promise<StoredCredential> {
    const { tokens, vaults } = this.#context
    if (!tokens.canRefresh(credential)) return credential
    const { status } = await tokens.refresh(tenant, credential)
    return status === 'succeeded' ? vaults.stored(tenant, credential.vault_id, credential.id) : credential
  }
}
