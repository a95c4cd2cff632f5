import { once } from 'node:events'
import http, { createServer, request } from 'node:http'
import type { IncomingMessage, RequestListener } from 'node:http'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { describe, expect, onTestFinished, test } from 'vitest'
import { RemoteRelay, aimOf } from '../../../src/egress/remote-relay.ts'
import type { RemoteRelayOptions } from '../../../src/egress/remote-relay.ts'

const SECRET = 'Bearer far-secret'

async function listen(listener: (...given: Parameters<RequestListener>) => unknown): Promise<number> {
  const server = createServer((request, response) => void listener(request, response)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.close()
    server.closeAllConnections()
  })
  return (server.address() as AddressInfo).port
}

interface Setting {
  relay: RemoteRelay
  port: number
  /** One line for each request that is over. */
  told: string[]
  ask: (
    path: string,
    options?: { method?: string; headers?: Record<string, string>; body?: string | Buffer },
  ) => Promise<IncomingMessage>
}

/** A relay between the test and a server that it plays. */
async function setting(url: string, options: Partial<RemoteRelayOptions> = {}): Promise<Setting> {
  const told: string[] = []
  const agents = { http: new http.Agent({ keepAlive: true }), https: new https.Agent({ keepAlive: true }) }
  const { pathname } = new URL(url)
  const remote = {
    id: 'mcp:shop',
    mount: '/shop',
    prefix: pathname.replace(/\/+$/, ''),
    url,
    headers: { authorization: SECRET, 'x-key': 'far-key' },
  }
  const relay = new RemoteRelay({
    remote,
    confined: false,
    agents,
    over: ({ host }, { outcome, sentBytes, receivedBytes, problem = '' }) =>
      told.push([host, outcome, sentBytes > 0, receivedBytes > 0, problem].join(' ')),
    ...options,
  })
  const port = await listen((asked, response) => void relay.pass(asked, response, asked.url ?? ''))
  onTestFinished(() => {
    relay.close()
    agents.http.destroy()
  })
  return {
    relay,
    port,
    told,
    ask: async (path, { method = 'GET', headers = {}, body } = {}) => {
      const asked = request({ host: '127.0.0.1', port, path, method, headers, agent: false })
      asked.on('error', () => undefined)
      asked.end(body)
      const [answer] = (await once(asked, 'response')) as [IncomingMessage]
      return answer
    },
  }
}

describe('A request at a local address', () => {
  test('gets the credential, without the token of the process and what belongs to its connection', async () => {
    const heard: IncomingMessage[] = []
    const far = await listen((asked, response) => {
      heard.push(asked)
      response.setHeader('x-own', 'yes').end('hello')
    })
    const { ask, told } = await setting(`http://127.0.0.1:${far}/mcp`)
    const headers = {
      authorization: 'Bearer token',
      te: 'trailers',
      'proxy-authorization': 'Basic x',
      'x-key': 'own',
      accept: 'a/b',
    }
    const answer = await ask('/shop/list?page=2', { headers })
    expect([answer.statusCode, answer.headers['x-own'], await text(answer)]).toEqual([200, 'yes', 'hello'])
    expect(heard.map(({ url }) => url)).toEqual(['/mcp/list?page=2'])
    expect(heard[0]?.headers).toMatchObject({
      authorization: SECRET,
      'x-key': 'far-key',
      accept: 'a/b',
      host: `127.0.0.1:${far}`,
    })
    expect(heard[0]?.headers).not.toHaveProperty('te')
    expect(heard[0]?.headers).not.toHaveProperty('proxy-authorization')
    await expect.poll(() => told).toEqual(['127.0.0.1 passed true true '])
  })

  test('keeps its method and body, and a repeated request uses the same connection', async () => {
    const ports = new Set<number | undefined>()
    const far = await listen(async (asked, response) => {
      ports.add(asked.socket.remotePort)
      response.end(`${asked.method} ${await text(asked)}`)
    })
    const { ask } = await setting(`http://127.0.0.1:${far}/mcp`)
    expect(await text(await ask('/shop', { method: 'POST', body: 'one' }))).toBe('POST one')
    expect(await text(await ask('/shop', { method: 'DELETE' }))).toBe('DELETE ')
    expect(ports.size).toBe(1)
  })

  test('is passed on as it comes, and a reader that stops holds the far side back', async () => {
    const chunk = Buffer.alloc(64 * 1024)
    let written = 0
    const stalled = Promise.withResolvers<void>()
    const far = await listen((_asked, response) => {
      while (written < 64 * 2 ** 20 && response.write(chunk)) written += chunk.length
      if (written < 64 * 2 ** 20) stalled.resolve()
      response.on('drain', () => {
        while (written < 64 * 2 ** 20 && response.write(chunk)) written += chunk.length
      })
    })
    const { ask } = await setting(`http://127.0.0.1:${far}/mcp`)
    const answer = await ask('/shop')
    await stalled.promise
    expect(written).toBeLessThan(64 * 2 ** 20)
    answer.destroy()
  })

  test('is refused beyond the largest body, announced or not', async () => {
    let whole = 0
    const far = await listen(async (asked, response) => {
      await text(asked).then(
        () => (whole += 1),
        () => undefined,
      )
      response.end()
    })
    const { ask, told } = await setting(`http://127.0.0.1:${far}/mcp`, { maxBodyBytes: 10 })
    const announced = await ask('/shop', { method: 'POST', body: 'x'.repeat(11) })
    const streamed = await ask('/shop', {
      method: 'POST',
      headers: { 'transfer-encoding': 'chunked' },
      body: 'x'.repeat(11),
    })
    expect([announced.statusCode, streamed.statusCode]).toEqual([413, 413])
    const fits = await ask('/shop', { method: 'POST', body: 'x'.repeat(10) })
    expect([fits.statusCode, whole]).toEqual([200, 1])
    await expect.poll(() => told.filter((line) => line.includes('at most 10 bytes')).length).toBe(2)
  })

  test('gets a redirect as an answer, which nobody follows with the credential', async () => {
    const asked: (string | undefined)[] = []
    const other = await listen((incoming, response) => {
      asked.push(incoming.headers.authorization)
      response.end()
    })
    const far = await listen((incoming, response) => {
      const to = incoming.url === '/mcp/away' ? `http://127.0.0.1:${other}/x` : '/mcp/here?a=1'
      response.writeHead(307, { location: to }).end()
    })
    const { ask } = await setting(`http://127.0.0.1:${far}/mcp`)
    const [away, here] = [await ask('/shop/away'), await ask('/shop/there')]
    expect([away.statusCode, away.headers.location]).toEqual([307, `http://127.0.0.1:${other}/x`])
    expect([here.statusCode, here.headers.location]).toEqual([307, '/shop/here?a=1'])
    expect(asked).toEqual([])
  })

  test('ends at the far side when its caller leaves before there is an answer', async () => {
    const [begun, ended] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const far = await listen((_asked, response) => {
      response.on('close', () => ended.resolve())
      begun.resolve()
    })
    const { port } = await setting(`http://127.0.0.1:${far}/mcp`)
    const asked = request({ host: '127.0.0.1', port, path: '/shop', agent: false }).on('error', () => undefined)
    asked.end()
    await begun.promise
    asked.destroy()
    await ended.promise
  })

  test('does not take the token of the process along, whatever the credential is', async () => {
    const heard: IncomingMessage[] = []
    const far = await listen((asked, response) => {
      heard.push(asked)
      response.end()
    })
    const url = `http://127.0.0.1:${far}/mcp`
    const remote = { id: 'a', mount: '/shop', prefix: '/mcp', url, headers: { 'x-key': 'k' } }
    const { ask } = await setting(url, { remote })
    await ask('/shop', { headers: { authorization: 'Bearer token' } })
    expect(heard[0]?.headers).toMatchObject({ 'x-key': 'k' })
    expect(heard[0]?.headers).not.toHaveProperty('authorization')
  })

  test('ends when its process is gone, and is told', async () => {
    const far = await listen((_asked, response) => response.writeHead(200).flushHeaders())
    const { ask, relay, told } = await setting(`http://127.0.0.1:${far}/mcp`)
    const answer = await ask('/shop')
    const cut = once(answer, 'error')
    relay.close()
    answer.resume()
    expect((await cut)[0]).toMatchObject({ code: 'ECONNRESET' })
    await expect.poll(() => told).toEqual(['127.0.0.1 passed true true the process is gone'])
  })

  test('is an error that names the place when nothing answers there', async () => {
    const { ask, told } = await setting('http://127.0.0.1:1/mcp')
    const answer = await ask('/shop')
    expect([answer.statusCode, await text(answer)]).toEqual([
      502,
      expect.stringContaining('127.0.0.1:1 cannot be reached'),
    ])
    expect(told).toEqual([expect.stringMatching(/^127\.0\.0\.1 failed/)])
  })
})

