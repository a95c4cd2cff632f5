import { Hono } from 'hono'
import { expect, test } from 'vitest'
import { Bodies } from '../../../../src/server/http/bodies.ts'
import { bodyOf, jsonBody } from '../../../../src/server/http/json-body.ts'
import type { ServerEnv } from '../../../../src/server/context.ts'
import { served } from '../../../fixtures/server.ts'

const JSON_ERROR = { error: { type: 'invalid_request_error' } }

test.each([
  ['/sessions/s/messages', `{"prompt":${'['.repeat(1_000)}`, 'more than 100 levels'],
  ['/v1/agents', '['.repeat(1_000_000), 'more than 100 levels'],
  ['/v1/agents', `{${Array.from({ length: 60_000 }, (_, index) => `"k${index}":1`).join()}}`, 'more than 50000 keys'],
  ['/ag-ui/assistant', `[${'1,'.repeat(300_000)}1]`, 'more than 250000 values'],
  ['/v1/sessions', '{"agent":', 'the body is not JSON'],
])('%s refuses a body that costs more than its bytes', async (path, body, problem) => {
  const { ask } = await served()
  const response = await ask('POST', path, { body })
  expect([response.status, await response.json()]).toMatchObject([
    400,
    { ...JSON_ERROR, error: { message: expect.stringContaining(problem) } },
  ])
})

test('a body of more than 8 MB passes only with events', async () => {
  const { ask } = await served()
  const body = JSON.stringify({ name: 'x'.repeat(8 * 2 ** 20) })
  const statuses = await Promise.all(
    ['/v1/agents', '/v1/environments', '/v1/sessions', '/v1/sessions/none/events'].map(
      async (path) => (await ask('POST', path, { body })).status,
    ),
  )
  expect(statuses).toEqual([413, 413, 413, 404])
})

test('a body that is refused is not read to its end', async () => {
  const { server } = await served()
  let pulled = 0
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
    pull(controller) {
      pulled += 1
      controller.enqueue(new TextEncoder().encode('['.repeat(1_000)))
    },
  })
  const request = new Request('http://localhost/v1/agents', { method: 'POST', body, duplex: 'half' } as RequestInit)
  expect((await server.fetch(request)).status).toBe(400)
  expect(pulled).toBeLessThan(5)
})

test('characters that arrive in pieces, and a byte order mark, are read as they are meant', async () => {
  const { server, pool } = await served()
  const bytes = new TextEncoder().encode('\uFEFF{"name":"Käse 🧀","model":"claude-sonnet-5"}')
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
    start(controller) {
      for (const byte of bytes) controller.enqueue(Uint8Array.of(byte))
      controller.close()
    },
  })
  const request = new Request('http://localhost/v1/agents', { method: 'POST', body, duplex: 'half' } as RequestInit)
  expect(await (await server.fetch(request)).json()).toMatchObject({ name: 'Käse 🧀' })
  expect(pool.agents).toEqual(['assistant'])
})

test('large bodies of one tenant take half of the room at most, and small ones none', () => {
  const bodies = new Bodies(undefined, 1_000_000)
  bodies.hold('a', 400_000)
  expect(() => bodies.hold('a', 200_000)).toThrow('as many large requests as it can')
  bodies.hold('b', 450_000)
  expect(() => bodies.hold('c', 200_000)).toThrow('as many large requests as it can')
  bodies.hold('a', -400_000)
  bodies.hold('c', 200_000)
})

test('what a body held is free again when its request is answered, however', async () => {
  const app = new Hono<ServerEnv>()
  const read: number[] = []
  const bodies = new Bodies((_tenant, bytes) => void read.push(bytes), 400_000)
  app.use(async (c, next) => {
    c.set('bodies', bodies)
    c.set('caller', { tenant: 't', name: 't' })
    await next()
  })
  app.post('/', jsonBody(1_000_000, 'too large'), (c) => {
    if (bodyOf(c.req.raw) === 'bad') throw new Error('it fails')
    return c.json((bodyOf(c.req.raw) as string).length)
  })
  app.onError((_error, c) => c.text('failed', 500))
  const post = (body: string): Promise<Response> =>
    Promise.resolve(app.fetch(new Request('http://localhost/', { method: 'POST', body })))
  const large = JSON.stringify('x'.repeat(150_000))
  for (let number = 0; number < 3; number += 1) {
    expect(await (await post(large)).json()).toBe(150_000)
    expect((await post(`${large}]`)).status).toBe(500)
  }
  expect(read).toEqual([150_002, 150_002, 150_002])
  const [one, two] = await Promise.all([post(large), post(large)])
  expect(new Set([one?.status, two?.status])).toEqual(new Set([200, 500]))
})
