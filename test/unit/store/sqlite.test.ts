import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { FencedError, StoreError } from '../../../src/errors.ts'
import type { StoredEvent } from '../../../src/store/store.ts'
import { SqliteStore } from '../../../src/store/sqlite.ts'
import { record } from '../../conformance/sessions.ts'
import { OneHost } from '../../conformance/one-host.ts'
import { storeConformance } from '../../conformance/store.ts'

let folder: string
let number = 0

const newFile = (): string => join(folder, `${(number += 1)}.sqlite`)

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pool-sqlite-'))
})

afterAll(() => rm(folder, { recursive: true, force: true }))

// In memory: what differs on disk is below.
storeConformance(async () => new SqliteStore(':memory:'))

test('what was put is there for whoever opens the file next', async () => {
  const path = newFile()
  const store = new SqliteStore(path)
  const host = await OneHost.of(store)
  await host.put(record('t', 'k', { sdkSessionId: 'sdk-1', begun: true, turns: 3 }))
  await host.put(record('t', 'removed'))
  await host.remove('t', 'removed')
  await store.close()
  await store.close()
  const next = new SqliteStore(path)
  expect(await next.list({ limit: 10 })).toEqual([record('t', 'k', { sdkSessionId: 'sdk-1', begun: true, turns: 3 })])
  await next.close()
})

test('a large event takes a fraction of its size on the disk', async () => {
  const path = newFile()
  const store = new SqliteStore(path)
  const host = await OneHost.of(store)
  await host.put(record('t', 'k', { uid: 'one' }))
  const json = JSON.stringify({ text: 'all work and no play '.repeat(200_000) })
  await host.appendEvents('one', [{ number: 1, id: 'e', type: 'agent.message', at: 1, json }])
  expect((await store.readEvents('one', { limit: 1 }))[0]?.json).toBe(json)
  await store.close()
  expect((await stat(path)).size).toBeLessThan(json.length / 4)
})

test('what a session used is stored under the names of the first release, so that each release reads the other', async () => {
  const path = newFile()
  const total = {
    inputTokens: 1,
    outputTokens: 2,
    cacheReadTokens: 0,
    cacheWriteTokens: 0,
    costUsd: 3,
    estimated: true,
  }
  const usage = { total, reported: total, saved: total, estimated: total, notedAt: 4 }
  const store = new SqliteStore(path)
  await (await OneHost.of(store)).put(record('t', 'k', { usage }))
  expect((await store.get('t', 'k'))?.usage).toEqual(usage)
  await store.close()
  const database = new DatabaseSync(path)
  const row = database.prepare('SELECT usage FROM sessions').get() as { usage: string }
  database.close()
  expect(JSON.parse(row.usage)).toEqual({ total, told: total, saved: total, reckoned: total, notedAt: 4 })
})

test('a file of a newer release is refused and left as it is', () => {
  const path = newFile()
  const newer = new DatabaseSync(path)
  newer.exec('PRAGMA user_version = 999')
  newer.close()
  expect(() => new SqliteStore(path)).toThrow(StoreError)
  expect(() => new SqliteStore(path)).toThrow(
    /has schema version 999, newer than the \d+ of this release; upgrade claude-agent-pool/,
  )
  const after = new DatabaseSync(path)
  expect(after.prepare('PRAGMA user_version').get()).toEqual({ user_version: 999 })
  after.close()
})

test('a file that is no database is a StoreError that names it', async () => {
  const path = newFile()
  await writeFile(path, 'not a database, and long enough to be taken for one'.repeat(100))
  expect(() => new SqliteStore(path)).toThrow(StoreError)
  expect(() => new SqliteStore(path)).toThrow(`${path} cannot be opened: `)
})

test('a place that does not exist is a StoreError', () => {
  expect(() => new SqliteStore(join(folder, 'nowhere', 'pool.sqlite'))).toThrow(StoreError)
})

test('a table that is gone is a StoreError with its cause, for reading and for writing', async () => {
  const path = newFile()
  const store = new SqliteStore(path)
  const vandal = new DatabaseSync(path)
  vandal.exec('DROP TABLE sessions')
  vandal.close()
  const claim = { uid: 'x', owner: '1', fence: 1 }
  const works: (() => Promise<unknown>)[] = [
    () => store.get('t', 'k'),
    () => store.create(record('t', 'k'), '1'),
    () => store.put(record('t', 'k'), claim),
    () => store.list({ limit: 1 }),
    () => store.remove(claim),
    () => store.touch(record('t', 'k'), claim),
    () => store.findBySdkSessionId('x'),
    () => store.claim('x', '1'),
    () => store.adopt('1', 1),
    () => store.appendEvents(claim, []),
    () => store.readEvents('x', { limit: 1 }),
  ]
  for (const work of works) {
    const broken = work()
    await expect(broken).rejects.toThrow(StoreError)
    await expect(broken).rejects.toMatchObject({ cause: expect.objectContaining({ message: expect.any(String) }) })
  }
  await store.close()
})

