import { join } from 'node:path'
import Anthropic from '@anthropic-ai/sdk'
import { describe, expect, test } from 'vitest'
import { hashKey } from '../../../../src/server/auth/authenticator.ts'
import { createServer } from '../../../../src/server/app.ts'
import { SqliteApiStore } from '../../../../src/server/api-store/sqlite.ts'
import { NO_SPARES } from '../../../fixtures/fakes.ts'
import { typesOf } from '../../../fixtures/official-client.ts'
import { served } from '../../../fixtures/server.ts'
import type { ServedFakes } from '../../../fixtures/server.ts'
import { SettableClock } from '../../../fixtures/settable-clock.ts'
import { temporaryFolder } from '../../../fixtures/temporary-folder.ts'

const HOUR_MS = 60 * 60 * 1000

const serve = (options: Parameters<typeof served>[0] = {}) => served(options, { agents: { assistant: NO_SPARES } })

const AGENT = { name: 'Helper', model: 'claude-sonnet-5' }
const SESSION = { agent: 'agent_assistant', environment_id: 'env_local' }
const say = (text: string) => ({ type: 'user.message', content: [{ type: 'text', text }] })

interface Answer {
  status: number
  body: Record<string, unknown> & { error?: { message: string } }
  headers: Headers
}

/** Posts with a key. */
async function post(
  { ask }: Pick<ServedFakes, 'ask'>,
  path: string,
  body: unknown,
  key: string,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const answer = await ask('POST', path, { body, headers: { 'idempotency-key': key, ...headers } })
  return { status: answer.status, body: (await answer.json()) as Answer['body'], headers: answer.headers }
}

async function countOf({ ask }: Pick<ServedFakes, 'ask'>, path: string): Promise<number> {
  const { data } = (await (await ask('GET', path)).json()) as { data: unknown[] }
  return data.length
}

/** A client of Anthropic's whose next answers get lost on their way, each once it is there. */
function unlucky({ server }: ServedFakes, lost: number): Anthropic {
  let left = lost
  return new Anthropic({
    apiKey: 'any',
    baseURL: 'http://localhost',
    maxRetries: 2,
    async fetch(url, init) {
      const answer = await server.fetch(new Request(url as string, init as RequestInit))
      left -= 1
      if (left >= 0) throw new TypeError('terminated')
      return answer
    },
  })
}

