import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { readPostgres } from '../../../src/options/store.ts'
import { SqliteApiStore } from '../../../src/server/api-store/sqlite.ts'
import { copyRows } from '../../../src/store/copy/copy.ts'
import type { CopySource, CopyStep, CopyTarget } from '../../../src/store/copy/copy.ts'
import { postgresSource, postgresTarget } from '../../../src/store/copy/postgres-side.ts'
import { sqliteSource, sqliteTarget } from '../../../src/store/copy/sqlite-side.ts'
import { DataDir } from '../../../src/store/data-dir.ts'
import { PostgresStore } from '../../../src/store/postgres/postgres.ts'
import { SqliteStore } from '../../../src/store/sqlite.ts'
import type { SessionClaim, Store } from '../../../src/store/store.ts'
import { event } from '../../conformance/events.ts'
import { record } from '../../conformance/sessions.ts'
import { unpackOldData } from '../../fixtures/old-data/unpack.ts'
import { startPostgres } from '../../fixtures/postgres-server.ts'
import type { PostgresServer } from '../../fixtures/postgres-server.ts'
import { temporaryFolder } from '../../fixtures/temporary-folder.ts'

let server: PostgresServer
let schemas = 0

beforeAll(async () => {
  server = await startPostgres()
}, 120_000)

afterAll(() => server?.[Symbol.asyncDispose]())

const newAddress = () => {
  schemas += 1
  return readPostgres({ postgres: server.url(`copy_${process.pid}_${schemas}`) })
}

type Address = ReturnType<typeof newAddress>

function taken(path: string): DataDir {
  const dataDir = new DataDir(path)
  onTestFinished(() => dataDir.release())
  return dataDir
}

function owned<T extends AsyncDisposable>(side: T): T {
  onTestFinished(() => side[Symbol.asyncDispose]())
  return side
}

const intoFiles = (dataDir: DataDir, restart = false): CopyTarget =>
  owned(sqliteTarget(dataDir, { restart, makeApi: (path) => new SqliteApiStore(path).close() }))

const intoDatabase = async (address: Address, restart = false): Promise<CopyTarget> =>
  owned(await postgresTarget(address, { restart }))

async function copy(source: CopySource, target: CopyTarget): Promise<CopyStep[]> {
  const steps: CopyStep[] = []
  await copyRows(source, target, (step) => steps.push(step))
  await target.finish()
  return steps
}

/** A store with one of everything that is special. */
async function fill(store: Store): Promise<void> {
  const host = await store.register('before')
  const claim = (await store.create(record('t', 'k', { sdkSessionId: 'a\0"b' }), host)) as SessionClaim
  const large = `{"text":"${'ü'.repeat(70_000)}"}`
  const events = [event(1), event(2, { json: large }), event(3, { type: 'odd\0', id: 'x\\y' })]
  await store.appendEvents(claim, events, 'open')
  await store.trimEvents(claim, 2)
  const transcript = { tenant: 't', project: 'p\0', sdkSessionId: 's', subpath: 'sub' }
  const lines = ['one', undefined, undefined].map((uuid, place) => ({ uuid, json: `{"line":${place}}` }))
  await store.appendTranscript(transcript, lines, 5)
  await store.spend({ scope: 'tenant', tenant: 't', name: 't' }, { period: '2026-11', tokens: 7, costUsd: 0.1 + 0.2 })
  await store.setBudget({ scope: 'tenant', tenant: 't', name: 't' }, { costUsd: 2 })
}

/** What a store says of all that. */
async function told(store: Store): Promise<unknown> {
  const [session] = await store.list({ limit: 10 })
  return {
    session,
    events: await store.readEvents(session?.uid ?? '', { limit: 10 }),
    transcript: await store.loadTranscript({ tenant: 't', project: 'p\0', sdkSessionId: 's', subpath: 'sub' }),
    account: await store.readAccount({ scope: 'tenant', tenant: 't', name: 't' }),
  }
}

