import '../../this-node.ts'
import { readPostgres } from '../../options/store.ts'
import type { PostgresOptions } from '../../options/store.ts'
import type { Store } from '../store.ts'
import { PostgresStore } from './postgres.ts'

export type { PostgresOptions } from '../../options/store.ts'

/**
 * Opens the store of a PostgreSQL database, and brings its schema up to date. `createPool({ store: { postgres } })` does the
 * same and closes the store with the pool. Rejects with ConfigError (an invalid address) and StoreError: `pg` is not installed, or
 * the database cannot be used.
 */
export async function openPostgresStore(options: PostgresOptions): Promise<Store> {
  return PostgresStore.open(readPostgres(options))
}
