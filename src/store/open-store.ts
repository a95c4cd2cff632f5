import type { PostgresAddress } from '../options/store.ts'
import type { DataDir } from './data-dir.ts'
import { SqliteStore } from './sqlite.ts'
import type { Store } from './store.ts'

/** Where the only host of a store is: a data directory has one host at a time. */
const ONLY_PLACE = 'data directory'

/** A pool's store. */
export interface OpenStore {
  readonly store: Store
  /** Where this host is, among the hosts of the store. */
  readonly place: string
}

/** Opens the store of a pool: the caller's own, that of a database, or SQLite in the data directory. Rejects with StoreError. */
export async function openStore(
  dataDir: DataDir,
  { own, database }: { own: Store | undefined; database: PostgresAddress | undefined },
): Promise<OpenStore> {
  if (own !== undefined) return { store: own, place: own.hosts === undefined ? ONLY_PLACE : dataDir.place }
  if (database === undefined) return { store: new SqliteStore(dataDir.storeFile), place: ONLY_PLACE }
  // Who has no database need not have its package.
  const { PostgresStore } = await import('./postgres/postgres.ts')
  return { store: await PostgresStore.open(database), place: dataDir.place }
}
