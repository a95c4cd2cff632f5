import { describe, expect, test } from 'vitest'
import { StoreError } from '../../../src/errors.ts'
import { hashKey } from '../../../src/server/auth/authenticator.ts'
import type { ServerOptions } from '../../../src/server/options.ts'
import { MemoryStore } from '../../../src/store/memory.ts'
import type { FakeClock } from '../../../src/testing/index.ts'
import { canMount, disk } from '../../fixtures/disk.ts'
import { served } from '../../fixtures/server.ts'

/** Lets time pass until this is so: looks at the disk are real, and take as long as they take. */
async function until(clock: FakeClock, isSo: () => boolean): Promise<void> {
  while (!isSo()) await clock.advance(500)
}

test('probes need no key and tell what a load balancer must know', async () => {
  const { ask, server } = await served({ keys: [{ tenant: 'a', sha256: hashKey('x'.repeat(24)) }] })
  for (const path of ['/health', '/livez', '/readyz', '/pressure', '/openapi.json'])
    expect((await ask('GET', path)).status).toBe(200)
  for (const state of ['starting', 'draining'] as const) {
    server.state = state
    const response = await ask('GET', '/readyz')
    expect([response.status, await response.json()]).toEqual([503, { status: 'not ready', reason: state }])
    expect((await ask('GET', '/livez')).status).toBe(200)
  }
})

test('pressure says what runs, what would be refused and what lately was', async () => {
  const { ask, driver, pool, clock } = await served({}, { limits: { turns: 1 } })
  driver.onStart = (process) => (process.answersAtOnce = false)
  const [one, two] = await Promise.all(['one', 'two'].map((key) => pool.session(key, { agent: 'assistant' })))
  const running = one?.send('go')
  await driver.until(() => driver.processes[0]?.unanswered === 1)
  await two?.send('no').result.catch(() => undefined)
  expect(await (await ask('GET', '/pressure')).json()).toEqual({
    running: 1,
    waiting: 0,
    capacity: 1,
    memory: 'none',
    store: null,
    isolation: 'none',
    cgroup: null,
    reason: 'turns',
    recentlyShed: 1,
  })
  driver.processes[0]?.finish()
  await running?.result
  await clock.advance(61_000)
  expect(await (await ask('GET', '/pressure')).json()).toMatchObject({ running: 0, reason: null, recentlyShed: 0 })
})

/** What `/pressure` says of the oldest waiter while a turn of this tenant waits. */
async function oldestWaiter(tenant: string, options: ServerOptions, key?: string): Promise<unknown> {
  const { ask, driver, pool, clock } = await served(options, {
    limits: { turns: 1 },
    admission: { mode: 'wait', timeout: '1h' },
  })
  driver.onStart = (process) => (process.answersAtOnce = false)
  const [one, two] = await Promise.all(['one', 'two'].map((name) => pool.session(name, { agent: 'assistant', tenant })))
  const running = one?.send('go')
  await driver.until(() => driver.processes[0]?.unanswered === 1)
  const waiting = two?.send('go')
  await clock.advance(3_000)
  const headers: Record<string, string> = key === undefined ? {} : { 'x-api-key': key }
  const told = (await (await ask('GET', '/pressure', { headers })).json()) as { oldestWaiter?: unknown }
  await waiting?.interrupt()
  driver.processes[0]?.finish()
  await running?.result
  expect(await (await ask('GET', '/pressure')).json()).not.toHaveProperty('oldestWaiter')
  return told.oldestWaiter
}

test('pressure tells how long the oldest turn waits, and its tenant and agent to operators and to that tenant alone', async () => {
  const operators = [{ name: 'ann', sha256: hashKey('o'.repeat(24)) }]
  const keys = [{ tenant: 'acme', sha256: hashKey('x'.repeat(24)) }]
  const wait = { waitMs: 3_000, reason: 'turns' }
  expect(await oldestWaiter('default', {})).toEqual({ ...wait, tenant: 'default', agent: 'assistant' })
  expect(await oldestWaiter('acme', {})).toEqual(wait)
  expect(await oldestWaiter('acme', { keys, operators }, 'x'.repeat(24))).toEqual(wait)
  expect(await oldestWaiter('acme', { keys, operators }, 'o'.repeat(24))).toEqual({
    ...wait,
    tenant: 'acme',
    agent: 'assistant',
  })
})

