import { inspect } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { StoreError } from '../../../../src/errors.ts'
import { readPostgres } from '../../../../src/options/store.ts'
import { PostgresStore } from '../../../../src/store/postgres/postgres.ts'
import { sessionStoreConformance } from '../../../conformance/session-store.ts'
import { storeConformance } from '../../../conformance/store.ts'
import { startPostgres } from '../../../fixtures/postgres-server.ts'
import type { PostgresServer } from '../../../fixtures/postgres-server.ts'

const TABLES = ['sessions', 'hosts', 'transcripts', 'accounts', 'spendings']

const SCHEMA = `unit_${process.pid}`

let server: PostgresServer

const openStore = (schema = SCHEMA): Promise<PostgresStore> =>
  PostgresStore.open(readPostgres({ postgres: server.url(schema) }))

/** A store without anything in it. */
async function emptyStore(): Promise<PostgresStore> {
  const store = await openStore()
  for (const table of TABLES) await server.query(`DELETE FROM "${SCHEMA}".${table}`)
  return store
}

beforeAll(async () => {
  server = await startPostgres()
}, 120_000)

afterAll(() => server?.[Symbol.asyncDispose]())

storeConformance(emptyStore)

describe('the SDK’s session store', () => {
  sessionStoreConformance(emptyStore)
})

describe('a schema', () => {
  test('is made once by hosts that start at the same time', async () => {
    const schema = `${SCHEMA}_made`
    const stores = await Promise.all([1, 2, 3].map(() => openStore(schema)))
    const hosts = await Promise.all(stores.map((store, index) => store.register(`place ${index}`)))
    expect(new Set(hosts).size).toBe(3)
    await Promise.all(stores.map((store) => store.close()))
  })

  test('of a newer release is refused and left as it is', async () => {
    const schema = `${SCHEMA}_newer`
    await (await openStore(schema)).close()
    await server.query(`UPDATE "${schema}".jobs SET version = 999`)
    await expect(openStore(schema)).rejects.toThrow(
      /has version 999 of the schema "unit_\d+_newer", newer than the \d+ of this release; upgrade claude-agent-pool/,
    )
    expect(await server.query(`SELECT version::int FROM "${schema}".jobs`)).toEqual([{ version: 999 }])
  })

  test('holds its tables alone: a database may have others', async () => {
    await (await emptyStore()).close()
    expect(await server.query(`SELECT 1 FROM pg_tables WHERE schemaname = 'public'`)).toEqual([])
  })
})

describe('a database that cannot be reached', () => {
  test('is a StoreError that names it, and not its password', async () => {
    const address = readPostgres({ postgres: 'postgres://user:hunter2@127.0.0.1:1/db?sslmode=disable' })
    const opening = PostgresStore.open(address)
    await expect(opening).rejects.toBeInstanceOf(StoreError)
    const error = await opening.catch((reason: unknown) => reason)
    expect(inspect(error, { depth: 9 })).toContain('postgres://user@127.0.0.1:1/db')
    expect(inspect(error, { depth: 9 })).not.toContain('hunter2')
  })

  test('is a StoreError at once if it does not exist', async () => {
    const url = new URL(server.url(SCHEMA))
    url.pathname = '/nowhere'
    await expect(PostgresStore.open(readPostgres({ postgres: url.href }))).rejects.toThrow('"nowhere" does not exist')
  })

  test('and that refuses TLS is a StoreError', async () => {
    const url = new URL(server.url(SCHEMA))
    url.searchParams.set('sslmode', 'require')
    await expect(PostgresStore.open(readPostgres({ postgres: url.href }))).rejects.toThrow(/does not support SSL/)
  })
})