describe('A request that is sent again with its key', () => {
  test('gets the first answer, and is done once', async () => {
    const all = await serve()
    const first = await post(all, '/v1/agents', AGENT, 'one')
    const again = await post(all, '/v1/agents', AGENT, 'one')
    expect(first.status).toBe(200)
    expect(again.body).toEqual(first.body)
    expect([first, again].map(({ headers }) => headers.get('idempotent-replayed'))).toEqual([null, 'true'])
    expect(await countOf(all, '/v1/agents')).toBe(2)
    await post(all, '/v1/agents', AGENT, 'two')
    expect(await countOf(all, '/v1/agents')).toBe(3)
  })

  test('runs its prompt once, when its official client has lost the answer', async () => {
    const all = await serve()
    const { body } = await post(all, '/v1/sessions', SESSION, 'begin')
    const id = String(body['id'])
    const { events } = unlucky(all, 2).beta.sessions
    const options = { headers: { 'Idempotency-Key': 'a1b2' } }
    const { data } = await events.send(id, { events: [say('hello') as never] }, options)
    await expect.poll(async () => typesOf((await events.list(id)).data ?? [])).toContain('session.status_idle')
    const said = (await events.list(id)).data ?? []
    expect(said.filter(({ type }) => type === 'user.message').map((event) => event.id)).toEqual([data?.[0]?.id])
    expect(all.driver.processes.flatMap(({ prompts }) => prompts)).toHaveLength(1)
  })

  test('runs it twice where its client sends no key', async () => {
    const all = await serve()
    const { body } = await post(all, '/v1/sessions', SESSION, 'begin')
    const { events } = unlucky(all, 1).beta.sessions
    await events.send(String(body['id']), { events: [say('hello') as never] })
    await expect.poll(() => all.driver.processes.flatMap(({ prompts }) => prompts)).toHaveLength(2)
  })

  test('gets it whatever it posts to', async () => {
    const all = await serve()
    const [agent, environment, session] = await Promise.all(
      (['agents', 'environments', 'sessions'] as const).map(async (kind, index) => {
        const body = [AGENT, { name: 'Mine' }, SESSION][index]
        const { status, body: made } = await post(all, `/v1/${kind}`, body, 'create')
        expect(status).toBe(200)
        return `/v1/${kind}/${String(made['id'])}`
      }),
    )
    const requests: [string, unknown][] = [
      [`${agent}`, { name: 'Other' }],
      [`${environment}`, { name: 'Other' }],
      [`${session}`, { title: 'Other' }],
      [`${session}/events`, { events: [{ type: 'system.message', content: [{ type: 'text', text: 'x' }] }] }],
      ...[agent, environment, session].map((path): [string, unknown] => [`${path}/archive`, undefined]),
    ]
    for (const [path, body] of requests) {
      const first = await post(all, path, body, 'change')
      const again = await post(all, path, body, 'change')
      expect([path, again.status, again.body]).toEqual([path, 200, first.body])
      expect(again.headers.has('idempotent-replayed')).toBe(true)
    }
  })

  test('gets it for 24 hours', async () => {
    const clock = new SettableClock()
    const all = await served({}, { agents: { assistant: NO_SPARES }, clock })
    const first = await post(all, '/v1/agents', AGENT, 'one')
    clock.standStill(24 * HOUR_MS)
    expect((await post(all, '/v1/agents', AGENT, 'one')).body).toEqual(first.body)
    clock.standStill(1)
    expect((await post(all, '/v1/agents', AGENT, 'one')).body).not.toEqual(first.body)
  })

  test('gets it for 24 hours that have passed, whatever the machine’s clock is set to', async () => {
    const clock = new SettableClock()
    const all = await served({}, { agents: { assistant: NO_SPARES }, clock })
    const first = await post(all, '/v1/agents', AGENT, 'one')
    clock.shift = 48 * HOUR_MS
    expect((await post(all, '/v1/agents', AGENT, 'one')).body).toEqual(first.body)
    clock.shift = -48 * HOUR_MS
    const second = await post(all, '/v1/agents', AGENT, 'two')
    clock.shift = 0
    expect((await post(all, '/v1/agents', AGENT, 'two')).body).toEqual(second.body)
  })

  test('gets it after a restart', async () => {
    const resourceFile = join(await temporaryFolder(), 'api.sqlite')
    const { pool, clock } = await serve()
    const ask: ServedFakes['ask'] = async (_method, path, { body, headers = {} } = {}) => {
      const server = createServer(pool, { resourceFile, clock })
      try {
        return await server.fetch(
          new Request(`http://localhost${path}`, { method: 'POST', headers, body: JSON.stringify(body) }),
        )
      } finally {
        server.close()
      }
    }
    const first = await post({ ask }, '/v1/agents', AGENT, 'one')
    expect((await post({ ask }, '/v1/agents', AGENT, 'one')).body).toEqual(first.body)
  })

  test('is not done again when the server ended before it answered: that is said', async () => {
    const resourceFile = join(await temporaryFolder(), 'api.sqlite')
    const store = new SqliteApiStore(resourceFile)
    const bodyHash = hashKey(JSON.stringify(AGENT))
    const request = { tenant: 'default', method: 'POST', path: '/v1/agents', key: 'one', bodyHash, at: Date.now() }
    await store.answers.begin(request, { since: 0, max: 10 })
    store.close()
    const all = await serve({ resourceFile })
    const again = await post(all, '/v1/agents', AGENT, 'one')
    expect([again.status, again.headers.get('x-should-retry')]).toEqual([409, 'false'])
    expect(again.body.error?.message).toContain('the server ended while it worked on the first request of this key')
    expect(await countOf(all, '/v1/agents')).toBe(1)
  })

  test('is told when the first answer was too large to keep, and is not done again', async () => {
    const all = await serve()
    const large = { ...AGENT, system: 'x'.repeat(65_000), description: 'y'.repeat(2_000) }
    expect((await post(all, '/v1/agents', large, 'one')).status).toBe(200)
    const again = await post(all, '/v1/agents', large, 'one')
    expect([again.status, again.headers.get('x-should-retry')]).toEqual([409, 'false'])
    expect(again.body.error?.message).toContain('its answer had more than the 64 KiB that are kept')
    expect(await countOf(all, '/v1/agents')).toBe(2)
  })

  test('is done, when nothing came of the first', async () => {
    const all = await serve()
    const path = '/v1/sessions'
    const refused = await post(all, path, { ...SESSION, environment_id: 'env_none' }, 'one')
    expect(refused.status).toBe(404)
    expect((await post(all, path, SESSION, 'one')).status).toBe(200)
  })

  test('is not done again when some of its events were taken: the first error comes again', async () => {
    const all = await serve()
    const { body } = await post(all, '/v1/sessions', SESSION, 'begin')
    const path = `/v1/sessions/${String(body['id'])}/events`
    const result = { type: 'user.custom_tool_result', custom_tool_use_id: 'sevt_1' }
    const events = { events: [{ type: 'system.message', content: [{ type: 'text', text: 'x' }] }, result] }
    const answers = [await post(all, path, events, 'one'), await post(all, path, events, 'one')]
    for (const {
      status,
      headers,
      body: { error },
    } of answers) {
      expect([status, headers.get('x-should-retry')]).toEqual([400, 'false'])
      expect(error?.message).toMatch(/^events\.1: .* does not wait for a result; the event before it was taken$/)
    }
    expect(await countOf(all, path)).toBe(1)
  })

  test('knows nothing more of a session that was deleted', async () => {
    const all = await serve()
    const { body } = await post(all, '/v1/sessions', SESSION, 'begin')
    const path = `/v1/sessions/${String(body['id'])}`
    const event = { type: 'system.message', content: [{ type: 'text', text: 'secret' }] }
    await post(all, `${path}/events`, { events: [event] }, 'one')
    expect((await all.ask('DELETE', path)).status).toBe(200)
    expect((await post(all, `${path}/events`, { events: [event] }, 'one')).status).toBe(404)
  })
})