describe('A remote of a confined process', () => {
  test('must have a public address, and is dialled where its name was found', async () => {
    const names: Record<string, string[]> = { 'inner.example.com': ['10.0.0.1'], 'none.example.com': [] }
    const confined = { confined: true, resolve: async (name: string) => names[name] ?? [] }
    const inner = await setting('http://inner.example.com/mcp', confined)
    expect((await inner.ask('/shop')).statusCode).toBe(403)
    expect(inner.told).toEqual([expect.stringContaining('resolves to 10.0.0.1')])
    const none = await setting('http://none.example.com/mcp', confined)
    expect((await none.ask('/shop')).statusCode).toBe(502)
  })

  test('that is named by its address is reached there', async () => {
    const far = await listen((_asked, response) => void response.end('hello'))
    const { ask } = await setting(`http://127.0.0.1:${far}/mcp`, { confined: true })
    expect(await text(await ask('/shop'))).toBe('hello')
  })
})

describe('The path of a local address', () => {
  const remote = { mount: '/shop', prefix: '/a/b', url: 'https://mcp.example.com:8443/a/b/?key=k' }
  test.each([
    ['/shop', 'https://mcp.example.com:8443/a/b'],
    ['/shop/', 'https://mcp.example.com:8443/a/b/?key=k'],
    ['/shop/c%20d?x=1', 'https://mcp.example.com:8443/a/b/c%20d?x=1'],
    ['/shop//c', 'https://mcp.example.com:8443/a/b//c'],
    ['/shop/?x=1', 'https://mcp.example.com:8443/a/b/?x=1&key=k'],
    ['/shop/@evil.example/', 'https://mcp.example.com:8443/a/b/@evil.example/'],
  ])('%s stands for %s', (path, url) => {
    const aim = aimOf(remote, path)
    expect('url' in aim && aim.url.href).toBe(url)
  })

  test.each([
    '/',
    '/shopping',
    '/shop@evil.example',
    '/shop:1/x',
    '/shop/../x',
    '/shop/%2e%2e/x',
    '/shop/..%2fx',
    '/shop/%252e%252e%252fx',
    '/shop/x\\..\\..\\y',
    '/shop/./x',
    '/shop/.\t./x',
  ])('%s leads nowhere', (path) => {
    expect(aimOf(remote, path)).toHaveProperty('problem')
  })

  test('of another remote is not there', () => {
    expect(aimOf(remote, '/shopping')).toMatchObject({ status: 404 })
  })
})