/** A data directory with that in it. */
async function filled(): Promise<{ dir: string; all: unknown }> {
  const dir = await temporaryFolder()
  const store = new SqliteStore(join(dir, 'pool.sqlite'))
  await fill(store)
  const all = await told(store)
  await store.close()
  const api = new SqliteApiStore(join(dir, 'api.sqlite'))
  const resource = { kind: 'agent', tenant: 't', version: 1, createdAt: 1, archivedAt: null, parent: null } as const
  await api.resources.create({ ...resource, id: 'a"\\', body: '{}' })
  await api.resources.replace(
    { ...resource, id: 'a"\\', body: '{}' },
    { ...resource, id: 'a"\\', version: 2, body: '2' },
  )
  const name = { tenant: 't', method: 'POST', path: '/v1/"', key: 'k' }
  const at = Date.now()
  await api.answers.begin({ ...name, bodyHash: 'h', at }, { since: 0, max: 10 })
  await api.answers.finish(name, { status: 200, contentType: 'text/plain', body: 'done' }, 'k')
  api.close()
  return { dir, all }
}

const sideOf = async (dir: string): Promise<CopySource> => owned(await sqliteSource(taken(dir)))

test('A copy in PostgreSQL says the same as its original, and so does the copy of that in a data directory', async () => {
  const { dir, all } = await filled()
  const address = newAddress()
  const steps = await copy(await sideOf(dir), await intoDatabase(address))
  expect(steps.filter(({ step, rows }) => step === 'verified' && rows > 0)).toMatchObject([
    { table: 'sessions', rows: 1 },
    { table: 'events', rows: 2 },
    { table: 'transcripts', rows: 1 },
    { table: 'transcript_entries', rows: 3 },
    { table: 'accounts', rows: 1 },
    { table: 'resources', rows: 1 },
    { table: 'versions', rows: 2 },
    { table: 'idempotency keys', rows: 1 },
  ])
  const store = await PostgresStore.open(address)
  expect(await told(store)).toEqual(all)
  expect(await store.api.resources.version('agent', 't', 'a"\\', 2)).toBe('2')
  const name = { tenant: 't', method: 'POST', path: '/v1/"', key: 'k', bodyHash: 'h', at: Date.now() }
  const again = await store.api.answers.begin(name, { since: Date.now() - 3_600_000, max: 10 })
  expect(again?.answer?.body).toBe('done')
  const host = await store.register('next')
  const [adopted] = await store.adopt(host, 10)
  expect(adopted).toMatchObject({ lastEvent: 3, claim: { fence: 2 } })
  if (adopted !== undefined) await store.appendEvents(adopted.claim, [event(4)], 'closed')
  const later = await told(store)
  await store.close()

  const back = await temporaryFolder()
  await copy(owned(await postgresSource(address)), intoFiles(taken(back)))
  const returned = new SqliteStore(join(back, 'pool.sqlite'))
  expect(await told(returned)).toEqual(later)
  await returned.close()
  const api = new SqliteApiStore(join(back, 'api.sqlite'))
  expect((await api.answers.begin(name, { since: 0, max: 10 }))?.answer?.body).toBe('done')
  api.close()
})

test.each(['local', 'killed'] as const)(
  'The data directory "%s" of an earlier release is copied whole, and stays as it is',
  async (part) => {
    const { root, ...old } = unpackOldData()
    onTestFinished(() => rm(root, { recursive: true, force: true, maxRetries: 3 }))
    const dir = join(root, part)
    const versionOf = (): unknown => {
      using database = new DatabaseSync(join(dir, 'pool.sqlite'), { readOnly: true })
      return database.prepare('PRAGMA user_version').get()
    }
    const before = versionOf()
    const address = newAddress()
    await copy(await sideOf(dir), await intoDatabase(address))
    expect(versionOf()).toEqual(before)
    const store = await PostgresStore.open(address)
    const sessions = await store.list({ limit: 1_000 })
    expect(sessions.map(({ tenant, key, turns }) => [tenant, key, turns])).toEqual(
      old[part].map(({ tenant, key, turns }) => [tenant, key, turns]),
    )
    for (const [place, { uid }] of sessions.entries()) {
      const { first, last } = await store.eventTotals(uid)
      const { events, firstNumber } = old[part][place] as (typeof old)[typeof part][number]
      expect([uid, last === 0 ? 0 : last - first + 1, first]).toEqual([uid, events, firstNumber ?? 0])
    }
    if (part === 'local')
      expect(await store.api.resources.get('agent', 'default', old.resources.default.agent)).toBeDefined()
    await store.close()
  },
)