describe('A key', () => {
  test('is refused with another body, and the first answer stays', async () => {
    const all = await serve()
    const first = await post(all, '/v1/agents', AGENT, 'one')
    const other = await post(all, '/v1/agents', { ...AGENT, name: 'Other' }, 'one')
    expect(other.status).toBe(400)
    expect(other.body.error?.message).toContain('Idempotency-Key: the first request of this key had another body')
    expect((await post(all, '/v1/agents', AGENT, 'one')).body).toEqual(first.body)
  })

  test('is its tenant’s, and that of one path', async () => {
    const keys = ['ada', 'bob'].map((tenant) => ({ tenant, key: `cap_${tenant}_0123456789abcdef0123` }))
    const all = await serve({ keys: keys.map(({ tenant, key }) => ({ tenant, sha256: hashKey(key) })) })
    const as = (tenant: string) => ({ 'x-api-key': keys.find((other) => other.tenant === tenant)?.key ?? '' })
    const made = [
      await post(all, '/v1/environments', { name: 'A' }, 'one', as('ada')),
      await post(all, '/v1/environments', { name: 'A' }, 'one', as('bob')),
      await post(all, '/v1/sessions', SESSION, 'one', as('ada')),
    ]
    expect(made.map(({ status }) => status)).toEqual([200, 200, 200])
    expect(new Set(made.map(({ body }) => body['id'])).size).toBe(3)
  })

  test.each(['', 'with space', 'x'.repeat(256)])('is not "%s"', async (key) => {
    const all = await serve()
    const { status, body } = await post(all, '/v1/agents', AGENT, key)
    expect([status, body.error?.message]).toEqual([400, expect.stringContaining('Idempotency-Key: must have 1 to 255')])
  })

  test('is described at every POST of /v1 that takes it', async () => {
    const { ask } = await serve()
    const { paths } = (await (await ask('GET', '/openapi.json')).json()) as {
      paths: Record<string, Record<string, { parameters?: { name: string }[] }>>
    }
    const posts = Object.entries(paths).flatMap(([path, { post: described }]) =>
      path.startsWith('/v1/') && described !== undefined && !/^\/v1\/(?:messages|files|skills)\b/.test(path)
        ? [described.parameters?.map(({ name }) => name)]
        : [],
    )
    expect(posts.length).toBeGreaterThan(8)
    for (const names of posts) expect(names).toContain('Idempotency-Key')
  })

  test.each([
    ['POST', '/sessions/k/messages', 'is not supported by this request'],
    ['GET', '/sessions/k/messages', 'is not supported by this request'],
    ['POST', '/ag-ui/assistant', 'is not supported by this request'],
    ['GET', '/v1/sessions/sesn_1/events/stream', 'is not supported by this request'],
    ['POST', '/browser-tokens', 'is not supported by this request'],
  ])('is refused by name where the answer is a stream or a secret: %s %s', async (method, path, problem) => {
    const { ask, pool } = await serve()
    const answer = await ask(method, path, {
      headers: { 'idempotency-key': 'one' },
      ...(method === 'POST' ? { body: { prompt: 'hello' } } : {}),
    })
    expect(answer.status).toBe(400)
    expect(await answer.text()).toContain(`Idempotency-Key: ${problem}`)
    expect(await pool.sessions()).toEqual([])
  })

  test('is refused by name for uploads', async () => {
    const { server } = await serve()
    const body = new FormData()
    body.set('file', new Blob(['x']), 'x.txt')
    const headers = { 'idempotency-key': 'one' }
    const answer = await server.fetch(new Request('http://localhost/v1/files', { method: 'POST', headers, body }))
    expect(answer.status).toBe(400)
    expect(await answer.text()).toContain('Idempotency-Key: is not supported for uploads')
  })
})