test('a closed store is a StoreError, not a crash', async () => {
  const store = new SqliteStore(newFile())
  await store.close()
  await expect(store.get('t', 'k')).rejects.toThrow(StoreError)
  await expect(store.create(record('t', 'k'), '1')).rejects.toThrow(StoreError)
})

const event = (number: number, writer: string): StoredEvent => ({
  number,
  id: `${writer} ${number}`,
  type: 'agent.message',
  at: 0,
  json: '{}',
})

test('a second writer of a session is told apart, though the first remembers where its events ended', async () => {
  const path = newFile()
  const [first, second] = [new SqliteStore(path), new SqliteStore(path)]
  const { uid } = record('t', 'k')
  const host = await OneHost.of(first)
  await host.put(record('t', 'k'))
  const claim = host.claimOf(uid)
  await first.appendEvents(claim, [event(1, 'first')])
  await second.appendEvents(claim, [event(2, 'second')])
  await expect(first.appendEvents(claim, [event(2, 'first')])).rejects.toThrow('event 2 is taken by another')
  const next = await second.claim(uid, await second.register('here'))
  for (const number of [2, 3])
    await expect(first.appendEvents(claim, [event(number, 'first')])).rejects.toThrow(FencedError)
  await second.remove(next.claim)
  await expect(first.appendEvents(claim, [event(3, 'first')])).rejects.toThrow('is not in the store')
  await Promise.all([first.close(), second.close()])
})

test('what was undone because another write failed is done again from where it had begun', async () => {
  const store = new SqliteStore(newFile())
  const { uid } = record('t', 'k')
  const host = await OneHost.of(store)
  await host.put(record('t', 'k'))
  await host.appendEvents(uid, [event(1, 'first')])
  const [added, refused] = await Promise.allSettled([
    host.appendEvents(uid, [event(2, 'first'), event(3, 'first')]),
    host.appendEvents('nobody', [event(1, 'first')]),
  ])
  expect([added.status, refused.status]).toEqual(['fulfilled', 'rejected'])
  await host.appendEvents(uid, [event(4, 'first')])
  expect((await store.readEvents(uid, { limit: 10 })).map(({ number }) => number)).toEqual([1, 2, 3, 4])
  await store.close()
})

test('the log goes into the file by and by, though no commit waits for that', async () => {
  const path = newFile()
  const store = new SqliteStore(path)
  const before = (await stat(path)).size
  const host = await OneHost.of(store)
  for (let number = 0; number < 300; number += 1) await host.put(record('t', `k ${number}`))
  await vi.waitFor(async () => expect((await stat(path)).size).toBeGreaterThan(before))
  await store.close()
})

test('writes that follow upon one another leave the event loop its turns', async () => {
  const store = new SqliteStore(newFile())
  const host = await OneHost.of(store)
  let turns = 0
  let writing = true
  const count = (): void => {
    turns += 1
    if (writing) setImmediate(count)
  }
  setImmediate(count)
  for (let number = 0; number < 3_000; number += 1) await host.put(record('t', 'k', { turns: number }))
  writing = false
  expect(turns).toBeGreaterThanOrEqual(2)
  await store.close()
})

test('a page of the sessions by time reads no more than the page', async () => {
  const path = newFile()
  const prepared = vi.spyOn(DatabaseSync.prototype, 'prepare')
  const store = new SqliteStore(path)
  const order = { order: 'created', descending: true } as const
  await store.list({ ...order, after: { tenant: 't', key: 'k', createdAt: 1 }, limit: 10 })
  const listed = prepared.mock.calls.map(([sql]) => sql).find((sql) => sql.includes('ORDER BY created_at')) ?? ''
  prepared.mockRestore()
  await store.close()
  using database = new DatabaseSync(path)
  const plan = database.prepare(`EXPLAIN QUERY PLAN ${listed}`).all(1, 't', 'k', 10)
  expect(plan).toEqual([expect.objectContaining({ detail: expect.stringMatching(/^SEARCH .*sessions_in_time/) })])
})

test('what was written last is on the disk when the store has closed', async () => {
  const path = newFile()
  const store = new SqliteStore(path)
  const written = store.create(record('t', 'k'), '1')
  await store.close()
  await written
  const next = new SqliteStore(path)
  expect(await next.list({ limit: 1_000 })).toHaveLength(1)
  await next.close()
})
