import { inspect } from 'node:util'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { StoreError } from '../../../../src/errors.ts'
import { readPostgres } from '../../../../src/options/store.ts'
import { PostgresStore } from '../../../../src/store/postgres/postgres.ts'
import type { HostInfo, SessionClaim } from '../../../../src/store/store.ts'
import { event } from '../../../conformance/events.ts'
import { record } from '../../../conformance/sessions.ts'
import { sessionStoreConformance } from '../../../conformance/session-store.ts'
import { storeConformance } from '../../../conformance/store.ts'
import { startPostgres } from '../../../fixtures/postgres-server.ts'
import type { PostgresServer } from '../../../fixtures/postgres-server.ts'

const TABLES = ['sessions', 'hosts', 'transcripts', 'accounts', 'spendings']

/** Jobs of hosts. */
const JOBS = `jobs WHERE name <> 'schema'`

const SCHEMA = `unit_${process.pid}`

let server: PostgresServer

const openStore = (schema = SCHEMA): Promise<PostgresStore> =>
  PostgresStore.open(readPostgres({ postgres: server.url(schema) }))

/** A store without anything in it. */
async function emptyStore(): Promise<PostgresStore> {
  const store = await openStore()
  for (const table of [...TABLES, JOBS]) await server.query(`DELETE FROM "${SCHEMA}".${table}`)
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

  test('of the next release serves this one too, unless it says otherwise; then it is refused and left as it is', async () => {
    const schema = `${SCHEMA}_newer`
    await (await openStore(schema)).close()
    await server.query(`UPDATE "${schema}".jobs SET version = 999`)
    const beside = await openStore(schema)
    await beside.register('here')
    await beside.close()
    await server.query(`UPDATE "${schema}".jobs SET needs = 999`)
    await expect(openStore(schema)).rejects.toThrow(
      /has the schema "unit_\d+_newer", which needs a release with version 999, newer than the \d+ of this one; upgrade claude-agent-pool/,
    )
    expect(await server.query(`SELECT version::int, needs::int FROM "${schema}".jobs`)).toEqual([
      { version: 999, needs: 999 },
    ])
  })

  test('is neither made nor changed by a program that only looks at the hosts', async () => {
    const schema = `${SCHEMA}_looked_at`
    const address = readPostgres({ postgres: server.url(schema) })
    const look = (): Promise<PostgresStore> => PostgresStore.open(address, { migrates: false })
    await expect(look()).rejects.toThrow('no host was ever started with this database')
    expect(await server.query(`SELECT 1 FROM pg_namespace WHERE nspname = '${schema}'`)).toEqual([])
    const { from, to } = await PostgresStore.migrate(address)
    expect([from, await PostgresStore.migrate(address)]).toEqual([0, { from: to, to }])
    await (await look()).close()
    await server.query(`UPDATE "${schema}".jobs SET version = 1 WHERE name = 'schema'`)
    await expect(look()).rejects.toThrow(/with version 1, older than the \d+ of this release/)
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

describe('hosts', () => {
  const REPORT = { state: 'ready', running: 1, waiting: 2, free: 3 } as const
  const FACTS = { version: '1', ttlMs: 60_000 }
  const ids = (hosts: readonly HostInfo[]): string[] => hosts.map(({ id }) => id)
  let store: PostgresStore
  let here: string
  let there: string

  /** As if this time had passed since a host was heard of. */
  const silence = (id: string, ms: number): Promise<unknown[]> =>
    server.query(
      `UPDATE "${SCHEMA}".hosts SET beat_at = beat_at - $2 * interval '1 ms' WHERE id = $1 RETURNING steady_since`,
      [id, ms],
    )

  const steadyFor = (id: string, ms: number): Promise<unknown[]> =>
    server.query(
      `UPDATE "${SCHEMA}".hosts SET steady_since = steady_since - $2 * interval '1 ms' WHERE id = $1 RETURNING 1`,
      [id, ms],
    )

  beforeEach(async () => {
    store = await emptyStore()
    here = await store.hosts.join('here', FACTS)
    there = await store.hosts.join('there', FACTS)
  })

  afterEach(() => store.close())

  test('that beat know each other, and what each told last', async () => {
    await store.hosts.beat(there, { ...REPORT, state: 'draining' })
    const { isMember, hosts } = await store.hosts.beat(here, REPORT)
    expect([isMember, ids(hosts)]).toEqual([true, [here, there]])
    expect(await store.hosts.list()).toEqual([
      { id: here, place: 'here', version: '1', ...REPORT, silentMs: expect.any(Number) },
      { id: there, place: 'there', version: '1', ...REPORT, state: 'draining', silentMs: expect.any(Number) },
    ])
  })

  test('learn with each beat of a session in a turn that no host owns', async () => {
    const isLeft = async (): Promise<boolean | undefined> => (await store.hosts.beat(here, REPORT)).isLeft
    const claim = (await store.create(record('t', 'k', { uid: 'one' }), there)) as SessionClaim
    await store.appendEvents(claim, [event(1)], 'open')
    expect(await isLeft()).toBe(false)
    await store.release(claim)
    expect(await isLeft()).toBe(true)
    const [adopted] = await store.adopt(here, 1)
    expect(await isLeft()).toBe(false)
    await store.appendEvents(adopted?.claim as SessionClaim, [event(2)], 'closed')
    await store.release(adopted?.claim as SessionClaim)
    expect(await isLeft()).toBe(false)
  })

  test('are gone for good when they were silent for their time to live', async () => {
    await steadyFor(here, 120_000)
    await silence(there, 59_000)
    expect(ids((await store.hosts.beat(here, REPORT)).hosts)).toEqual([here, there])
    await silence(there, 2_000)
    expect(ids((await store.hosts.beat(here, REPORT)).hosts)).toEqual([here])
    expect(await store.hosts.beat(there, REPORT)).toMatchObject({ isMember: false })
    await expect(store.claim('nobody', there)).rejects.toBeInstanceOf(StoreError)
  })

  test('do a job one at a time: it is kept by the host that has it, and goes to another when that is gone or its time is over', async () => {
    expect(await store.hosts.takeJob('j', here, 60_000)).toBe(true)
    expect(await store.hosts.takeJob('j', there, 60_000)).toBe(false)
    expect(await store.hosts.takeJob('j', here, 60_000)).toBe(true)
    expect(await store.hosts.takeJob('other', there, 60_000)).toBe(true)
    await server.query(`UPDATE "${SCHEMA}".hosts SET state = 'gone' WHERE id = $1`, [here])
    expect(await store.hosts.takeJob('j', there, 0)).toBe(true)
    expect(await store.hosts.takeJob('j', here, 60_000)).toBe(false)
    const again = await store.hosts.join('again', FACTS)
    expect(await store.hosts.takeJob('j', again, 60_000)).toBe(true)
    expect(await server.query(`SELECT fence::int FROM "${SCHEMA}".jobs WHERE name = 'j'`)).toEqual([{ fence: 3 }])
  })

  test('that are gone for a day are forgotten, and their sessions are free', async () => {
    const claim = (await store.create(record('t', 'k'), there)) as SessionClaim
    const young = await store.hosts.join('young', FACTS)
    await server.query(`UPDATE "${SCHEMA}".hosts SET state = 'gone' WHERE id <> $1`, [here])
    await silence(there, 25 * 60 * 60_000)
    await store.hosts.forgetGone()
    const left = await server.query(`SELECT id::text FROM "${SCHEMA}".hosts ORDER BY id`)
    expect(left).toEqual([{ id: here }, { id: young }])
    expect((await store.claim(claim.uid, here)).claim.fence).toBe(2)
  })

  test('stay members through an outage, which silences all of them', async () => {
    for (const id of [here, there]) await silence(id, 120_000)
    expect(ids((await store.hosts.beat(here, REPORT)).hosts)).toEqual([here, there])
    expect(await store.hosts.beat(there, REPORT)).toMatchObject({ isMember: true })
  })

  test('are gone at once when the next one starts at their place, or when they end in order', async () => {
    const next = await store.hosts.join('there', FACTS)
    expect(await store.hosts.beat(there, REPORT)).toMatchObject({ isMember: false })
    expect(ids(await store.hosts.list())).toEqual([here, next])
    const other = await openStore()
    await other.hosts.join('elsewhere', FACTS)
    await other.close()
    expect(ids(await store.hosts.list())).toEqual([here, next])
  })

  test('that an operator drains learn it with their next beat, and take no session any more', async () => {
    const session = record('t', 'k', { uid: 'one' })
    await store.release((await store.create(session, there)) as SessionClaim)
    expect([await store.hosts.drain(here), await store.hosts.drain('999')]).toEqual([true, false])
    const { hosts } = await store.hosts.beat(here, REPORT)
    expect(hosts.find(({ id }) => id === here)?.state).toBe('draining')
    await expect(store.claim('one', here)).rejects.toMatchObject({ code: 'fenced' })
    await store.claim('one', there)
  })

  test('have four connections at most, with the one for their beats', async () => {
    await Promise.all(Array.from({ length: 20 }, (_, index) => store.get('t', String(index))))
    await store.hosts.beat(here, REPORT)
    const [row] = await server.query<{ count: number }>(
      `SELECT count(*)::int AS count FROM pg_stat_activity WHERE application_name = 'claude-agent-pool'`,
    )
    expect(row?.count).toBeGreaterThan(1)
    expect(row?.count).toBeLessThanOrEqual(4)
  })
})
