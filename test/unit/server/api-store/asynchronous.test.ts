import { onTestFinished, expect, test } from 'vitest'
import type { ApiStore } from '../../../../src/server/index.ts'
import { SqliteApiStore } from '../../../../src/server/api-store/sqlite.ts'
import { hashKey } from '../../../../src/server/auth/authenticator.ts'
import { served } from '../../../fixtures/server.ts'
import type { ServedFakes } from '../../../fixtures/server.ts'

const KEY = 'cap_0123456789abcdef0123456789'
const headers = { 'x-api-key': KEY }

/** Every call takes a while before it works, as over a network: others come in between. */
const late = <T extends object>(part: T): T =>
  new Proxy(part, {
    get: (target, name) => {
      const method = Reflect.get(target, name) as (...words: unknown[]) => Promise<unknown>
      return async (...words: unknown[]) => {
        await new Promise((resolve) => setImmediate(resolve))
        return method.apply(target, words)
      }
    },
  })

async function server(): Promise<{
  post: (path: string, body?: object) => Promise<{ status: number; body: Record<string, unknown> }>
  get: (path: string) => Promise<Record<string, unknown>>
  all: ServedFakes
}> {
  const store = new SqliteApiStore(':memory:')
  onTestFinished(() => store.close())
  const apiStore: ApiStore = {
    resources: late(store.resources),
    answers: late(store.answers),
    tokens: late(store.tokens),
    eraseTenant: (tenant) => store.eraseTenant(tenant),
  }
  const keys = [{ tenant: 'acme', sha256: hashKey(KEY) }]
  const all = await served({ apiStore, keys, managedAgents: { define: true } })
  return {
    all,
    async post(path, body = {}) {
      const response = await all.ask('POST', path, { headers, body })
      return { status: response.status, body: (await response.json()) as Record<string, unknown> }
    },
    get: async (path) => (await (await all.ask('GET', path, { headers })).json()) as Record<string, unknown>,
  }
}

test('a server works with a store that takes its time', async () => {
  const { post, get, all } = await server()
  const { body: agent } = await post('/v1/agents', { name: 'Helper', model: 'm' })
  const { body: environment } = await post('/v1/environments', { name: 'e' })
  const { status, body: session } = await post('/v1/sessions', {
    agent: agent['id'],
    environment_id: environment['id'],
  })
  expect([status, session['status']]).toEqual([200, 'idle'])
  expect((await get('/v1/sessions'))['data']).toMatchObject([{ id: session['id'] }])
  const token = (await post('/browser-tokens', { agents: ['assistant'], sessions: ['s'] })).body['token'] as string
  const run = { threadId: 's', runId: 'r', messages: [], tools: [], context: [] }
  const asked = await all.ask('POST', '/ag-ui/assistant', { headers: { authorization: `Bearer ${token}` }, body: run })
  expect(asked.status).toBe(200)
  await asked.text()
})

test('changes of one resource at the same time are all kept', async () => {
  const { post, get } = await server()
  const changes = Array.from({ length: 5 }, (_, index) => ({ metadata: { [`k${index}`]: String(index) } }))
  const all = Object.assign({}, ...changes.map(({ metadata }) => metadata)) as object
  const { body: environment } = await post('/v1/environments', { name: 'e' })
  const { body: agent } = await post('/v1/agents', { name: 'Helper', model: 'm' })
  const { body: session } = await post('/v1/sessions', { agent: agent['id'], environment_id: environment['id'] })
  for (const path of [
    `/v1/environments/${String(environment['id'])}`,
    `/v1/agents/${String(agent['id'])}`,
    `/v1/sessions/${String(session['id'])}`,
  ]) {
    const answers = await Promise.all(changes.map((change) => post(path, change)))
    expect(answers.map(({ status }) => status)).toEqual(changes.map(() => 200))
    expect(await get(path)).toMatchObject({ metadata: all })
  }
})

test('a change does not bring back what is deleted meanwhile', async () => {
  const { post, all } = await server()
  const { body: environment } = await post('/v1/environments', { name: 'e' })
  const path = `/v1/environments/${String(environment['id'])}`
  const [, changed] = await Promise.all([all.ask('DELETE', path, { headers }), post(path, { name: 'x' })])
  expect([200, 404]).toContain(changed.status)
  expect((await all.ask('GET', path, { headers })).status).toBe(404)
})

test('a file and a store of one’s own exclude each other', async () => {
  const store = new SqliteApiStore(':memory:')
  onTestFinished(() => store.close())
  await expect(served({ apiStore: store, resourceFile: ':memory:' })).rejects.toThrow('is not used with apiStore')
})
