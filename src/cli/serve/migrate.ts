import { systemClock } from '../../clock.ts'
import { DataDir } from '../../store/data-dir.ts'
import { PostgresStore } from '../../store/postgres/postgres.ts'
import { SqliteStore } from '../../store/sqlite.ts'
import type { ServeFlags, ServePlan } from '../shared/serve-plan.ts'

/** Brings the schema of the store up to date, and says what it did. Rejects with StoreError, and HostRunningError for a data directory in use. */
export async function migrateOnly({ database, dataDir }: ServePlan, { json }: ServeFlags): Promise<void> {
  if (database === undefined) return migrateFile(dataDir, json === true)
  const { from, to } = await PostgresStore.migrate(database)
  const { shown: store, schema } = database
  if (json === true) return console.log(JSON.stringify({ store, schema, from, to }))
  const done = from === to ? 'was up to date' : from === 0 ? 'was made' : `was brought up to date from version ${from}`
  console.log(`${store}: the schema "${schema}" ${done}. It has version ${to}.`)
}

/** A host makes its file when it starts. */
async function migrateFile(path: string, json: boolean): Promise<void> {
  const dataDir = new DataDir(path, systemClock)
  try {
    await new SqliteStore(dataDir.storeFile).close()
  } finally {
    dataDir.release()
  }
  console.log(json ? JSON.stringify({ store: dataDir.storeFile }) : `${dataDir.storeFile} is up to date`)
}