/** A source whose reading fails after so many pages. */
function failing(source: CopySource, pages: number): CopySource {
  let left = pages
  return {
    shown: source.shown,
    checkUnused: () => source.checkUnused(),
    read: async (table, after) => {
      left -= 1
      if (left < 0) throw new Error('cut off')
      return source.read(table, after)
    },
    [Symbol.asyncDispose]: async () => undefined,
  }
}

test('A copy that is cut off goes on where it was, from wherever that is, and adds nothing twice', async () => {
  const { dir, all } = await filled()
  const source = await sideOf(dir)
  const address = newAddress()
  const back = taken(await temporaryFolder())
  for (const into of [() => intoDatabase(address), async () => intoFiles(back)]) {
    for (const pages of [1, 2, 3, 4, 3]) {
      const target = await into()
      await expect(copyRows(failing(source, pages), target, () => undefined)).rejects.toThrow('cut off')
      await target[Symbol.asyncDispose]()
    }
    await copy(source, await into())
  }
  const [store, files] = [await PostgresStore.open(address), new SqliteStore(back.storeFile)]
  expect([await told(store), await told(files)]).toEqual([all, all])
  for (const one of [store, files]) await one.close()
})

test('No host starts on an unfinished copy, and no other copy continues it; --restart begins anew', async () => {
  const { dir } = await filled()
  const source = await sideOf(dir)
  const address = newAddress()
  const back = taken(await temporaryFolder())
  for (const target of [await intoDatabase(address), intoFiles(back)])
    await expect(copyRows(failing(source, 3), target, () => undefined)).rejects.toThrow('cut off')
  await expect(PostgresStore.open(address)).rejects.toThrow(/has an unfinished copy in the schema/)
  expect(existsSync(back.storeFile)).toBe(false)
  const other = await sideOf((await filled()).dir)
  for (const target of [await intoDatabase(address), intoFiles(back)])
    await expect(copy(other, target)).rejects.toThrow(`has an unfinished copy of ${dir}`)
  for (const target of [await intoDatabase(address, true), intoFiles(back, true)]) await copy(other, target)
})

test('Nothing is copied onto what is there, nor beside a host', async () => {
  const { dir } = await filled()
  const source = await sideOf(dir)
  const other = taken((await filled()).dir)
  await expect(copy(source, intoFiles(other))).rejects.toThrow('is not empty')
  const address = newAddress()
  const store = await PostgresStore.open(address)
  const host = await store.hosts.join('there', { version: '1', ttlMs: 1_000 })
  await expect(copy(source, await intoDatabase(address))).rejects.toThrow('the host there runs on')
  await expect(postgresSource(address)).rejects.toThrow('the host there runs on')
  await store.create(record('t', 'k'), host)
  await store.close()
  await expect(copy(source, await intoDatabase(address))).rejects.toThrow('is not empty: it has sessions')
  expect(() => new DataDir(dir)).toThrow(/already runs a pool/)
})

test('A copy that differs from its original is refused', async () => {
  const { dir } = await filled()
  const source = await sideOf(dir)
  const target = await intoDatabase(newAddress())
  const changed: CopySource = {
    ...failing(source, Infinity),
    read: async (table, after) => {
      const page = await source.read(table, after)
      // As if it had changed between the copy and the comparison.
      if (table.name === 'accounts')
        page.rows = page.rows.map((row) => [...row.slice(0, -1), `{"tokens":${(reads += 1)}}`])
      return page
    },
  }
  let reads = 0
  await expect(copy(changed, target)).rejects.toThrow(/accounts has 1 rows in .* and 1 in .*, with other contents/)
})
