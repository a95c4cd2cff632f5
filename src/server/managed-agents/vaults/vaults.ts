import { formatWall, parseWall } from '../../../clock.ts'
import type { ResourceStore } from '../../../store/api-store.ts'
import { ApiError } from '../../errors.ts'
import { newId } from '../ids.ts'
import { archived, changeKept, listKept, toRow } from '../kept.ts'
import type { ListRequest } from '../kept.ts'
import type { Page } from '../pages.ts'
import { patchMetadata } from '../schema.ts'
import type { VaultKeys } from './vault-keys.ts'
import { placeOf, toCredentialRow, wireCredential } from './vault-resource.ts'
import type { CredentialResource, OAuthAuth, Secrets, StoredCredential, VaultResource } from './vault-resource.ts'
import type { CredentialCreate, CredentialUpdate, VaultCreate, VaultUpdate } from './vault-schema.ts'

/** Of a tenant, and credentials of a vault, archived ones included. */
const MOST_VAULTS = 1_000
const MOST_CREDENTIALS = 100

/** Of a vault, and not archived. */
const MOST_ACTIVE = 20

interface VaultsContext {
  store: ResourceStore
  keys: VaultKeys
  /** Agents reach the network through a proxy, which the host itself cannot use. */
  behindProxy: boolean
  /** Milliseconds since the epoch. */
  now: () => number
  /** Throws ApiError when the host may not connect to this address for the tenant. */
  checkAddress: (tenant: string, url: URL, field: string) => Promise<void>
  /** Throws ApiError when the tenant keeps all that it may. */
  keep: (tenant: string) => void
}

/** Vaults and their credentials. Secrets come in, and never go out. */
export class Vaults {
  readonly #context: VaultsContext

  constructor(context: VaultsContext) {
    this.#context = context
  }

  /** Throws ApiError (permission_error) on a server that has no key to encrypt secrets with. */
  checkKeys(): void {
    const { keys, behindProxy } = this.#context
    if (behindProxy)
      throw new ApiError(
        'permission_error',
        'vaults: are not supported by a server that reaches the network through HTTPS_PROXY or HTTP_PROXY',
      )
    if (!keys.none) return
    throw new ApiError(
      'permission_error',
      'vaults: this server has no key to encrypt secrets with; ask its operator for server.managedAgents.vaults.keys',
    )
  }

  async create(tenant: string, { display_name, metadata = {} }: VaultCreate): Promise<VaultResource> {
    const { store, now, keep } = this.#context
    keep(tenant)
    if ((await store.count('vault', tenant)) >= MOST_VAULTS)
      throw new ApiError('rate_limit_error', `this tenant has its ${MOST_VAULTS} vaults; delete some`, {
        headers: { 'x-should-retry': 'false' },
      })
    const at = formatWall(now())
    const times = { created_at: at, updated_at: at, archived_at: null }
    const vault: VaultResource = { type: 'vault', id: newId('vault'), display_name, metadata, ...times }
    await store.create(toRow('vault', tenant, vault))
    return vault
  }

  /** Throws ApiError (not_found_error), also for another tenant's. */
  async retrieve(tenant: string, id: string): Promise<VaultResource> {
    const row = await this.#context.store.get('vault', tenant, id)
    if (row === undefined) throw vaultNotFound(id)
    return JSON.parse(row.body) as VaultResource
  }

