import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest'
import { FencedError, StoreError } from '../../../../src/errors.ts'
import { readPostgres } from '../../../../src/options/store.ts'
import { PostgresStore } from '../../../../src/store/postgres/postgres.ts'
import type { SessionClaim } from '../../../../src/store/store.ts'
import { event } from '../../../conformance/events.ts'
import { record } from '../../../conformance/sessions.ts'
import { startOwnPostgres } from '../../../fixtures/postgres-server.ts'
import type { OwnServer } from '../../../fixtures/postgres-server.ts'
import { TcpProxy } from '../../../fixtures/tcp-proxy.ts'

const SESSION = record('t', 'k', { uid: 'one', sdkSessionId: 'sdk-1' })
const TRANSCRIPT = { tenant: 't', project: '-work', sdkSessionId: 'sdk-1' }
const ALL = { limit: 1_000 }

let server: OwnServer
let schemas = 0
let proxy: TcpProxy
let store: PostgresStore
let owner: string
let claim: SessionClaim

beforeAll(async () => {
  server = await startOwnPostgres()
}, 120_000)

afterAll(() => server?.[Symbol.asyncDispose]())

/** A store behind the proxy, with a session of this host. */
beforeEach(async () => {
  proxy = await TcpProxy.to(server.port)
  const url = new URL(server.url(`broken_${(schemas += 1)}`))
  url.port = String(proxy.port)
  store = await PostgresStore.open(readPostgres({ postgres: url.href }))
  owner = await store.register('here')
  claim = (await store.create(SESSION, owner)) as SessionClaim
  onTestFinished(async () => {
    await store.close()
    await proxy[Symbol.asyncDispose]()
  })
})

const numbers = async (): Promise<number[]> => (await store.readEvents('one', ALL)).map(({ number }) => number)

test('events whose answer is lost are stored once, and the session goes on', async () => {
  proxy.loseAnswer()
  await store.appendEvents(claim, [event(1), event(2)], 'open')
  await store.appendEvents(claim, [event(3)])
  expect(await numbers()).toEqual([1, 2, 3])
})

test('entries of a transcript whose answer is lost are stored once, also without a uuid', async () => {
  await store.appendTranscript(TRANSCRIPT, [{ json: '1' }], 0, claim)
  proxy.loseAnswer()
  await store.appendTranscript(TRANSCRIPT, [{ json: '2' }, { json: '2' }], 0, claim)
  expect(await store.loadTranscript(TRANSCRIPT)).toEqual(['1', '2', '2'])
})

test('a session whose answer is lost is there once, for the host that made it', async () => {
  proxy.loseAnswer()
  const other = record('t', 'other', { uid: 'two' })
  const made = (await store.create(other, owner)) as SessionClaim
  await store.appendEvents(made, [event(1)])
  expect(await store.create(record('t', 'other', { uid: 'three' }), owner)).toBeUndefined()
})

test('sessions whose adoption is not answered are adopted all the same', async () => {
  await store.appendEvents(claim, [event(1)], 'open')
  const next = await store.register('here')
  proxy.loseAnswer()
  const [adopted] = await store.adopt(next, 10)
  await store.appendEvents(adopted?.claim as SessionClaim, [event(2)], 'closed')
  expect(await store.adopt(next, 10)).toEqual([])
})

test('what was spent is counted once when its answer is lost', async () => {
  const account = { scope: 'tenant', tenant: 't', name: 't' } as const
  const spending = { period: '', tokens: 10, costUsd: 0.5 }
  await store.spend(account, spending)
  proxy.loseAnswer()
  await store.spend(account, spending)
  expect((await store.readAccount(account)).spent).toEqual({ period: '', tokens: 20, costUsd: 1 })
})

test('a resource whose answer is lost is made and changed once, and only what this host has done is told as done', async () => {
  const { resources } = store.api
  const made = {
    kind: 'agent',
    tenant: 't',
    id: 'a',
    version: 1,
    createdAt: 1,
    archivedAt: null,
    parent: null,
    body: '{}',
  } as const
  const changed = { ...made, version: 2, body: '{"name":"b"}' }
  proxy.loseAnswer()
  await resources.create(made)
  await expect(resources.create(made)).rejects.toThrow('is in the store already')
  proxy.loseAnswer()
  expect(await resources.replace(made, changed)).toBe(true)
  expect(await resources.replace(made, changed)).toBe(false)
})

test('a write that arrives late, when its session has gone on, changes nothing', async () => {
  const held = proxy.holdRequests()
  const touched = store.touch({ ...SESSION, turns: 1 }, claim)
  await held
  const arrive = proxy.cut()
  await touched
  await store.touch({ ...SESSION, turns: 2 }, claim)
  await arrive()
  expect((await store.get('t', 'k'))?.turns).toBe(2)
  await store.touch({ ...SESSION, turns: 3 }, claim)
})

test('a write is refused after a lost answer, too, when another host has claimed the session', async () => {
  const held = proxy.holdRequests()
  const appended = store.appendEvents(claim, [event(1)])
  await held
  const schema = `broken_${schemas}`
  const other = await PostgresStore.open(readPostgres({ postgres: server.url(schema) }))
  await server.query(`UPDATE "${schema}".hosts SET state = 'gone'`)
  const taken = await other.claim('one', await other.register('there'))
  const arrive = proxy.cut()
  await expect(appended).rejects.toThrow(FencedError)
  await arrive()
  expect(await numbers()).toEqual([])
  await other.appendEvents(taken.claim, [event(1)])
  await other.close()
})

test('what is written while the database restarts is stored when it is back, in order and once', async () => {
  const writing = (async () => {
    for (let number = 1; number <= 200; number += 1) await store.appendEvents(claim, [event(number)])
  })()
  await server.crash()
  await writing
  expect(await numbers()).toEqual(Array.from({ length: 200 }, (_, index) => index + 1))
})

test('a database that stays away fails a read with a StoreError, and no idle connection ends the process', async () => {
  await server.end()
  try {
    await expect(store.get('t', 'k')).rejects.toBeInstanceOf(StoreError)
  } finally {
    await server.start()
  }
  expect(await store.get('t', 'k')).toEqual(SESSION)
})

test('a host has at most three connections for its work', async () => {
  const uids = Array.from({ length: 30 }, (_, index) => `uid ${index}`)
  await Promise.all(uids.map((uid) => store.create(record('t', uid, { uid }), owner)))
  const [row] = await server.query<{ count: number }>(
    `SELECT count(*)::int AS count FROM pg_stat_activity WHERE application_name = 'claude-agent-pool'`,
  )
  expect(row?.count).toBeGreaterThan(0)
  expect(row?.count).toBeLessThanOrEqual(3)
})
