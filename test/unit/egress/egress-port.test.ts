import { once } from 'node:events'
import { createServer as createHttp, request } from 'node:http'
import type { IncomingMessage, RequestListener } from 'node:http'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { describe, expect, onTestFinished, test } from 'vitest'
import { EgressPort } from '../../../src/egress/egress-port.ts'
import type { EgressLists } from '../../../src/egress/rules.ts'

/** A public address of documentation: nothing answers there. */
const PUBLIC = '203.0.113.7'

async function listenAt(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  return (server.address() as AddressInfo).port
}

/** What answers with its own words. */
async function plain(listener: RequestListener = (_request, response) => void response.end('hello')): Promise<number> {
  return listenAt(createHttp(listener))
}

interface Opened {
  port: EgressPort
  at: number
  /** One line for each connection that is over. */
  told: string[]
}

async function open(lists: EgressLists, names: Readonly<Record<string, string[]>> = {}): Promise<Opened> {
  const told: string[] = []
  const port = new EgressPort({
    lists,
    over: (place, { outcome, sentBytes, receivedBytes, problem }) =>
      told.push([`${place?.host}:${place?.port}`, outcome, sentBytes > 0, receivedBytes > 0, problem ?? ''].join(' ')),
    resolve: async (name) => names[name] ?? [],
  })
  const at = await listenAt(port.server)
  onTestFinished(() => port.close())
  return { port, at, told }
}

async function get(
  { at }: Opened,
  url: string,
  headers: Record<string, string> = {},
): Promise<{ status?: number; body: string }> {
  const asked = request({
    host: '127.0.0.1',
    port: at,
    path: url,
    headers: { host: 'proxy', ...headers },
    agent: false,
  }).end()
  const [answer] = (await once(asked, 'response')) as [IncomingMessage]
  return { ...(answer.statusCode === undefined ? {} : { status: answer.statusCode }), body: await text(answer) }
}

async function tunnel({ at }: Opened, authority: string): Promise<{ status?: number; socket: Socket; head: Buffer }> {
  const asked = request({ host: '127.0.0.1', port: at, method: 'CONNECT', path: authority, agent: false }).end()
  const [answer, socket, head] = (await Promise.race([
    once(asked, 'connect'),
    once(asked, 'response').then(([response]) => [response, (response as IncomingMessage).socket, Buffer.alloc(0)]),
  ])) as [IncomingMessage, Socket, Buffer]
  onTestFinished(() => void socket.destroy())
  return { ...(answer.statusCode === undefined ? {} : { status: answer.statusCode }), socket, head }
}

describe('A listed place', () => {
  test('is reached by plain HTTP and by CONNECT, and the bytes are told', async () => {
    const port = await plain()
    const opened = await open([[`127.0.0.1:${port}`]])
    expect(await get(opened, `http://127.0.0.1:${port}/`)).toEqual({ status: 200, body: 'hello' })
    const { status, socket } = await tunnel(opened, `127.0.0.1:${port}`)
    socket.end('GET / HTTP/1.0\r\n\r\n')
    expect([status, await text(socket)]).toEqual([200, expect.stringContaining('hello')])
    await expect.poll(() => opened.told).toEqual(Array(2).fill(`127.0.0.1:${port} passed true true `))
  })

  test('gets no headers that are for the proxy, and its own name', async () => {
    const port = await plain(({ headers }, response) => void response.end(JSON.stringify(headers)))
    const opened = await open([[`127.0.0.1:${port}`]])
    const headers = { 'proxy-authorization': 'secret', connection: 'x-hop', 'x-hop': '1', 'x-kept': '2' }
    const { body } = await get(opened, `http://127.0.0.1:${port}/`, headers)
    expect(JSON.parse(body)).toEqual({ host: `127.0.0.1:${port}`, 'x-kept': '2', connection: 'close' })
  })

  test('that does not listen is a failure, not a refusal', async () => {
    const server = createServer()
    const port = await listenAt(server)
    server.close()
    const opened = await open([[`127.0.0.1:${port}`]])
    expect((await tunnel(opened, `127.0.0.1:${port}`)).status).toBe(502)
    expect((await get(opened, `http://127.0.0.1:${port}/`)).status).toBe(502)
    await expect.poll(() => opened.told.map((line) => line.split(' ')[1])).toEqual(['failed', 'failed'])
  })
})

