import { once } from 'node:events'
import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { expect, onTestFinished, test, vi } from 'vitest'
import { ConfigError } from '../../../src/errors.ts'
import type { Credentials } from '../../../src/fleet/credentials.ts'
import { ModelCalls } from '../../../src/fleet/model-calls.ts'
import type { ModelAnswer, ModelRequest } from '../../../src/fleet/model-calls.ts'
import { temporaryFolder } from '../../fixtures/temporary-folder.ts'

type Granted = Partial<ReturnType<Credentials['grant']>>

const COUNT: ModelRequest = { method: 'POST', path: '/v1/messages?beta=true', body: '{"text":"ü"}' }

/** Calls by a proxy that listens at a socket and gives every way these variables, and what it was asked. */
async function calls(env: Readonly<Record<string, string>> = {}, granted: () => Granted = () => ({})) {
  const requests: { method?: string | undefined; url?: string | undefined; headers: object; body: string }[] = []
  let answer = (_: IncomingMessage, response: ServerResponse): void =>
    void response.writeHead(201, { 'request-id': 'r' }).end('{"ok":true}')
  const server = createServer((request, response) => {
    void text(request).then((body) => {
      const { method, url, headers } = request
      requests.push({ method, url, headers, body })
      answer(request, response)
    })
  })
  const socketPath = join(await temporaryFolder(), 's')
  server.listen(socketPath)
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  const [tenants, revoked]: [string[], string[]] = [[], []]
  const credentials = {
    grant: (worker: { id: string; tenant: string }, environment: () => Record<string, string>) => {
      tenants.push(`${worker.id} ${worker.tenant}`)
      const own = {
        ANTHROPIC_API_KEY: 'cap-1',
        ANTHROPIC_BASE_URL: 'http://api.example',
        ANTHROPIC_UNIX_SOCKET: socketPath,
      }
      return { env: { ...own, ...environment(), ...env }, ready: Promise.resolve(), ...granted() }
    },
    revoke: (worker: string) => void revoked.push(worker),
  } as unknown as Credentials
  const model = new ModelCalls({ credentials, environment: () => ({}) })
  return {
    model,
    requests,
    tenants,
    revoked,
    server,
    socketPath,
    answerBy: (next: typeof answer) => (answer = next),
  }
}

const read = async (answer: ModelAnswer): Promise<string> => {
  const said = await text(answer.body)
  if (!answer.body.closed) await once(answer.body, 'close')
  return said
}

test('A call reaches the proxy with its token, the body and the headers of the API, and no other header', async () => {
  const { model, requests } = await calls()
  const headers = { 'anthropic-version': '2023-06-01', 'anthropic-beta': undefined, cookie: 'secret' }
  const answer = await model.call('acme', { ...COUNT, headers })
  expect([answer.status, answer.headers['request-id'], await read(answer)]).toEqual([201, 'r', '{"ok":true}'])
  expect(requests).toEqual([
    {
      method: 'POST',
      url: '/v1/messages?beta=true',
      body: '{"text":"ü"}',
      headers: {
        'x-api-key': 'cap-1',
        'anthropic-version': '2023-06-01',
        accept: 'application/json',
        'content-type': 'application/json',
        'content-length': '13',
        host: expect.any(String),
        connection: 'close',
      },
    },
  ])
})

test('A call without a body sends none, below the path of the base URL', async () => {
  const { model, requests } = await calls({ ANTHROPIC_BASE_URL: 'http://api.example/llm//' })
  await read(await model.call('acme', { method: 'GET', path: '/v1/models' }))
  expect(requests).toMatchObject([{ method: 'GET', url: '/llm/v1/models', body: '' }])
  expect(requests[0]?.headers).not.toHaveProperty('content-type')
})

