import { z } from 'zod'
import { formatWall, parseWall } from '../../../clock.ts'
import type { Clock } from '../../../clock.ts'
import type { Resource, ResourceStore } from '../../../store/api-store.ts'
import type { Fetch } from '../../outbound/public-fetch.ts'
import { askOnce, shownAnswer } from './http-answer.ts'
import type { Answered, ShownAnswer } from './http-answer.ts'
import type { VaultKeys } from './vault-keys.ts'
import { placeOf, toCredentialRow } from './vault-resource.ts'
import type { OAuthAuth, Secrets, StoredCredential } from './vault-resource.ts'

/** A token is renewed so long before it expires, in milliseconds. */
const EARLY_MS = 60_000

/** A host that asks for a new token has it by then, or is gone, in milliseconds. */
const LEASE_MS = 30_000

/** How often another host is asked whether it has the new token, in milliseconds. */
const LOOK_MS = 250

/** How a refresh went. */
export interface Refreshed {
  status: 'succeeded' | 'failed' | 'connect_error' | 'no_refresh_token'
  http_response: ShownAnswer | null
}

interface TokensContext {
  store: ResourceStore
  keys: VaultKeys
  clock: Clock
  /** How the host reaches an address for a tenant. */
  fetchOf: (tenant: string, url: URL) => Fetch
  /** A refresh has failed for good. Resolves when that is kept. */
  refused: (tenant: string, credential: StoredCredential) => Promise<void>
  trouble: (message: string, error: unknown) => void
}

/** What a token endpoint answers. */
const granted = z.object({
  access_token: z
    .string()
    .min(1)
    .max(16_384)
    .regex(/^[\x21-\x7e]+$/),
  refresh_token: z.string().min(1).max(16_384).optional(),
  expires_in: z.coerce
    .number()
    .positive()
    .max(10 * 365 * 86_400)
    .optional(),
})

/** Gives the tokens of credentials, and renews those of OAuth: one refresh of a credential at a time, on all hosts. */
export class AccessTokens {
  readonly #context: TokensContext
  readonly #refreshing = new Map<string, Promise<Refreshed>>()

  constructor(context: TokensContext) {
    this.#context = context
  }

  /** What is secret of a credential. Throws if it cannot be decrypted. */
  secretsOf(tenant: string, credential: StoredCredential): Secrets {
    if (credential.sealed === null) throw new Error(`credential ${credential.id} is archived`)
    return JSON.parse(this.#context.keys.open(credential.sealed, placeOf(tenant, credential))) as Secrets
  }

  /** True when the access token has expired, or is about to. */
  isOld({ auth }: StoredCredential): boolean {
    if (auth.type !== 'mcp_oauth' || auth.expires_at === null) return false
    return parseWall(auth.expires_at) - this.#context.clock.wall() < EARLY_MS
  }

  /** True if a new access token can be asked for. */
  canRefresh({ auth, refresh_refused }: StoredCredential): boolean {
    return auth.type === 'mcp_oauth' && auth.refresh !== null && refresh_refused !== true
  }

  /** Replaces the access token of `credential`. Callers at the same time share one refresh. */
  refresh(tenant: string, credential: StoredCredential): Promise<Refreshed> {
    const place = JSON.stringify([tenant, credential.id])
    const under = this.#refreshing.get(place)
    if (under !== undefined) return under
    const refreshing = this.#refresh(tenant, credential).finally(() => this.#refreshing.delete(place))
    this.#refreshing.set(place, refreshing)
    return refreshing
  }

  async #refresh(tenant: string, { id, sealed }: StoredCredential): Promise<Refreshed> {
    const { store, clock } = this.#context
    for (;;) {
      const row = await store.get('vault_credential', tenant, id)
      if (row === undefined) return { status: 'failed', http_response: null }
      const credential = JSON.parse(row.body) as StoredCredential
      if (!this.canRefresh(credential)) return { status: 'no_refresh_token', http_response: null }
      // Another host, or its owner, has given it a new token meanwhile.
      if (credential.sealed?.data !== sealed?.data) return { status: 'succeeded', http_response: null }
      const now = clock.wall()
      if ((credential.refreshing_until ?? 0) > now) {
        await new Promise<void>((resolve) => clock.after(LOOK_MS, resolve))
        continue
      }
      const leased = { ...credential, refreshing_until: now + LEASE_MS }
      const held = toCredentialRow(tenant, leased)
      if (await store.replace(row, held)) return this.#ask(tenant, leased, held)
    }
  }