describe('What is refused', () => {
  test('a place that is not listed, in any way of writing it', async () => {
    const asked: string[] = []
    const port = await plain((_request, response) => {
      asked.push('reached')
      response.end()
    })
    const opened = await open([['allowed.example:443']])
    for (const host of ['127.0.0.1', '127.1', '0x7f000001', '2130706433', '[::ffff:127.0.0.1]', 'localhost']) {
      expect((await get(opened, `http://${host}:${port}/`)).status).toBe(403)
      expect((await tunnel(opened, `${host}:${port}`)).status).toBe(403)
    }
    expect([asked, new Set(opened.told.map((line) => line.split(' ')[1]))]).toEqual([[], new Set(['refused'])])
  })

  test.each([
    ['loopback', ['127.0.0.1']],
    ['cloud metadata', ['169.254.169.254']],
    ['a private network', ['10.1.2.3']],
    ['a private address beside a public one', [PUBLIC, '192.168.0.1']],
    ['IPv6 loopback', ['::1']],
    ['an IPv4 address in an IPv6 one', ['::ffff:10.0.0.1']],
  ])('a listed name that resolves to %s', async (_, addresses) => {
    const opened = await open([['rebound.example:80']], { 'rebound.example': addresses })
    const { status, body } = await get(opened, 'http://rebound.example/')
    expect([status, body]).toEqual([403, expect.stringContaining('which is not a public address')])
    expect((await tunnel(opened, 'rebound.example:80')).status).toBe(403)
  })

  test('a listed name of this machine, and one that does not resolve', async () => {
    const opened = await open([['localhost:80', 'gone.example:80']])
    expect((await get(opened, 'http://localhost/')).status).toBe(403)
    expect((await get(opened, 'http://gone.example/')).status).toBe(502)
  })

  test('what is no request for a proxy', async () => {
    const opened = await open([['allowed.example:443']])
    for (const url of ['/', 'https://allowed.example/', 'ftp://allowed.example/'])
      expect((await get(opened, url)).status).toBe(403)
    expect((await tunnel(opened, 'allowed.example')).status).toBe(403)
  })
})

test('a name is resolved once for each connection, and what was found is dialled', async () => {
  const port = await plain()
  let asked = 0
  const told: unknown[] = []
  const proxy = new EgressPort({
    lists: [[`once.example:${port}`]],
    over: (place) => told.push(place?.host),
    resolve: async () => [(asked += 1) === 1 ? PUBLIC : '127.0.0.1'],
  })
  const at = await listenAt(proxy.server)
  onTestFinished(() => proxy.close())
  const socket = connect(at, '127.0.0.1')
  onTestFinished(() => void socket.destroy())
  socket.write(`CONNECT once.example:${port} HTTP/1.1\r\nhost: x\r\n\r\n`)
  await expect.poll(() => asked).toBe(1)
  // It hangs at the first address: the second answer would have led to this machine.
  proxy.close()
  expect([asked, told]).toEqual([1, ['once.example']])
})

test('closing it ends every connection, and tells of it what it was', async () => {
  const silent = createServer((socket) => void socket.on('error', () => undefined))
  const port = await listenAt(silent)
  const opened = await open([[`127.0.0.1:${port}`]])
  const { socket } = await tunnel(opened, `127.0.0.1:${port}`)
  socket.on('error', () => undefined)
  const closed = once(socket, 'close')
  opened.port.close()
  expect(opened.told).toEqual([`127.0.0.1:${port} passed false false `])
  await closed
})

test('a header that has no end is cut', async () => {
  const opened = await open([['allowed.example:443']])
  const socket = connect(opened.at, '127.0.0.1')
  socket.on('error', () => undefined)
  const closed = new Promise<unknown>((resolve) => socket.once('close', resolve))
  socket.write(`GET http://allowed.example/ HTTP/1.1\r\nx: ${'x'.repeat(64 * 1024)}`)
  await closed
})
