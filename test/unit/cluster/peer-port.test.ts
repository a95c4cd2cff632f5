import { request } from 'node:http'
import { connect } from 'node:net'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { expect, onTestFinished, test } from 'vitest'
import { PeerClient } from '../../../src/cluster/peer-client.ts'
import { PeerPort } from '../../../src/cluster/peer-port.ts'
import type { PeerService } from '../../../src/cluster/peer-port.ts'
import { SIGNATURE, digestOf, sign } from '../../../src/cluster/signature.ts'

const KEY = 'a secret that all hosts of one store have'
const now = (): number => 1_800_000_000_000

/** A port of host 7, and a client of host 3. */
async function twoHosts(serve: PeerService = async (asked) => new Response(await asked.text())) {
  const port = await PeerPort.open({ host: '127.0.0.1', port: 0 })
  const refused: string[] = []
  port.attach({ key: KEY, id: () => '7', now, serve, refused: (why) => void refused.push(why) })
  const client = new PeerClient({ key: KEY, id: () => '3', now })
  onTestFinished(async () => {
    client.close()
    await port.close()
  })
  const peer = { id: '7', place: 'seven', address: port.address }
  return { port, client, peer, refused }
}

const POST = { method: 'POST', path: '/-/x', headers: {}, body: Buffer.from('hello') }

test('A host answers another one that has the same secret', async () => {
  const { client, peer } = await twoHosts()
  const { response } = await client.call(peer, POST)
  expect(response?.statusCode).toBe(200)
  expect(await text(response as NonNullable<typeof response>)).toBe('hello')
})

test('A host answers no request without a signature, and none with another body than the signed one', async () => {
  const { peer, refused } = await twoHosts()
  const [host, port] = peer.address.split(':')
  const plain = await fetch(`http://${peer.address}/-/x`, { method: 'POST', body: 'hello' })
  expect(plain.status).toBe(401)
  expect(refused).toEqual(['unsigned'])
  const headers = { 'content-type': 'text/plain' }
  const signature = sign(KEY, { ...POST, headers, body: digestOf(POST.body), from: '3', to: '7', at: now() })
  const sent = request({ host, port, method: 'POST', path: '/-/x', headers: { ...headers, [SIGNATURE]: signature } })
  sent.end('other')
  await expect(once(sent, 'response')).rejects.toMatchObject({ code: 'ECONNRESET' })
})

test('A host that takes no connection has not had the request; one that goes away with it may have done it', async () => {
  const { client, peer } = await twoHosts(async () => {
    throw new Error('it breaks')
  })
  expect(await client.call(peer, POST)).toMatchObject({ failed: 'unknown' })
  expect(await client.call({ ...peer, address: '127.0.0.1:1' }, POST)).toMatchObject({ failed: 'unsent' })
})

test('Requests to a host that is gone end', async () => {
  const asked = Promise.withResolvers<void>()
  const { client, peer } = await twoHosts(() => {
    asked.resolve()
    return new Promise(() => undefined)
  })
  const call = client.call(peer, POST)
  await asked.promise
  client.forget('7')
  expect(await call).toMatchObject({ failed: 'unknown' })
})

test('Connections that prove nothing make room for others', async () => {
  const { client, peer } = await twoHosts()
  const [host = '', port] = peer.address.split(':')
  const sockets = Array.from({ length: 257 }, () => connect(Number(port), host))
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy()
  })
  await Promise.race(sockets.map((socket) => once(socket.resume(), 'close')))
  const { response } = await client.call(peer, POST)
  expect(response?.statusCode).toBe(200)
  response?.resume()
})