test('memory that is critically short makes it unready, and nothing else does that a turn could be refused for', async () => {
  const { ask, clock, memory } = await served()
  memory.othersBytes = memory.limitBytes - memory.hostBytes
  await clock.advance(500)
  const response = await ask('GET', '/readyz')
  expect([response.status, await response.json()]).toEqual([503, { status: 'not ready', reason: 'memory' }])
  expect(await (await ask('GET', '/pressure')).json()).toMatchObject({ memory: 'critical', reason: 'memory' })
  memory.othersBytes = 0
  await clock.advance(3_000)
  expect((await ask('GET', '/readyz')).status).toBe(200)
})

describe.skipIf(!canMount())('On a disk of its own (needs the right to mount)', () => {
  test('a full disk makes it unready and is the reason in /pressure, until there is room again', async () => {
    const { path, fill, clear } = disk()
    const { ask, clock, told } = await served({}, { dataDir: path })
    const ready = async (): Promise<unknown[]> => {
      const response = await ask('GET', '/readyz')
      return [response.status, ((await response.json()) as { reason?: string }).reason]
    }
    await clock.advance(5_000)
    expect(await ready()).toEqual([200, undefined])
    fill()
    await until(clock, () => told('store.health').length === 1)
    expect(await ready()).toEqual([503, 'disk_full'])
    expect(await (await ask('GET', '/pressure')).json()).toMatchObject({ store: 'disk_full', reason: 'disk_full' })
    expect(await (await ask('GET', '/metrics')).text()).toMatch(/store_trouble\{code="disk_full"\} 1/)
    clear()
    await until(clock, () => told('store.health').length === 2)
    expect(await ready()).toEqual([200, undefined])
    expect(await (await ask('GET', '/pressure')).json()).toMatchObject({ store: null, reason: null })
  })
})

test('a store that fails for good makes it unready at once, and works again when it can be written', async () => {
  const store = new MemoryStore()
  const { ask, clock, session, told } = await served({}, { store })
  const create = store.create.bind(store)
  store.create = () => Promise.reject(new StoreError('no', { code: 'read_only' }))
  await expect(session('one')).rejects.toThrow('no')
  expect((await ask('GET', '/readyz')).status).toBe(503)
  expect(await (await ask('GET', '/pressure')).json()).toMatchObject({ store: 'read_only', reason: 'read_only' })
  store.create = create
  await until(clock, () => told('store.health').length === 2)
  expect((await ask('GET', '/readyz')).status).toBe(200)
})

test("what does not exist is the API's 404", async () => {
  const { ask } = await served()
  const response = await ask('GET', '/nothing')
  expect(response.status).toBe(404)
  expect(await response.json()).toMatchObject({ type: 'error', error: { type: 'not_found_error' } })
})

test('the document has the whole input of an AG-UI run', async () => {
  const { ask } = await served()
  const { paths } = (await (await ask('GET', '/openapi.json')).json()) as { paths: Record<string, object> }
  expect(paths['/ag-ui/{agent}']).toMatchObject({
    post: {
      requestBody: {
        content: {
          'application/json': {
            schema: {
              type: 'object',
              required: ['threadId', 'runId', 'messages'],
              properties: {
                messages: { type: 'array', items: { oneOf: expect.any(Array) } },
                resume: { items: { properties: { status: { enum: ['resolved', 'cancelled'] } } } },
              },
            },
          },
        },
      },
    },
  })
})

test('the document names every route with its answers', async () => {
  const { ask } = await served()
  const { paths } = (await (await ask('GET', '/openapi.json')).json()) as { paths: Record<string, object> }
  expect(Object.keys(paths)).toEqual(
    expect.arrayContaining(['/health', '/livez', '/readyz', '/pressure', '/sessions/{id}/messages']),
  )
  expect(paths['/sessions/{id}/messages']).toMatchObject({
    post: { requestBody: { content: { 'application/json': {} } }, responses: { 429: {} } },
  })
})

interface Operation {
  parameters?: { name: string; in: string; required?: boolean }[]
}

test('the document names each part of a path as required', async () => {
  const { ask } = await served()
  const { paths } = (await (await ask('GET', '/openapi.json')).json()) as {
    paths: Record<string, Record<string, Operation>>
  }
  for (const [path, operations] of Object.entries(paths)) {
    const parts = Array.from(path.matchAll(/\{(\w+)\}/g), ([, name]) => name)
    for (const { parameters = [] } of Object.values(operations)) {
      const named = parameters.filter((parameter) => parameter.in === 'path')
      expect([path, ...named.filter(({ required }) => required === true).map(({ name }) => name)]).toEqual([
        path,
        ...parts,
      ])
    }
  }
})
