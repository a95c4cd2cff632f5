import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { SqliteApiStore } from '../../server/api-store/sqlite.ts'
import type { ArchivedResources } from '../../server/managed-agents/sessions/session-archive.ts'
import { API_FILE } from '../../store/data-dir.ts'
import type { Operation } from '../../control/operations.ts'
import type { Pool } from '../../index.ts'
import type { ResourceStore } from '../../store/api-store.ts'
import { openToRead } from '../../store/sqlite-database.ts'

/** How many resources of `/v1` the file beside the store has of a tenant. Nothing changes. */
export function resourcesIn(dataDir: string, tenant: string): number {
  const path = join(dataDir, API_FILE)
  if (!existsSync(path)) return 0
  using database = openToRead(path)
  const known = database.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'resources'").get()
  if (known === undefined) return 0
  return Number(database.prepare('SELECT count(*) AS count FROM resources WHERE tenant = ?').get(tenant)?.['count'])
}

/** Removes what the file beside the store has of a tenant: no server may run that would do it. */
export async function eraseFromApi(dataDir: string, tenant: string): Promise<void> {
  const path = join(dataDir, API_FILE)
  if (!existsSync(path)) return
  const store = new SqliteApiStore(path)
  try {
    await store.eraseTenant(tenant)
  } finally {
    store.close()
  }
}

/** What an operation that moves sessions needs of what `/v1` keeps of them; undefined: it moves none. A file is made when it is needed. */
export function apiOf(
  { apiStore }: Pick<Pool, 'apiStore'>,
  dataDir: string,
  { do: what }: Operation,
): (Disposable & { resources: ArchivedResources }) | undefined {
  if (what !== 'export' && what !== 'import') return undefined
  if (apiStore !== undefined) return { resources: apiStore.resources, [Symbol.dispose]: () => undefined }
  const path = join(dataDir, API_FILE)
  let own: SqliteApiStore | undefined
  const opened = (): ResourceStore => (own ??= new SqliteApiStore(path)).resources
  return {
    resources: {
      get: async (...row) => (existsSync(path) ? await opened().get(...row) : undefined),
      remove: (...row) => opened().remove(...row),
      create: (row) => opened().create(row),
    },
    [Symbol.dispose]: () => own?.close(),
  }
}