  list(tenant: string, request: ListRequest): Promise<Page<VaultResource>> {
    return listKept<VaultResource>(this.#context.store, { kind: 'vault', tenant, ...request })
  }

  async update(tenant: string, id: string, params: VaultUpdate): Promise<VaultResource> {
    const { store, now } = this.#context
    const after = await changeKept<VaultResource>(store, { kind: 'vault', tenant, id }, (before) => {
      refuseArchived('vault', before)
      return {
        ...before,
        display_name: params.display_name ?? before.display_name,
        metadata: patchMetadata(before.metadata, params.metadata),
        updated_at: formatWall(now()),
      }
    })
    if (after === undefined) throw vaultNotFound(id)
    return after
  }

  /** Its credentials are archived with it: their secrets are gone. */
  async archive(tenant: string, id: string): Promise<VaultResource> {
    const { store, now } = this.#context
    const after = await changeKept<VaultResource>(store, { kind: 'vault', tenant, id }, (before) =>
      before.archived_at === null ? archived(before, now()) : before,
    )
    if (after === undefined) throw vaultNotFound(id)
    for (const credential of await this.#all(tenant, id))
      if (credential.archived_at === null) await this.archiveCredential(tenant, id, credential.id)
    return after
  }

  async delete(tenant: string, id: string): Promise<{ type: 'vault_deleted'; id: string }> {
    await this.retrieve(tenant, id)
    for (const credential of await this.#all(tenant, id))
      await this.#context.store.remove('vault_credential', tenant, credential.id)
    await this.#context.store.remove('vault', tenant, id)
    return { type: 'vault_deleted', id }
  }

  /** Throws ApiError unless a session of this tenant may have these vaults. */
  async checkUsable(tenant: string, ids: readonly string[]): Promise<void> {
    if (ids.length === 0) return
    this.checkKeys()
    for (const id of ids) {
      const row = await this.#context.store.get('vault', tenant, id)
      if (row === undefined) throw new ApiError('not_found_error', `vault_ids: vault ${id} was not found`)
      if (row.archivedAt !== null) throw new ApiError('invalid_request_error', `vault_ids: vault ${id} is archived`)
    }
  }

  async createCredential(tenant: string, vaultId: string, params: CredentialCreate): Promise<CredentialResource> {
    const { store, now, keep, keys } = this.#context
    keep(tenant)
    refuseArchived('vault', await this.retrieve(tenant, vaultId))
    const { auth, secrets } = split(params.auth)
    await this.#checkAuth(tenant, auth)
    if (auth.type === 'mcp_oauth' && auth.expires_at !== null && parseWall(auth.expires_at) <= now())
      throw new ApiError('invalid_request_error', 'auth.expires_at: is not in the future')
    const others = await this.#all(tenant, vaultId)
    const active = others.filter(({ archived_at }) => archived_at === null)
    if (active.length >= MOST_ACTIVE || others.length >= MOST_CREDENTIALS)
      throw new ApiError(
        'invalid_request_error',
        `vault ${vaultId} has its ${MOST_ACTIVE} credentials; use another vault`,
      )
    if (active.some((other) => sameServer(other.auth.mcp_server_url, auth.mcp_server_url)))
      throw new ApiError(
        'invalid_request_error',
        `auth.mcp_server_url: vault ${vaultId} has a credential for ${auth.mcp_server_url}; update or archive that`,
        { status: 409 },
      )
    const at = formatWall(now())
    const id = newId('credential')
    const credential: StoredCredential = {
      type: 'vault_credential',
      id,
      vault_id: vaultId,
      display_name: params.display_name ?? null,
      metadata: params.metadata ?? {},
      auth,
      created_at: at,
      updated_at: at,
      archived_at: null,
      sealed: keys.seal(JSON.stringify(secrets), placeOf(tenant, { vault_id: vaultId, id })),
    }
    await store.create(toCredentialRow(tenant, credential))
    return wireCredential(credential)
  }

  async retrieveCredential(tenant: string, vaultId: string, id: string): Promise<CredentialResource> {
    return wireCredential(await this.stored(tenant, vaultId, id))
  }

  /** Throws ApiError (not_found_error), also for that of another vault or tenant. */
  async stored(tenant: string, vaultId: string, id: string): Promise<StoredCredential> {
    const row = await this.#context.store.get('vault_credential', tenant, id)
    if (row === undefined || row.parent !== vaultId) throw credentialNotFound(id)
    return JSON.parse(row.body) as StoredCredential
  }

  async listCredentials(tenant: string, vaultId: string, request: ListRequest): Promise<Page<CredentialResource>> {
    await this.retrieve(tenant, vaultId)
    const query = { kind: 'vault_credential', tenant, parent: vaultId, ...request } as const
    const page = await listKept<StoredCredential>(this.#context.store, query)
    return { ...page, items: page.items.map(wireCredential) }
  }

  async updateCredential(
    tenant: string,
    vaultId: string,
    id: string,
    { auth, display_name, metadata }: CredentialUpdate,
  ): Promise<CredentialResource> {
    const { keys, now } = this.#context
    return this.#change(tenant, vaultId, id, (before) => {
      refuseArchived('credential', before)
      const after: StoredCredential = {
        ...before,
        display_name: display_name === undefined ? before.display_name : display_name,
        metadata: patchMetadata(before.metadata, metadata),
        updated_at: formatWall(now()),
      }
      if (auth === undefined) return after
      const place = placeOf(tenant, before)
      const secrets = JSON.parse(keys.open(before.sealed as NonNullable<typeof before.sealed>, place)) as Secrets
      const changed = patch(before.auth, secrets, auth)
      const { refresh_refused: _, ...rest } = after
      return { ...rest, auth: changed.auth, sealed: keys.seal(JSON.stringify(changed.secrets), place) }
    })
  }

  /** Its secret is gone; what it was stays to be read. */
  archiveCredential(tenant: string, vaultId: string, id: string): Promise<CredentialResource> {
    const { now } = this.#context
    return this.#change(tenant, vaultId, id, (before) =>
      before.archived_at === null ? { ...archived(before, now()), sealed: null } : before,
    )
  }

  async deleteCredential(
    tenant: string,
    vaultId: string,
    id: string,
  ): Promise<{ type: 'vault_credential_deleted'; id: string }> {
    await this.stored(tenant, vaultId, id)
    await this.#context.store.remove('vault_credential', tenant, id)
    return { type: 'vault_credential_deleted', id }
  }

  /** The credential for an MCP server in the first of these vaults that has one. */
  async find(tenant: string, vaultIds: readonly string[], url: string): Promise<StoredCredential | undefined> {
    for (const id of vaultIds) {
      const found = (await this.#all(tenant, id)).find(
        ({ archived_at, auth }) => archived_at === null && sameServer(auth.mcp_server_url, url),
      )
      if (found !== undefined) return found
    }
    return undefined
  }

  async #all(tenant: string, vaultId: string): Promise<StoredCredential[]> {
    const query = { kind: 'vault_credential', tenant, parent: vaultId, order: 'asc', includeArchived: true } as const
    const { rows } = await this.#context.store.list({ ...query, limit: MOST_CREDENTIALS, maxSize: 2 ** 28 })
    return rows.map(({ body }) => JSON.parse(body) as StoredCredential)
  }