  async #ask(tenant: string, credential: StoredCredential, row: Resource): Promise<Refreshed> {
    const secrets = this.secretsOf(tenant, credential)
    const { refreshing_until: _, ...free } = credential
    const auth = credential.auth as OAuthAuth & { refresh: NonNullable<OAuthAuth['refresh']> }
    let answered: Answered
    try {
      answered = await this.#askEndpoint(tenant, auth.refresh, secrets)
    } catch (error) {
      await this.#keep(tenant, row, free)
      this.#context.trouble(`the token endpoint of credential ${credential.id} was not reached`, error)
      return { status: 'connect_error', http_response: null }
    }
    const grant = answered.status === 200 ? granted.safeParse(jsonOf(answered.body)) : undefined
    if (grant?.success !== true) return this.#failed(tenant, { row, free, secrets, answered })
    const { access_token: token, refresh_token = secrets.refresh_token, expires_in } = grant.data
    const at = this.#context.clock.wall()
    const expires_at = expires_in === undefined ? null : formatWall(at + expires_in * 1000)
    const next: Secrets = { ...secrets, token, refresh_token }
    await this.#keep(tenant, row, {
      ...free,
      auth: { ...auth, expires_at },
      updated_at: formatWall(at),
      sealed: this.#context.keys.seal(JSON.stringify(next), placeOf(tenant, credential)),
    })
    return { status: 'succeeded', http_response: null }
  }

  async #failed(
    tenant: string,
    { row, free, secrets, answered }: { row: Resource; free: StoredCredential; secrets: Secrets; answered: Answered },
  ): Promise<Refreshed> {
    // What the endpoint refuses, it refuses again. What fails on its side may work later.
    const isFinal =
      answered.status >= 400 && answered.status < 500 && answered.status !== 408 && answered.status !== 429
    const isKept = await this.#keep(tenant, row, isFinal ? { ...free, refresh_refused: true } : free)
    if (isFinal && isKept) await this.#context.refused(tenant, free)
    return { status: 'failed', http_response: shownAnswer(answered, secretTexts(secrets)) }
  }

  /** Its owner may have changed it meanwhile, which counts more. */
  async #keep(tenant: string, before: Resource, after: StoredCredential): Promise<boolean> {
    return this.#context.store.replace(before, toCredentialRow(tenant, after))
  }

  #askEndpoint(tenant: string, refresh: NonNullable<OAuthAuth['refresh']>, secrets: Secrets): Promise<Answered> {
    const { client_id, token_endpoint, token_endpoint_auth, resource, scope } = refresh
    const { refresh_token = '', client_secret = '' } = secrets
    const form = new URLSearchParams({ grant_type: 'refresh_token', refresh_token })
    if (scope !== null) form.set('scope', scope)
    if (resource !== null) form.set('resource', resource)
    const headers: Record<string, string> = {
      'content-type': 'application/x-www-form-urlencoded',
      accept: 'application/json',
    }
    if (token_endpoint_auth.type === 'client_secret_basic') {
      const pair = `${encodeURIComponent(client_id)}:${encodeURIComponent(client_secret)}`
      headers['authorization'] = `Basic ${Buffer.from(pair).toString('base64')}`
    } else form.set('client_id', client_id)
    if (token_endpoint_auth.type === 'client_secret_post') form.set('client_secret', client_secret)
    const url = new URL(token_endpoint)
    return askOnce(this.#context.fetchOf(tenant, url), url, { headers, body: form.toString() }, this.#context.clock)
  }
}

/** What an answer must not show. */
export const secretTexts = ({ token, refresh_token, client_secret }: Secrets): string[] =>
  [token, refresh_token, client_secret].filter((text) => text !== undefined)

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
