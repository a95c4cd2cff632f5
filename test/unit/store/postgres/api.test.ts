import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { systemClock } from '../../../../src/clock.ts'
import { readPostgres } from '../../../../src/options/store.ts'
import type { RequestName } from '../../../../src/store/api-store.ts'
import { PostgresStore } from '../../../../src/store/postgres/postgres.ts'
import { apiStoreConformance } from '../../../conformance/api-store.ts'
import { record } from '../../../conformance/sessions.ts'
import { startPostgres } from '../../../fixtures/postgres-server.ts'
import type { PostgresServer } from '../../../fixtures/postgres-server.ts'
import { served } from '../../../fixtures/server.ts'
import type { ServedFakes } from '../../../fixtures/server.ts'

const TABLES = ['resources', 'resource_versions', 'answers', 'browser_tokens', 'sessions', 'hosts']
const PATIENCE = { timeout: 60_000, interval: 20 }
const SCHEMA = `api_${process.pid}`

let server: PostgresServer

beforeAll(async () => {
  server = await startPostgres()
}, 120_000)

afterAll(() => server?.[Symbol.asyncDispose]())

/** Another host's connection to the database. */
async function openStore(): Promise<PostgresStore> {
  const store = await PostgresStore.open(readPostgres({ postgres: server.url(SCHEMA) }))
  onTestFinished(() => store.close())
  return store
}

async function emptyStore(): Promise<PostgresStore> {
  const store = await openStore()
  for (const table of TABLES) await server.query(`DELETE FROM "${SCHEMA}".${table}`)
  return store
}

describe('The store of the API in PostgreSQL', () => {
  apiStoreConformance(async () => (await emptyStore()).api)

  test('takes names with characters that the database has no words for', async () => {
    const { resources, answers } = (await emptyStore()).api
    expect(await resources.get('agent', 't', 'a\0\ud800')).toBeUndefined()
    const name = { tenant: 't', method: 'POST', path: '/v1/a\0', key: 'k' }
    await answers.begin({ ...name, bodyHash: 'h', at: 1 }, { since: -1e6, max: 10 })
    await answers.finish(name, { status: 200, contentType: 'text/plain', body: 'done' }, 's\0')
    expect((await answers.begin({ ...name, bodyHash: 'h', at: 1 }, { since: -1e6, max: 10 }))?.answer?.body).toBe(
      'done',
    )
  })
})

describe('A session that goes', () => {
  test('takes with it what the API kept of it, in the same statement', async () => {
    const store = await emptyStore()
    const claim = await store.create(record('t', 'one'), await store.register('here'))
    const resource = { kind: 'session', tenant: 't', version: 1, createdAt: 1, archivedAt: null, parent: null } as const
    for (const id of ['one', 'two']) await store.api.resources.create({ ...resource, id, body: '{}' })
    const name: RequestName = { tenant: 't', method: 'POST', path: '/v1/sessions/one/events', key: 'k' }
    await store.api.answers.begin({ ...name, bodyHash: 'h', at: 1 }, { since: -1e9, max: 10 })
    await store.api.answers.finish(name, { status: 200, contentType: 'text/plain', body: 'x' }, 'one')
    if (claim !== undefined) await store.remove(claim)
    expect(await store.api.resources.get('session', 't', 'one')).toBeUndefined()
    expect(await store.api.resources.get('session', 't', 'two')).toBeDefined()
    expect(await server.query(`SELECT 1 FROM "${SCHEMA}".answers`)).toEqual([])
  })
})