describe('Of two requests at once with one key the second', () => {
  const path = '/v1/sessions'

  /** A server whose first session waits to be begun. */
  async function slow() {
    const all = await serve()
    const gate = Promise.withResolvers<void>()
    const begin = all.pool.session.bind(all.pool)
    let begun = 0
    all.pool.session = async (...given) => {
      begun += 1
      if (begun === 1) await gate.promise
      return begin(...given)
    }
    return { ...all, gate, begun: () => begun }
  }

  test('waits for the first, and gets its answer', async () => {
    const all = await slow()
    const both = [post(all, path, SESSION, 'one'), post(all, path, SESSION, 'one')]
    await expect.poll(all.begun).toBe(1)
    all.gate.resolve()
    const [first, second] = await Promise.all(both)
    expect(second?.body).toEqual(first?.body)
    expect(all.begun()).toBe(1)
  })

  test('is refused at once when its body is another', async () => {
    const all = await slow()
    const first = post(all, path, SESSION, 'one')
    await expect.poll(all.begun).toBe(1)
    expect((await post(all, path, { ...SESSION, title: 'Other' }, 'one')).status).toBe(400)
    all.gate.resolve()
    expect((await first).status).toBe(200)
  })

  test('is done itself when nothing came of the first', async () => {
    const all = await slow()
    const both = [post(all, path, SESSION, 'one'), post(all, path, SESSION, 'one')]
    await expect.poll(all.begun).toBe(1)
    all.gate.reject(new Error('no luck'))
    const [first, second] = await Promise.all(both)
    expect([first?.status, second?.status]).toEqual([500, 200])
  })
})
