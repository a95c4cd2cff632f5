import { existsSync, mkdirSync, utimesSync, writeFileSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import type { SessionOptions } from '../../../src/index.ts'
import { event } from '../../conformance/events.ts'
import { OneHost } from '../../conformance/one-host.ts'
import { MemoryStore } from '../../../src/testing/index.ts'
import { answer, fakes, keys, NO_SPARES, used } from '../../fixtures/fakes.ts'
import { SharedStore } from '../../fixtures/shared-store.ts'
import { SettableClock } from '../../fixtures/settable-clock.ts'
import { temporaryFolder } from '../../fixtures/temporary-folder.ts'

const DAY = 86_400_000

test('removes by itself what nobody has used for its time, and says so', async () => {
  const setup = await fakes({ retention: { maxAge: '30s', interval: '2s' } })
  const expired: unknown[] = []
  setup.pool.on('session.expired', (event) => expired.push(event))
  await used(setup, 'old')
  const { cwd } = await (await setup.pool.session('old')).info()
  await setup.clock.advance(20_000)
  await used(setup, 'young')
  await setup.clock.advance(12_500)
  await vi.waitFor(() => expect(expired).toHaveLength(1))
  expect(await keys(setup)).toEqual(['young'])
  expect(expired).toMatchObject([{ tenant: 'default', key: 'old', agent: 'assistant', reason: 'age' }])
  expect(setup.told('session.deleted')).toHaveLength(1)
  expect(existsSync(cwd ?? '')).toBe(false)
})

test('is the work of one host of those that share a store, and of another when that is gone', async () => {
  const store = new SharedStore()
  const options = { store, retention: { maxAge: '30s', interval: '2s' } }
  const [one, other] = [await fakes(options), await fakes(options)]
  const expired: string[] = []
  for (const [name, { pool }] of Object.entries({ one, other }))
    pool.on('session.expired', ({ key }) => expired.push(`${key} by ${name}`))
  for (const { clock } of [one, other]) await clock.advance(2_500)
  await used(one, 'a')
  for (const { clock } of [other, one, other]) await clock.advance(34_000)
  await vi.waitFor(() => expect(expired).toEqual(['a by one']))
  await used(other, 'b')
  const [first] = await store.hosts.list()
  await one.pool.close()
  await store.lose(first?.id ?? '')
  await other.clock.advance(34_000)
  await vi.waitFor(() => expect(expired).toEqual(['a by one', 'b by other']))
})

test('goes on after its time if it fails, and says that it did', async () => {
  const store = new MemoryStore()
  const setup = await fakes({ store, retention: { maxAge: '1s', interval: '30s' } })
  await used(setup, 'old')
  const error = new Error('no disk')
  const list = vi.spyOn(store, 'list').mockRejectedValue(error)
  await setup.clock.advance(31_000)
  await vi.waitFor(() =>
    expect(setup.told('warning')).toMatchObject([
      { message: 'what has outlived its retention was not removed', error: { message: 'no disk' } },
    ]),
  )
  list.mockRestore()
  await setup.clock.advance(28_000)
  expect([setup.told('warning').length, await keys(setup)]).toEqual([1, ['old']])
  await setup.clock.advance(3_000)
  await vi.waitFor(async () => expect(await keys(setup)).toEqual([]))
})

test('never touches a session that has a process', async () => {
  const setup = await fakes({ retention: { maxSessions: 1 } })
  const live = await setup.session('live')
  await live.send('Hello').result
  await setup.clock.advance(1_000)
  await used(setup, 'a')
  await setup.clock.advance(1_000)
  await used(setup, 'b')
  const { sessions } = await setup.pool.prune()
  expect(sessions.map(({ key }) => key)).toEqual(['a', 'b'])
  expect(await answer(live.send('And again'))).toBe('[turn 2] You said: And again')
})

test('only says what it would do in a dry run', async () => {
  const setup = await fakes({ retention: { maxSessions: 1 } })
  await used(setup, 'a')
  await setup.clock.advance(1)
  await used(setup, 'b')
  expect(await setup.pool.prune({ dryRun: true })).toMatchObject({ sessions: [{ key: 'a', reason: 'count' }] })
  expect(await keys(setup)).toEqual(['a', 'b'])
  expect(setup.told('session.deleted')).toEqual([])
})

test('removes a bounded number at a time, and goes on', async () => {
  const store = new MemoryStore()
  const setup = await fakes({ store, retention: { maxSessions: 1 } })
  for (let index = 0; index < 250; index += 1) await setup.session(`k${String(index).padStart(3, '0')}`)
  expect(await setup.pool.prune()).toMatchObject({ more: true, sessions: { length: 200 } })
  expect(await setup.pool.prune()).toMatchObject({ more: false, sessions: { length: 49 } })
  expect(await store.list({ limit: 1_000 })).toHaveLength(1)
})

test('goes by what sessions take on disk', async () => {
  const setup = await fakes({ retention: { maxSize: '1MiB' } })
  for (const key of ['a', 'b', 'c']) {
    const { cwd = '' } = await (await used(setup, key)).info()
    writeFileSync(join(cwd, 'data'), Buffer.alloc(400 * 1024))
    await setup.clock.advance(1_000)
  }
  expect((await setup.pool.prune()).sessions).toMatchObject([
    { key: 'a', reason: 'size', bytes: expect.closeTo(400 * 1024, -4) },
  ])
  expect(await keys(setup)).toEqual(['b', 'c'])
})

test('counts the store’s copies of transcripts for the size of their session', async () => {
  const store = new MemoryStore()
  const setup = await fakes({ store, retention: { maxSize: '1MiB' } })
  const { sdkSessionId = '' } = await (await used(setup, 'a')).info()
  await setup.clock.advance(1_000)
  await used(setup, 'b')
  expect(await setup.pool.prune()).toMatchObject({ sessions: [] })
  const json = JSON.stringify('x'.repeat(2 ** 20))
  await store.appendTranscript({ tenant: 'default', project: '-work', sdkSessionId }, [{ json }], 0)
  expect(await setup.pool.prune()).toMatchObject({ sessions: [{ key: 'a', reason: 'size' }] })
})

test('trims the events of sessions that stay, by number and by age', async () => {
  const store = new MemoryStore()
  const setup = await fakes({ store, retention: { maxEvents: 10, maxEventAge: '1m' } })
  await setup.session('k')
  const { uid = '' } = (await store.get('default', 'k')) ?? {}
  const now = setup.clock.wall()
  const { last } = await store.eventTotals(uid)
  const other = await OneHost.of(store)
  const add = async (from: number, count: number, at: number): Promise<void> => {
    await other.claim(uid)
    await other.appendEvents(
      uid,
      Array.from({ length: count }, (_, index) => ({ ...event(from + index), at })),
    )
    await other.release(uid)
  }
  await add(last + 1, 30, now)
  expect(await setup.pool.prune({ dryRun: true })).toMatchObject({ events: last + 20 })
  await setup.pool.prune()
  expect(await store.eventTotals(uid)).toMatchObject({ first: last + 21, last: last + 30 })
  await setup.clock.advance(120_000)
  await add(last + 31, 3, setup.clock.wall())
  await setup.pool.prune()
  expect(await store.eventTotals(uid)).toMatchObject({ first: last + 31, last: last + 33 })
  await setup.clock.advance(120_000)
  await setup.pool.prune()
  expect(await store.eventTotals(uid)).toMatchObject({ first: last + 33, last: last + 33 })
})

test('trims events by the rules of tenant and agent, and none of a session that lives', async () => {
  const setup = await fakes({
    agents: { assistant: NO_SPARES, other: NO_SPARES },
    retention: { tenants: { strict: { maxEvents: 1 } }, agents: { other: { maxEvents: 2 } } },
  })
  const kept = async (key: string, options: SessionOptions, { live = false } = {}): Promise<number> => {
    const session = await setup.pool.session(key, options)
    await session.send('Hello').result
    if (!live) await session.hibernate()
    await setup.pool.prune()
    return (await session.history({ limit: 100 })).length
  }
  expect(await kept('plain', { agent: 'assistant' })).toBeGreaterThan(2)
  expect(await kept('other', { agent: 'other' })).toBe(2)
  expect(await kept('strict', { agent: 'other', tenant: 'strict' })).toBe(1)
  expect(await kept('live', { agent: 'other' }, { live: true })).toBeGreaterThan(2)
})

test('removes workspaces that nobody knows, when they are old', async () => {
  const dataDir = await temporaryFolder()
  const setup = await fakes({ dataDir, retention: { leftovers: '7d' } })
  const { cwd = '' } = await (await used(setup, 'k')).info()
  const workspaces = join(cwd, '..')
  for (const name of ['old', 'young']) mkdirSync(join(workspaces, name))
  const ago = (days: number): Date => new Date(setup.clock.wall() - days * DAY)
  for (const [name, days] of [
    ['old', 8],
    ['young', 6],
  ] as const)
    utimesSync(join(workspaces, name), ago(days), ago(days))
  utimesSync(cwd, ago(30), ago(30))
  expect(await setup.pool.prune({ dryRun: true })).toMatchObject({ leftovers: 1 })
  expect(await readdir(workspaces)).toHaveLength(3)
  expect(await setup.pool.prune()).toMatchObject({ leftovers: 1 })
  expect((await readdir(workspaces)).toSorted()).toEqual([cwd.slice(workspaces.length + 1), 'young'].toSorted())
})

test('removes the store’s copies of transcripts that nobody knows, when they are old', async () => {
  const store = new MemoryStore()
  const setup = await fakes({ store, retention: { leftovers: '7d' } })
  const { sdkSessionId: known = '' } = await (await used(setup, 'k')).info()
  const ages = { [known]: 30, old: 8, young: 6 }
  const keyOf = (sdkSessionId: string) => ({ tenant: 'default', project: '-work', sdkSessionId })
  for (const [id, days] of Object.entries(ages))
    await store.appendTranscript(keyOf(id), [{ json: '1' }], setup.clock.wall() - days * DAY)
  const left = async (): Promise<string[]> =>
    (await store.listTranscripts('default', '-work')).map(({ sdkSessionId }) => sdkSessionId)
  expect(await setup.pool.prune({ dryRun: true })).toMatchObject({ leftovers: 1 })
  expect(await left()).toEqual([known, 'old', 'young'])
  expect(await setup.pool.prune()).toMatchObject({ leftovers: 1 })
  expect(await left()).toEqual([known, 'young'])
  await setup.pool.eraseTenant('default')
  expect(await left()).toEqual([])
})

test('removes the directories of tenants that have no session any more, when they are old', async () => {
  const dataDir = await temporaryFolder()
  const setup = await fakes({ dataDir, retention: { leftovers: '7d' } })
  for (const tenant of ['gone', 'used', 'young']) await used(setup, 'k', { tenant })
  for (const tenant of ['gone', 'young']) await (await setup.pool.session('k', { tenant })).delete()
  const tenants = join(dataDir, 'tenants')
  const old = new Date(setup.clock.wall() - 8 * DAY)
  for (const tenant of ['gone', 'used']) utimesSync(join(tenants, tenant), old, old)
  expect(await setup.pool.prune({ dryRun: true })).toMatchObject({ leftovers: 1 })
  expect(await readdir(tenants)).toEqual(['gone', 'used', 'young'])
  await setup.pool.prune()
  expect(await readdir(tenants)).toEqual(['used', 'young'])
})

test('leaves the directory of a tenant that has only spares', async () => {
  const dataDir = await temporaryFolder()
  const agents = { assistant: { spares: { min: 1, max: 1 }, unboundSpares: { max: 0 } } }
  const setup = await fakes({ dataDir, agents })
  await setup.driver.process(0)
  const old = new Date(setup.clock.wall() - 8 * DAY)
  utimesSync(join(dataDir, 'tenants', 'default'), old, old)
  await setup.pool.prune()
  expect(await readdir(join(dataDir, 'tenants'))).toEqual(['default'])
})

test('removes nothing because the clock was set forward or back, and says that it was', async () => {
  const clock = new SettableClock()
  const retention = { maxAge: '2s', maxEventAge: '2s', leftovers: '2s' }
  const setup = await fakes({ clock, retention })
  const nothing = { sessions: [], events: 0, leftovers: 0 }
  const { cwd = '' } = await (await used(setup, 'before')).info()
  const unknown = join(cwd, '..', 'unknown')
  mkdirSync(unknown)
  const now = new Date(clock.wall())
  utimesSync(unknown, now, now)
  clock.shift = 365 * DAY
  expect(await setup.pool.prune()).toMatchObject(nothing)
  clock.shift = -365 * DAY
  await used(setup, 'while set back')
  expect(await setup.pool.prune()).toMatchObject(nothing)
  clock.shift = 0
  expect(await setup.pool.prune()).toMatchObject(nothing)
  expect((await keys(setup)).toSorted()).toEqual(['before', 'while set back'])
  expect(setup.told('warning').map(({ message }) => message)).toEqual([
    expect.stringContaining('was set forward by 8760h'),
    expect.stringContaining('was set back by 8760h'),
    "the machine's clock is right again",
  ])
  await clock.advance(2_500)
  expect((await setup.pool.prune()).sessions.map(({ key }) => key).toSorted()).toEqual(['before', 'while set back'])
})