describe('A request that can be tried again', () => {
  const name: RequestName = { tenant: 't', method: 'POST', path: '/v1/sessions/one/events', key: 'k' }
  const ANSWER = { status: 200, contentType: 'text/plain', body: 'done' }
  const lose = (id: string): Promise<unknown> =>
    server.query(`UPDATE "${SCHEMA}".hosts SET state = 'gone' WHERE id = $1`, [id])

  /** The first of two hosts works on it. */
  async function begun() {
    const [one, other] = [await emptyStore(), await openStore()]
    const [id] = [await one.register('one'), await other.register('other')]
    const begin = ({ api }: PostgresStore) =>
      api.answers.begin({ ...name, bodyHash: 'h', at: 1, seed: 'abc' }, { since: -1e9, max: 10 })
    expect(await begin(one)).toBeUndefined()
    return { one, other, id, begin }
  }

  test('is not taken up from a host that works on it', async () => {
    const { other, begin } = await begun()
    expect(await begin(other)).toMatchObject({ isWorkedOn: true, seed: 'abc' })
    expect(await other.api.answers.takeUp?.(name)).toBe(false)
  })

  test('is taken up by one host when its host is gone, and what that one says of it then counts for nothing', async () => {
    const { one, other, id, begin } = await begun()
    const third = await openStore()
    await third.register('third')
    await lose(id)
    expect(await begin(other)).toMatchObject({ isWorkedOn: false, seed: 'abc' })
    const taken = await Promise.all([other, third].map(({ api }) => api.answers.takeUp?.(name)))
    expect(taken.filter(Boolean)).toHaveLength(1)
    await one.api.answers.forget(name)
    await one.api.answers.finish(name, { ...ANSWER, body: 'late' }, undefined)
    expect(await begin(openedBy(taken, other, third))).toMatchObject({ isWorkedOn: true, seed: 'abc' })
    await openedBy(taken, other, third).api.answers.finish(name, ANSWER, undefined)
    expect(await begin(one)).toMatchObject({ answer: ANSWER })
    expect(await other.api.answers.takeUp?.(name)).toBe(false)
  })

  test('is taken up when its host has left it', async () => {
    const { one, other, begin } = await begun()
    await one.api.answers.leave?.(name)
    expect(await begin(other)).toMatchObject({ isWorkedOn: false, seed: 'abc' })
    expect(await other.api.answers.takeUp?.(name)).toBe(true)
    expect(await begin(one)).toMatchObject({ isWorkedOn: true })
  })

  const openedBy = (taken: (boolean | undefined)[], other: PostgresStore, third: PostgresStore): PostgresStore =>
    taken[0] === true ? other : third
})

describe('Two hosts', () => {
  interface Two {
    first: ServedFakes
    second: ServedFakes
    /** Has the first host make environments again: until then it works on them. */
    goOn: () => void
    /** Resolves when the second host has looked so often whether it may begin. */
    looked: (times: number) => Promise<void>
    /** The others hold the first host for gone. */
    lose: () => Promise<unknown>
  }

  async function two({ stopped = false } = {}): Promise<Two> {
    const [one, other] = [await emptyStore(), await openStore()]
    const [id] = [await one.register('one'), await other.register('other')]
    const gate = Promise.withResolvers<void>()
    if (!stopped) gate.resolve()
    const create = one.api.resources.create.bind(one.api.resources)
    vi.spyOn(one.api.resources, 'create').mockImplementation(async (resource) => {
      await gate.promise
      await create(resource)
    })
    const looks = vi.spyOn(other.api.answers, 'begin')
    return {
      first: await served({ apiStore: one.api, clock: systemClock }),
      second: await served({ apiStore: other.api, clock: systemClock }),
      goOn: () => gate.resolve(),
      looked: (times) => vi.waitFor(() => expect(looks.mock.calls.length).toBeGreaterThanOrEqual(times), PATIENCE),
      lose: () => server.query(`UPDATE "${SCHEMA}".hosts SET state = 'gone' WHERE id = $1`, [id]),
    }
  }

  const make = async ({ ask }: ServedFakes, key: string, name = 'e') => {
    const answer = await ask('POST', '/v1/environments', { body: { name }, headers: { 'idempotency-key': key } })
    return {
      status: answer.status,
      replayed: answer.headers.get('idempotent-replayed'),
      body: (await answer.json()) as { id?: string; error?: { message: string } },
    }
  }

  const begun = () =>
    vi.waitFor(async () => expect(await server.query(`SELECT 1 FROM "${SCHEMA}".answers`)).toHaveLength(1), PATIENCE)

  test('share what was made, and give a request that comes again to the other host its first answer', async () => {
    const { first, second } = await two()
    const made = await make(first, 'k')
    expect(await make(second, 'k')).toEqual({ ...made, replayed: 'true' })
    const listed = (await (await second.ask('GET', '/v1/environments')).json()) as { data: { id: string }[] }
    expect(listed.data.map(({ id }) => id)).toEqual([made.body.id, 'env_local'])
    expect((await make(second, 'k', 'another')).body.error?.message).toContain('had another body')
  })

  test('do a request once that comes to both at the same time: the second waits for the first', async () => {
    const { first, second, goOn, looked } = await two({ stopped: true })
    const made = make(first, 'k')
    await begun()
    const again = make(second, 'k')
    await looked(2)
    goOn()
    expect(await again).toEqual({ ...(await made), replayed: 'true' })
    expect(await server.query(`SELECT 1 FROM "${SCHEMA}".resources`)).toHaveLength(1)
  })

  test('do not wait for each other beyond death: the request may have been done or not', async () => {
    const { first, second, goOn, looked, lose } = await two({ stopped: true })
    const made = make(first, 'k')
    await begun()
    const again = make(second, 'k')
    await looked(2)
    await lose()
    const { status, body } = await again
    expect([status, body.error?.message]).toEqual([409, expect.stringContaining('the server ended while it worked')])
    goOn()
    await made
  })
})
