import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { storeError } from '../errors.ts'
import { backup } from '../sqlite.ts'
import { openToRead } from './sqlite-database.ts'
import { schemaAge } from './sqlite-schema.ts'
import { SqliteStore } from './sqlite.ts'
import type { Store } from './store.ts'

/** A store that is read, and what ends it. */
export interface ReadStore extends AsyncDisposable {
  readonly store: Store
}

/** True for a store whose schema a release before this one wrote. Throws StoreError for that of a newer one. */
export function isOutdated(path: string): boolean {
  try {
    using database = openToRead(path)
    return schemaAge(database, path) > 0
  } catch (error) {
    throw storeError(`${path} cannot be read`, error)
  }
}

/** Opens the store of a data directory to read it, also beside a host. The file is not changed. Throws StoreError. */
export async function readStore(path: string): Promise<ReadStore> {
  if (isOutdated(path)) return copyOfStore(path)
  const store = new SqliteStore(path, { readOnly: true })
  return { store, [Symbol.asyncDispose]: () => store.close() }
}

/** A copy of a store with the schema of this release, for work that must leave the original as it is. Throws StoreError. */
export async function copyOfStore(path: string): Promise<ReadStore> {
  const folder = await mkdtemp(join(tmpdir(), 'claude-agent-pool-read-'))
  const remove = (): Promise<void> => rm(folder, { recursive: true, force: true, maxRetries: 3 })
  try {
    const copy = join(folder, 'pool.sqlite')
    using database = openToRead(path)
    await backup(database, copy)
    const store = new SqliteStore(copy)
    return {
      store,
      async [Symbol.asyncDispose]() {
        await store.close()
        await remove()
      },
    }
  } catch (error) {
    await remove()
    throw storeError(`${path} cannot be copied to ${folder}, where its old schema is brought up to date`, error)
  }
}
