import { once } from 'node:events'
import { createServer } from 'node:http'
import type { ServerResponse } from 'node:http'
import { Socket, connect } from 'node:net'
import type { AddressInfo } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { Connections, readConnectionLimits } from '../../../../src/server/http/connections.ts'
import type { ConnectionLimits } from '../../../../src/server/http/connections.ts'

interface Site {
  connections: Connections
  /** A connection from this address of the machine. */
  open: (localAddress?: string) => Promise<Socket>
  /** Sends a request that is not answered yet. */
  ask: (socket: Socket, key?: string) => Promise<ServerResponse>
  refused: () => number
  /** Requests that were served. */
  asked: () => number
}

async function site(limits: ConnectionLimits): Promise<Site> {
  let requests = 0
  const http = createServer(() => (requests += 1))
  let refused = 0
  const connections = new Connections(limits, () => (refused += 1))
  connections.attach(http)
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  const { port } = http.address() as AddressInfo
  const sockets: Socket[] = []
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy()
    http.close()
    http.closeAllConnections()
  })
  return {
    connections,
    async open(localAddress = '127.0.0.1') {
      const socket = connect({ port, host: '127.0.0.1', localAddress })
      sockets.push(socket)
      socket.on('error', () => undefined).resume()
      const accepted = once(http, 'connection')
      await Promise.all([once(socket, 'connect'), accepted])
      return socket
    },
    async ask(socket, key) {
      const asked = once(http, 'request') as Promise<[unknown, ServerResponse]>
      socket.write(`GET / HTTP/1.1\r\nHost: localhost\r\n${key === undefined ? '' : `X-Api-Key: ${key}\r\n`}\r\n`)
      return (await asked)[1]
    },
    refused: () => refused,
    asked: () => requests,
  }
}

const closed = async (socket: Socket): Promise<void> => {
  if (!socket.closed) await once(socket, 'close')
}

test('the connection that has been without a request for longest makes room for a new one', async () => {
  const { open, connections, refused } = await site({ max: 3, perAddress: 3 })
  const first = await open()
  const others = [await open(), await open()]
  others.push(await open())
  await closed(first)
  expect([connections.size, refused(), others.map((socket) => socket.closed)]).toEqual([3, 1, [false, false, false]])
})

test('a connection with a request is never closed for another, and counts as new once it is answered', async () => {
  const { open, ask, connections } = await site({ max: 2, perAddress: 2 })
  const busy = await open()
  const response = await ask(busy)
  const second = await open()
  await open()
  await closed(second)
  const answered = once(response, 'close')
  response.end()
  await answered
  const [fourth] = [await open()]
  expect([busy.closed, fourth?.closed, connections.size]).toEqual([false, false, 2])
})

test('a connection that has brought a good key is closed after all those that have not', async () => {
  const { open, ask } = await site({ max: 3, perAddress: 3 })
  const answer = async (socket: Socket, key: string, status: number): Promise<void> => {
    const response = await ask(socket, key)
    const answered = once(response, 'close')
    response.writeHead(status).end()
    await answered
  }
  const known = await open()
  await answer(known, 'good', 200)
  const stranger = await open()
  await answer(stranger, 'bad', 401)
  const idle = await open()
  await open()
  await closed(stranger)
  await open()
  await closed(idle)
  expect(known.closed).toBe(false)
})

test('a connection that sends many requests without waiting for answers is closed', async () => {
  const { open, connections, asked } = await site({ max: 3, perAddress: 3 })
  const socket = await open()
  socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(1_000))
  await closed(socket)
  expect([connections.size, asked()]).toEqual([0, 16])
})

test('when all connections are busy a new one is closed', async () => {
  const { open, ask, connections, refused } = await site({ max: 2, perAddress: 2 })
  for (const socket of [await open(), await open()]) await ask(socket)
  await closed(await open())
  expect([connections.size, refused()]).toEqual([2, 1])
})

test('one address takes no place from another', async () => {
  const { open, connections } = await site({ max: 4, perAddress: 2 })
  const other = await open('127.0.0.2')
  const flood = [await open(), await open(), await open(), await open()]
  await Promise.all(flood.slice(0, 2).map(closed))
  expect([other.closed, connections.size]).toEqual([false, 3])
})

/** Says which of these addresses a server of one connection an address takes for one client. */
function closedOf(addresses: readonly string[]): boolean[] {
  const server = createServer()
  new Connections({ max: 100, perAddress: 1 }, () => undefined).attach(server)
  const sockets = addresses.map((address) => {
    const socket = new Socket()
    Object.defineProperty(socket, 'remoteAddress', { value: address })
    server.emit('connection', socket)
    return socket
  })
  return sockets.map(({ destroyed }) => destroyed)
}

test.each([
  ['2001:db8:1:2::1', '2001:db8:1:2:ffff::1', true],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::', true],
  ['2001:db8::1', '2001:db8:0:0:5:6:7:8', true],
  ['2001:db8::1:2:3:4:5', '2001:db8:0:1::', true],
  ['2001:db8:1:2::1', '2001:db8:1:3::1', false],
  ['::1', '::2:0:0:1', true],
  ['10.0.0.1', '::ffff:10.0.0.1', true],
  ['10.0.0.1', '10.0.0.2', false],
])('%s and %s are one client: %s', (one, other, expected) => {
  expect(closedOf([one, other])).toEqual([expected, false])
})

test('half of the descriptors are for connections, and half of these for one address', () => {
  expect(readConnectionLimits({}, 1_024)).toEqual({ max: 512, perAddress: 256 })
  expect(readConnectionLimits({}, Infinity)).toEqual({ max: 20_000, perAddress: 10_000 })
  expect(readConnectionLimits({ max: 100, perAddress: 1_000 }, 1_024)).toEqual({ max: 100, perAddress: 100 })
  expect(() => readConnectionLimits({ max: 2_000 }, 1_024)).toThrow(
    'server.connections.max: 2000 are more than the 1024 descriptors',
  )
})
