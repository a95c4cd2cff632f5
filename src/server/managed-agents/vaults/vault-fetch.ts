import type { FetchLike } from '@modelcontextprotocol/sdk/shared/transport.js'
import type { Fetch } from '../../outbound/public-fetch.ts'
import type { AccessTokens } from './access-tokens.ts'
import type { StoredCredential } from './vault-resource.ts'
import type { Vaults } from './vaults.ts'

/** Sessions whose servers have refused their credential, as far as they are remembered. */
const MOST_REFUSED = 10_000

const UNAUTHORIZED = 401
const REFUSALS = new Set([UNAUTHORIZED, 403])

/** A session that uses vaults. */
export interface VaultUser {
  tenant: string
  session: string
  vaultIds: readonly string[]
}

interface VaultFetchContext {
  vaults: Vaults
  tokens: AccessTokens
  fetchOf: (tenant: string, url: URL) => Fetch
  /** The credential for a server does not work, or cannot be used. */
  refused: (user: VaultUser, url: string, why: string) => void
}

/**
 * How the host reaches the MCP servers of sessions with vaults: each request gets the token that the vault has at that time. It is in no
 * process of an agent, and in no file.
 */
export class VaultFetch {
  readonly #context: VaultFetchContext
  readonly #refused = new Set<string>()

  constructor(context: VaultFetchContext) {
    this.#context = context
  }

  /** True if the server was told to have refused the session's credential, and has not taken one since. */
  hasRefused({ tenant, session }: Pick<VaultUser, 'tenant' | 'session'>, url: string): boolean {
    return this.#refused.has(JSON.stringify([tenant, session, url]))
  }

  /** For the messages to one server. */
  for(user: VaultUser, server: URL): FetchLike {
    const { fetchOf } = this.#context
    const plain = fetchOf(user.tenant, server)
    return async (input, init) => {
      const credential = await this.#credential(user, server)
      // A server that names another place for its messages does not get the token there.
      if (credential === undefined || new URL(input).origin !== server.origin) return plain(input, init as RequestInit)
      const answer = await this.#send(user, plain, credential, [input, init as RequestInit])
      const why = REFUSALS.has(answer.status) ? `the server refused the credential (${answer.status})` : undefined
      this.#note(user, server, why)
      if (why === undefined) return answer
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

  /** Told once, until a request works. */
  #note(user: VaultUser, { href }: URL, why: string | undefined): void {
    const place = JSON.stringify([user.tenant, user.session, href])
    if (why === undefined) {
      this.#refused.delete(place)
      return
    }
    if (this.#refused.has(place)) return
    this.#refused.add(place)
    const [oldest] = this.#refused
    if (this.#refused.size > MOST_REFUSED && oldest !== undefined) this.#refused.delete(oldest)
    this.#context.refused(user, href, why)
  }
}
