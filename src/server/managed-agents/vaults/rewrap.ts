import type { ResourceStore } from '../../../store/api-store.ts'
import type { VaultKeys } from './vault-keys.ts'
import { placeOf, toCredentialRow } from './vault-resource.ts'
import type { StoredCredential } from './vault-resource.ts'

const PAGE = 100
const TENANTS = 1_000

/** Encrypts the keys of all secrets with the newest key of the config: how many it was, and how many it could not. */
export async function rewrapAll(store: ResourceStore, keys: VaultKeys): Promise<{ rewrapped: number; left: number }> {
  const found = { rewrapped: 0, left: 0 }
  let afterTenant: string | undefined
  for (;;) {
    const tenants = await store.tenantsWith('vault_credential', { after: afterTenant, limit: TENANTS })
    for (const tenant of tenants) await rewrapTenant(store, keys, tenant, found)
    afterTenant = tenants.at(-1)
    if (tenants.length < TENANTS) return found
  }
}

async function rewrapTenant(
  store: ResourceStore,
  keys: VaultKeys,
  tenant: string,
  found: { rewrapped: number; left: number },
): Promise<void> {
  let after: { createdAt: number; id: string } | undefined
  for (;;) {
    const query = { kind: 'vault_credential', tenant, order: 'asc', after, limit: PAGE, maxSize: 2 ** 22 } as const
    const { rows, more } = await store.list(query)
    for (const row of rows) {
      const credential = JSON.parse(row.body) as StoredCredential
      if (credential.sealed === null || credential.sealed.key === keys.newest) continue
      try {
        const sealed = keys.rewrap(credential.sealed, placeOf(tenant, credential))
        if (await store.replace(row, toCredentialRow(tenant, { ...credential, sealed }))) found.rewrapped += 1
        else found.left += 1
      } catch {
        found.left += 1
      }
    }
    after = rows.at(-1)
    if (!more || after === undefined) return
  }
}
