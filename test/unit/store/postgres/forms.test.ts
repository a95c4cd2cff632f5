import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { readPostgres } from '../../../../src/options/store.ts'
import { PostgresStore } from '../../../../src/store/postgres/postgres.ts'
import { record } from '../../../conformance/sessions.ts'
import { startPostgres } from '../../../fixtures/postgres-server.ts'
import type { PostgresServer } from '../../../fixtures/postgres-server.ts'

let server: PostgresServer
let schemas = 0

beforeAll(async () => {
  server = await startPostgres()
}, 120_000)

afterAll(() => server?.[Symbol.asyncDispose]())

/** Hosts with these forms of the agent of the sessions; undefined: a release that tells none. */
async function hosts(...forms: (string | undefined)[]) {
  const store = await PostgresStore.open(
    readPostgres({ postgres: server.url(`forms_${process.pid}_${(schemas += 1)}`) }),
  )
  onTestFinished(() => store.close())
  const session = record('acme', 'k')
  const ids: string[] = []
  for (const [index, form] of forms.entries()) {
    const agents = form === undefined ? {} : { agents: { [session.agent]: form } }
    const address = `127.0.0.1:${7000 + index}`
    const facts = { version: '1', ttlMs: 60_000, address, ...agents }
    ids.push(await store.hosts.join(`place ${index}`, facts))
  }
  const report = { state: 'ready', running: 0, waiting: 0, free: 1 } as const
  for (const id of ids) await store.hosts.beat(id, report)
  const hostOf = (asker = ''): ReturnType<PostgresStore['hosts']['hostOf']> =>
    store.hosts.hostOf(session.tenant, session.key, asker)
  return { store, session, ids: ids as [string, string, ...string[]], hostOf }
}

test('A session that no host owns may be claimed by any host that has its agent in the same form', async () => {
  const { store, session, ids, hostOf } = await hosts('old', 'old')
  const [first, second] = ids
  const claim = await store.create(session, first)
  expect(await hostOf(second)).toEqual({ id: first, place: 'place 0', address: '127.0.0.1:7000', owns: true })
  await store.release(claim as NonNullable<typeof claim>)
  expect(await hostOf(second)).toBeUndefined()
  expect((await store.claim(session.uid, second)).claim).toMatchObject({ owner: second })
})

test('A host with another form is refused with the host that has the form, while that is ready', async () => {
  const { store, session, ids, hostOf } = await hosts('old', 'new', 'old')
  const [first, second, third = ''] = ids
  const claim = await store.create(session, first)
  await store.release(claim as NonNullable<typeof claim>)
  expect(['0', '2'].map((index) => `place ${index}`)).toContain((await hostOf(second))?.place)
  expect(await hostOf(second)).toMatchObject({ owns: false })
  const refused = await store.claim(session.uid, second).catch((error: unknown) => error)
  expect(refused).toMatchObject({ code: 'fenced' })
  expect([first, third]).toContain((refused as { owner?: string }).owner)
  expect(await store.adopt(second, 10)).toEqual([])
  for (const id of [first, third]) await store.hosts.drain(id)
  expect(await hostOf(second)).toBeUndefined()
  const claimed = await store.claim(session.uid, second)
  // From then on it has the new form.
  await store.release(claimed.claim)
  const agents = { [session.agent]: 'old' }
  const late = await store.hosts.join('late', { version: '1', ttlMs: 60_000, agents })
  expect(await hostOf(late)).toMatchObject({ id: second, owns: false })
})

test('A host that has read its config again claims with the new form', async () => {
  const { store, session, ids, hostOf } = await hosts('old', 'new')
  const [first, second] = ids
  const claim = await store.create(session, second)
  await store.release(claim as NonNullable<typeof claim>)
  expect(await hostOf(first)).toMatchObject({ id: second })
  await store.hosts.describe(first, { [session.agent]: 'new' })
  expect(await hostOf(first)).toBeUndefined()
})

test('Hosts of a release that tells no forms claim as before', async () => {
  const { store, session, ids, hostOf } = await hosts('old', undefined)
  const [first, second] = ids
  const claim = await store.create(session, first)
  await store.release(claim as NonNullable<typeof claim>)
  expect(await hostOf(second)).toBeUndefined()
  await expect(store.claim(session.uid, second)).resolves.toMatchObject({ claim: { owner: second } })
})

test('The database keeps one secret for all hosts, and tells its time', async () => {
  const { store, ids } = await hosts('old')
  const secret = await store.hosts.secret()
  expect(secret).toMatch(/^[\da-f-]{72}$/)
  expect(await store.hosts.secret()).toBe(secret)
  const { now = 0 } = await store.hosts.beat(ids[0], { state: 'ready', running: 0, waiting: 0, free: 1 })
  expect(Math.abs(now - Date.now())).toBeLessThan(60_000)
})

test('The sessions of a tenant are counted, and no more of them than asked for', async () => {
  const { store, ids } = await hosts('old')
  for (const key of ['a', 'b', 'c']) await store.create(record('acme', key), ids[0])
  await store.create(record('other', 'a'), ids[0])
  const counts = [2, 10].map((atMost) => store.hosts.countSessions('acme', atMost))
  expect(await Promise.all(counts)).toEqual([2, 3])
})
