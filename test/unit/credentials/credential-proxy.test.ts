import { once } from 'node:events'
import { createServer, request } from 'node:http'
import type { ClientRequest, IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { connect } from 'node:net'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { expect, onTestFinished, test } from 'vitest'
import { systemClock } from '../../../src/clock.ts'
import { CredentialProxy } from '../../../src/credentials/credential-proxy.ts'
import { readBudgets } from '../../../src/options/budgets.ts'
import { MemoryStore } from '../../../src/store/memory.ts'
import { messageEvents } from '../../fixtures/model-stream.ts'
import { temporaryFolder } from '../../fixtures/temporary-folder.ts'
import { until } from '../../fixtures/real-pool.ts'

interface Way {
  socketPath: string
  token: string
}

interface Setting {
  proxy: CredentialProxy
  env: Record<string, string>
  way: Way
  /** Requests as the API gets them, in order. */
  next: () => Promise<{ incoming: IncomingMessage; response: ServerResponse }>
}

/** A proxy between one worker and an API that the test plays. */
async function setting({ claudeVersion = '2.1.332' } = {}): Promise<Setting> {
  const arrived: { incoming: IncomingMessage; response: ServerResponse }[] = []
  const waiting: ((call: { incoming: IncomingMessage; response: ServerResponse }) => void)[] = []
  const hear: RequestListener = (incoming, response) => {
    const call = { incoming, response }
    const waiter = waiting.shift()
    if (waiter === undefined) arrived.push(call)
    else waiter(call)
  }
  const api = createServer(hear).listen(0, '127.0.0.1')
  await once(api, 'listening')
  const socketDir = join(await temporaryFolder(), 'sockets')
  const proxy = new CredentialProxy({
    clock: systemClock,
    store: new MemoryStore(),
    budgets: readBudgets({ tenant: { tokens: 1e9 } }),
    socketDir,
    claudeVersion,
    environment: {},
  })
  onTestFinished(async () => {
    await proxy.close()
    api.closeAllConnections()
    api.close()
  })
  await proxy.open()
  const worker = { id: 'w-1', agent: 'a', tenant: 't', session: 's', executable: undefined }
  const granted = proxy.grant(worker, () => ({
    ANTHROPIC_BASE_URL: `http://127.0.0.1:${(api.address() as AddressInfo).port}`,
    ANTHROPIC_API_KEY: 'real',
  }))
  await granted.ready
  const env = { ...granted.env, ...(await granted.lateEnv) }
  return {
    proxy,
    env,
    way: { socketPath: env['ANTHROPIC_UNIX_SOCKET'] ?? '', token: env['ANTHROPIC_API_KEY'] ?? '' },
    next: () => {
      const call = arrived.shift()
      return call === undefined ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve(call)
    },
  }
}

/** Begins a call; its body is the caller's to send. */
function begin({ socketPath, token }: Way, headers: Record<string, string> = {}): ClientRequest {
  const outgoing = request({
    socketPath,
    method: 'POST',
    path: '/v1/messages?beta=true',
    headers: { 'x-api-key': token, ...headers },
    agent: false,
  })
  outgoing.on('error', () => undefined)
  return outgoing
}

async function answerTo(outgoing: ClientRequest): Promise<IncomingMessage> {
  const [answer] = (await once(outgoing, 'response')) as [IncomingMessage]
  answer.on('error', () => undefined)
  return answer
}

async function text(answer: Readable): Promise<string> {
  let all = ''
  for await (const chunk of answer.setEncoding('utf8')) all += String(chunk)
  return all
}

const spentOf = async (proxy: CredentialProxy): Promise<number> => (await proxy.budget('t')).spent.tokens

test('A remote is reached with the token of its worker until that is gone, also by a proxy that was started again', async () => {
  const { proxy } = await setting()
  const far = createServer((incoming, response) => void response.end(incoming.headers.authorization)).listen(
    0,
    '127.0.0.1',
  )
  await once(far, 'listening')
  onTestFinished(() => void far.close())
  const url = `http://127.0.0.1:${(far.address() as AddressInfo).port}/api`
  const remote = { id: 'remote:app', mount: '/app', prefix: '/api', url, headers: { authorization: 'Bearer far' } }
  const grantTo = async (id: string) => {
    const worker = { id, agent: 'a', tenant: 't', session: id, executable: undefined, remotes: [remote] }
    const { base, tokens } = (await proxy.grant(worker, () => ({})).remotes) ?? { base: '', tokens: {} }
    return async (token = tokens['remote:app']): Promise<[number, string]> => {
      const answer = await fetch(`${base}/app/x`, { headers: { authorization: `Bearer ${token}` } })
      return [answer.status, await answer.text()]
    }
  }
  const [mine, other] = [await grantTo('w-2'), await grantTo('w-3')]
  expect([await mine(), await mine('car-other')]).toEqual([
    [200, 'Bearer far'],
    [401, expect.any(String)],
  ])
  process.kill(proxy.pid ?? 0, 'SIGKILL')
  await until(async () => expect(await mine()).toEqual([200, 'Bearer far']))
  proxy.revoke('w-2')
  await until(async () => expect((await mine())[0]).toBe(401))
  expect((await other())[0]).toBe(200)
})

const sse = (events: readonly object[]): string => events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join('')

const EVENTS = messageEvents('claude-sonnet-5', 'hello')

test('The proxy passes each piece on as it comes, in both directions', async () => {
  const { way, next } = await setting()
  const outgoing = begin(way)
  outgoing.write('{"first":')
  const { incoming, response } = await next()
  expect(incoming.headers).toMatchObject({ 'x-api-key': 'real', 'accept-encoding': 'identity' })
  expect(String((await once(incoming, 'data'))[0])).toBe('{"first":')
  outgoing.end('1}')
  expect(String((await once(incoming, 'data'))[0])).toBe('1}')
  response.writeHead(200, { 'content-type': 'text/event-stream', 'request-id': 'r-1' }).flushHeaders()
  const answer = await answerTo(outgoing)
  expect(answer.headers['request-id']).toBe('r-1')
  response.write('event: ping\n\n')
  expect(String((await once(answer, 'data'))[0])).toBe('event: ping\n\n')
  response.end('last')
  expect(String((await once(answer, 'data'))[0])).toBe('last')
})

test('The proxy passes errors of the API on as they are, and charges nothing for them', async () => {
  const { proxy, way, next } = await setting()
  const outgoing = begin(way)
  outgoing.end('{}')
  const { response } = await next()
  const body = '{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"r"}'
  response.writeHead(529, { 'content-type': 'application/json', 'retry-after': '7' }).end(body)
  const answer = await answerTo(outgoing)
  expect([answer.statusCode, answer.headers['retry-after'], await text(answer)]).toEqual([529, '7', body])
  expect(await spentOf(proxy)).toBe(0)
})

test('A caller that leaves ends the call of the API, and pays for what has come', async () => {
  const { proxy, way, next } = await setting()
  const outgoing = begin(way)
  outgoing.end('{}')
  const { response } = await next()
  const closed = once(response, 'close')
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  response.write(sse(EVENTS.slice(0, 3)))
  const answer = await answerTo(outgoing)
  await once(answer, 'data')
  outgoing.destroy()
  await closed
  await until(async () => expect(await spentOf(proxy)).toBeGreaterThanOrEqual(11))
})

test('A caller that leaves before any answer pays for what it has asked', async () => {
  const { proxy, way, next } = await setting()
  const outgoing = begin(way)
  outgoing.end('x'.repeat(40_000))
  const { incoming } = await next()
  await text(incoming)
  outgoing.destroy()
  await until(async () => expect(await spentOf(proxy)).toBe(10_000))
})

test('A reader that stops holds the API back, and gets everything once it reads', async () => {
  const { way, next } = await setting()
  const outgoing = begin(way)
  outgoing.end('{}')
  const { response } = await next()
  response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
  const answer = await answerTo(outgoing)
  const chunk = Buffer.alloc(256 * 1024, 'x')
  const LIMIT = 400
  let written = 0
  // Until nothing more is taken: buffers of this process, the proxy and the kernel are full.
  while (response.write(chunk) || (await Promise.race([once(response, 'drain').then(() => true), quiet(outgoing)]))) {
    written += 1
    expect(written).toBeLessThan(LIMIT)
  }
  written += 1
  response.end()
  let read = 0
  for await (const part of answer) read += (part as Buffer).length
  expect(read).toBe(written * chunk.length)
})

/** False after many turns of the event loop in which nothing has come. */
async function quiet(outgoing: ClientRequest): Promise<false> {
  for (let turn = 0; turn < 20_000 && !outgoing.destroyed; turn += 1)
    await new Promise((resolve) => setImmediate(resolve))
  return false
}

test('A CLI of which it is not known that it takes a socket reaches the proxy on loopback, also after the proxy has died', async () => {
  const { proxy, env, next } = await setting({ claudeVersion: '9.9.9' })
  const { ANTHROPIC_BASE_URL: url = '', ANTHROPIC_API_KEY: token = '' } = env
  const list = (key: string): Promise<Response> => fetch(`${url}/v1/models`, { headers: { 'x-api-key': key } })
  const served = async (): Promise<number> => {
    const answered = list(token)
    const { incoming, response } = await next()
    expect(incoming.headers['x-api-key']).toBe('real')
    response.end('{}')
    return (await answered).status
  }
  expect(await served()).toBe(200)
  expect((await list('cap-forged')).status).toBe(401)
  const { pid = 0 } = proxy
  process.kill(pid, 'SIGKILL')
  await until(() => expect(proxy.pid ?? pid).not.toBe(pid))
  await until(() => expect(list('cap-forged')).resolves.toMatchObject({ status: 401 }))
  expect(await served()).toBe(200)
})

test('The proxy starts ahead of the first worker if it has a credential to hold, and else does not', async () => {
  const socketDir = join(await temporaryFolder(), 'sockets')
  const budgets = readBudgets({})
  const proxy = new CredentialProxy({
    clock: systemClock,
    store: new MemoryStore(),
    budgets,
    socketDir,
    claudeVersion: undefined,
    environment: {},
  })
  onTestFinished(() => proxy.close())
  await proxy.open()
  proxy.startAhead({ ANTHROPIC_BASE_URL: 'http://127.0.0.1:9' })
  expect(proxy.pid).toBeUndefined()
  proxy.startAhead({ ANTHROPIC_API_KEY: 'real' })
  expect(proxy.pid).toBeGreaterThan(0)
})

test('An API that cannot be reached is an error that says so, which the CLI tries again', async () => {
  const { proxy } = await setting()
  const worker = { id: 'w-2', agent: 'a', tenant: 't', session: 's', executable: undefined }
  const { env, ready } = proxy.grant(worker, () => ({
    ANTHROPIC_BASE_URL: 'http://127.0.0.1:1',
    ANTHROPIC_API_KEY: 'real',
  }))
  await ready
  const outgoing = begin({ socketPath: env['ANTHROPIC_UNIX_SOCKET'] ?? '', token: env['ANTHROPIC_API_KEY'] ?? '' })
  outgoing.end('{}')
  const answer = await answerTo(outgoing)
  expect([answer.statusCode, answer.headers['x-should-retry']]).toEqual([502, 'true'])
  expect(JSON.parse(await text(answer))).toMatchObject({
    type: 'error',
    error: { type: 'api_error', message: expect.stringContaining('the API cannot be reached') as string },
  })
})

test('A request beyond 32 MB is refused, whether it says its size or not', async () => {
  const { way, next } = await setting()
  const told = begin(way, { 'content-length': String(33 * 2 ** 20) })
  told.flushHeaders()
  expect((await answerTo(told)).statusCode).toBe(413)
  const untold = begin(way)
  const answered = answerTo(untold)
  const chunk = Buffer.alloc(2 ** 20)
  untold.write(chunk)
  const { incoming } = await next()
  incoming.on('error', () => undefined).resume()
  for (let sent = 1; sent < 34 && !untold.destroyed; sent += 1)
    if (!untold.write(chunk)) await Promise.race([once(untold, 'drain'), answered])
  expect((await answered).statusCode).toBe(413)
})

test('A refused call with a large body gets the reason, and its connection does not break before', async () => {
  const { way } = await setting()
  const body = Buffer.alloc(24 * 2 ** 20)
  for (const [token, path, status] of [
    [way.token, '/v1/files', 404],
    ['cap-forged', '/v1/messages', 401],
  ] as const) {
    // Node's own client writes nothing after the body into a socket that may be closed by then, and fails.
    const socket = connect(way.socketPath)
    socket.write(`POST ${path} HTTP/1.1\r\nhost: a\r\nx-api-key: ${token}\r\ncontent-length: ${body.length}\r\n\r\n`)
    const written = new Promise((resolve) => socket.write(body, resolve))
    expect(await written, 'an error').toBeFalsy()
    expect(await text(socket)).toMatch(new RegExp(`^HTTP/1.1 ${status} .*"type":"error"`, 's'))
  }
})

test('A worker has so many calls at a time, and a call that ends makes room', async () => {
  const { way, next } = await setting()
  const calls = Array.from({ length: 32 }, () => begin(way))
  for (const call of calls) call.end('{}')
  const running = await Promise.all(calls.map(() => next()))
  const more = begin(way)
  more.end('{}')
  expect((await answerTo(more)).statusCode).toBe(429)
  running[0]?.response.writeHead(200, { 'content-type': 'text/event-stream' }).end(sse(EVENTS))
  await until(async () => {
    const again = begin(way)
    again.end('{}')
    const status = answerTo(again).then(({ statusCode }) => statusCode)
    const reached = next().then(({ response }) => response.writeHead(200).end('{}'))
    expect(await Promise.race([status, reached.then(() => 200)])).toBe(200)
  })
})

test('A worker that is gone has no calls under way, and they are charged', async () => {
  const { proxy, way, next } = await setting()
  const outgoing = begin(way)
  outgoing.end('{}')
  const { response } = await next()
  const closed = once(response, 'close')
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  response.write(sse(EVENTS.slice(0, 3)))
  await once(await answerTo(outgoing), 'data')
  proxy.revoke('w-1')
  await closed
  await until(async () => expect(await spentOf(proxy)).toBeGreaterThanOrEqual(11))
})