  async #change(
    tenant: string,
    vaultId: string,
    id: string,
    change: (before: StoredCredential) => StoredCredential,
  ): Promise<CredentialResource> {
    await this.stored(tenant, vaultId, id)
    const name = { kind: 'vault_credential', tenant, id } as const
    const after = await changeKept<StoredCredential>(this.#context.store, name, change)
    if (after === undefined) throw credentialNotFound(id)
    return wireCredential(after)
  }

  async #checkAuth(tenant: string, auth: CredentialResource['auth']): Promise<void> {
    const { checkAddress } = this.#context
    await checkAddress(tenant, new URL(auth.mcp_server_url), 'auth.mcp_server_url')
    if (auth.type === 'mcp_oauth' && auth.refresh !== null)
      await checkAddress(tenant, new URL(auth.refresh.token_endpoint), 'auth.refresh.token_endpoint')
  }
}

const vaultNotFound = (id: string): ApiError => new ApiError('not_found_error', `vault ${id} was not found`)
const credentialNotFound = (id: string): ApiError => new ApiError('not_found_error', `credential ${id} was not found`)

function refuseArchived(what: string, { id, archived_at }: { id: string; archived_at: string | null }): void {
  if (archived_at !== null) throw new ApiError('invalid_request_error', `${what} ${id} is archived`)
}

/** `HTTPS://Shop.example/mcp/` is `https://shop.example/mcp`. */
const sameServer = (one: string, other: string): boolean => canonical(one) === canonical(other)
const canonical = (url: string): string => new URL(url).href.replace(/\/$/, '')

function split(given: CredentialCreate['auth']): { auth: CredentialResource['auth']; secrets: Secrets } {
  if (given.type === 'static_bearer')
    return { auth: { type: given.type, mcp_server_url: given.mcp_server_url }, secrets: { token: given.token } }
  const { type, access_token: token, mcp_server_url, expires_at = null, refresh } = given
  if (refresh === undefined || refresh === null)
    return { auth: { type, mcp_server_url, expires_at, refresh: null }, secrets: { token } }
  const { refresh_token, token_endpoint_auth: how, resource = null, scope = null, client_id, token_endpoint } = refresh
  const shown = { client_id, token_endpoint, token_endpoint_auth: { type: how.type }, resource, scope }
  const client_secret = how.client_secret ?? undefined
  return {
    auth: { type, mcp_server_url, expires_at, refresh: shown },
    secrets: { token, refresh_token, client_secret },
  }
}

/** Throws ApiError for another type than the credential has, and for a refresh of one that has none. */
function patch(
  before: CredentialResource['auth'],
  secrets: Secrets,
  given: NonNullable<CredentialUpdate['auth']>,
): { auth: CredentialResource['auth']; secrets: Secrets } {
  if (given.type !== before.type)
    throw new ApiError(
      'invalid_request_error',
      `auth.type: is ${before.type} and cannot change; create another credential`,
    )
  if (given.type === 'static_bearer' || before.type === 'static_bearer')
    return {
      auth: before,
      secrets: { ...secrets, token: ('token' in given ? given.token : undefined) ?? secrets.token },
    }
  const { access_token, expires_at, refresh } = given
  const auth: OAuthAuth = { ...before, expires_at: expires_at === undefined ? before.expires_at : expires_at }
  const token = access_token ?? secrets.token
  if (refresh === undefined || refresh === null) return { auth, secrets: { ...secrets, token } }
  if (before.refresh === null)
    throw new ApiError('invalid_request_error', 'auth.refresh: this credential has none; create another one')
  const { refresh_token, scope, token_endpoint_auth: how } = refresh
  auth.refresh = {
    ...before.refresh,
    scope: scope === undefined || scope === null ? before.refresh.scope : scope === '' ? null : scope,
    ...(how === undefined ? {} : { token_endpoint_auth: { type: how.type } }),
  }
  const client_secret = how?.client_secret ?? secrets.client_secret
  if (auth.refresh.token_endpoint_auth.type !== 'none' && client_secret === undefined)
    throw new ApiError('invalid_request_error', 'auth.refresh.token_endpoint_auth.client_secret: is needed')
  return { auth, secrets: { token, refresh_token: refresh_token ?? secrets.refresh_token, client_secret } }
}
