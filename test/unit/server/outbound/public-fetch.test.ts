import { once } from 'node:events'
import { createServer } from 'node:http'
import type { RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { publicFetch } from '../../../../src/server/outbound/public-fetch.ts'
import type { Exchange } from '../../../../src/server/outbound/public-fetch.ts'

const MIB = 2 ** 20

/** Its port, and the requests that have come. */
async function serverOf(answer: RequestListener): Promise<{ port: number; asked: string[] }> {
  const asked: string[] = []
  const http = createServer((request, response) => {
    asked.push(`${request.method} ${request.headers.host}${request.url}`)
    answer(request, response)
  })
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  onTestFinished(async () => {
    http.close()
    http.closeAllConnections()
    await once(http, 'close')
  })
  return { port: (http.address() as AddressInfo).port, asked }
}

/** Takes every name for one of this machine, as if that were public. */
const here = publicFetch(() => Promise.resolve(['127.0.0.1']))

test('a name is dialled at the address that was found for it, and keeps its name', async () => {
  const { port, asked } = await serverOf((request, response) => request.pipe(response))
  const response = await here(`http://mcp.example:${port}/path?x=1`, { method: 'POST', body: 'words' })
  expect([response.status, await response.text()]).toEqual([200, 'words'])
  expect(asked).toEqual([`POST mcp.example:${port}/path?x=1`])
})

test.each(['127.0.0.1', 'localhost', '[::ffff:127.0.0.1]', '0x7f.1'])('%s is not dialled', async (host) => {
  const { port, asked } = await serverOf((_request, response) => void response.end())
  await expect(publicFetch()(`http://${host}:${port}/`)).rejects.toThrow(/not a public address|name of this machine/)
  expect(asked).toEqual([])
})

test('a name that does not resolve is named', async () => {
  await expect(publicFetch(() => Promise.resolve([]))('http://mcp.example/')).rejects.toThrow('mcp.example')
})

test('a redirect is an answer, and is not followed', async () => {
  const secret = await serverOf((_request, response) => void response.end('secret'))
  const location = `http://127.0.0.1:${secret.port}/`
  const { port } = await serverOf((_request, response) => void response.writeHead(307, { location }).end())
  const response = await here(`http://mcp.example:${port}/`)
  expect([response.status, response.headers.get('location')]).toEqual([307, location])
  expect(secret.asked).toEqual([])
})

test('an answer without a body has none', async () => {
  const { port } = await serverOf((_request, response) => void response.writeHead(204).end())
  expect(await (await here(`http://mcp.example:${port}/`)).text()).toBe('')
})

test.each([
  ['a large answer', 'application/json', 'x'.repeat(MIB), false],
  ['a large event', 'text/event-stream', 'x'.repeat(MIB), false],
  ['many events', 'text/event-stream', `data: ${'x'.repeat(MIB - 8)}\n\n`, true],
])('%s: no more than 16 MiB are kept', async (_what, type, piece, passes) => {
  const { port } = await serverOf((_request, response) => {
    response.writeHead(200, { 'content-type': type })
    for (let count = 0; count < 20; count += 1) response.write(piece)
    response.end()
  })
  const read = async (): Promise<number> => {
    let bytes = 0
    for await (const chunk of (await here(`http://mcp.example:${port}/`)).body ?? []) bytes += chunk.length
    return bytes
  }
  if (passes) expect(await read()).toBe(20 * piece.length)
  else await expect(read()).rejects.toThrow('more than 16777216 bytes')
})

test('it ends by its signal, also while nothing is answered', async () => {
  const stop = new AbortController()
  const { port } = await serverOf(() => stop.abort())
  await expect(here(`http://mcp.example:${port}/`, { signal: stop.signal })).rejects.toThrow('aborted')
})

test('what it has exchanged is told once it is over, by host and port', async () => {
  const { port } = await serverOf((_request, response) => void response.end('words'))
  const told: Exchange[] = []
  const fetch = publicFetch(
    () => Promise.resolve(['127.0.0.1']),
    (exchange) => told.push(exchange),
  )
  await (await fetch(`http://mcp.example:${port}/`)).text()
  await expect
    .poll(() => told)
    .toEqual([{ place: `mcp.example:${port}`, sentBytes: expect.any(Number), receivedBytes: expect.any(Number) }])
  expect(Math.min(told[0]?.sentBytes ?? 0, told[0]?.receivedBytes ?? 0)).toBeGreaterThan(20)
})