test('Without a socket the proxy is reached on loopback, at its late port if it has one', async () => {
  const server = createServer((_, response) => void response.end('port')).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  const { port } = server.address() as AddressInfo
  const credentials = (late: Record<string, string> | undefined, base: string): Credentials =>
    ({
      grant: () => ({
        env: { ANTHROPIC_AUTH_TOKEN: 'cap-2', ANTHROPIC_BASE_URL: base },
        ready: Promise.resolve(),
        ...(late === undefined ? {} : { lateEnv: Promise.resolve(late) }),
      }),
    }) as unknown as Credentials
  const said = async (...args: Parameters<typeof credentials>): Promise<string> => {
    const model = new ModelCalls({ credentials: credentials(...args), environment: () => ({}) })
    return read(await model.call('acme', { method: 'GET', path: '/v1/models' }))
  }
  expect(await said(undefined, `http://127.0.0.1:${port}`)).toBe('port')
  expect(await said({ ANTHROPIC_BASE_URL: `http://127.0.0.1:${port}/` }, 'http://127.0.0.1:1')).toBe('port')
})

test.each([
  ['a key that the proxy does not hold', { ANTHROPIC_API_KEY: 'sk-real' }],
  ['a cloud', { CLAUDE_CODE_USE_BEDROCK: '1' }],
  ['another cloud', { CLAUDE_CODE_USE_VERTEX: '1' }],
  ['a third cloud', { CLAUDE_CODE_USE_FOUNDRY: '1' }],
])('With %s no call is possible, and its way is given up', async (_, env) => {
  const { model, revoked } = await calls(env)
  await expect(model.call('acme', COUNT)).rejects.toThrow(ConfigError)
  await expect(model.call('acme', COUNT)).rejects.toThrow('has no key or authToken')
  expect(revoked).toEqual(['model-1', 'model-2'])
})

test('Without a credential proxy no call is possible', async () => {
  const model = new ModelCalls({ credentials: undefined, environment: () => ({}) })
  await expect(model.call('acme', COUNT)).rejects.toThrow('isolation.credentials')
  expect(() => model.close()).not.toThrow()
})

test('A tenant keeps its way, and another tenant has another one, until all are closed', async () => {
  const { model, tenants, revoked } = await calls()
  for (const tenant of ['a', 'b', 'a']) await read(await model.call(tenant, COUNT))
  expect(tenants).toEqual(['model-1 a', 'model-2 b'])
  model.close()
  expect(revoked.toSorted()).toEqual(['model-1', 'model-2'])
  await read(await model.call('a', COUNT))
  expect(tenants.at(-1)).toBe('model-3 a')
})

test('Of more than 64 tenants the one that called longest ago loses its way, but none that has a call under way', async () => {
  const { model, revoked, answerBy } = await calls()
  const open = Promise.withResolvers<ServerResponse>()
  answerBy((_, response) => {
    response.writeHead(200).write('{')
    open.resolve(response)
  })
  const running = await model.call('t0', COUNT)
  const response = await open.promise
  answerBy((_, each) => void each.end())
  for (let tenant = 1; tenant < 64; tenant += 1) await read(await model.call(`t${tenant}`, COUNT))
  await read(await model.call('t1', COUNT))
  expect(revoked).toEqual([])
  await read(await model.call('t64', COUNT))
  expect(revoked).toEqual(['model-3'])
  response.end('}')
  await read(running)
  await read(await model.call('t65', COUNT))
  expect(revoked).toEqual(['model-3', 'model-1'])
})

test('A way that does not come about is given up, and the next call tries again', async () => {
  let fails = true
  const { model, revoked, tenants } = await calls({}, () =>
    fails ? { ready: Promise.reject(new Error('no proxy')) } : {},
  )
  await expect(model.call('a', COUNT)).rejects.toThrow('no proxy')
  await vi.waitFor(() => expect(revoked).toEqual(['model-1']))
  fails = false
  expect((await model.call('a', COUNT)).status).toBe(201)
  expect(tenants).toEqual(['model-1 a', 'model-2 a'])
})

test('A call can be ended, before its answer and after', async () => {
  const { model, answerBy, requests } = await calls()
  answerBy(() => undefined)
  const before = new AbortController()
  const call = model.call('a', { ...COUNT, signal: before.signal })
  await vi.waitFor(() => expect(requests).toHaveLength(1))
  before.abort()
  await expect(call).rejects.toThrow('aborted')
  answerBy((_, response) => void response.writeHead(200).write('{'))
  const after = new AbortController()
  const { body } = await model.call('a', { ...COUNT, signal: after.signal })
  after.abort()
  await vi.waitFor(() => expect(body.destroyed).toBe(true))
})
