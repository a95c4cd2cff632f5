import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { relayedServer } from '../../src/server/managed-agents/relayed-server.ts'
import { publicFetch } from '../../src/server/outbound/public-fetch.ts'
import { httpMcpServer } from '../fixtures/http-mcp-server.ts'
import { MODEL, openSite } from '../fixtures/real-pool.ts'

test('a process uses an MCP server through the host, and a redirect leads it nowhere else', async () => {
  const { url } = await httpMcpServer('look')
  let asked = 0
  const secret = createServer((_request, response) => {
    asked += 1
    response.end()
  })
  const redirecting = createServer((_request, response) => {
    const { port } = secret.address() as AddressInfo
    response.writeHead(307, { location: `http://127.0.0.1:${port}/` }).end()
  })
  for (const http of [secret, redirecting]) {
    http.listen(0, '127.0.0.1')
    await once(http, 'listening')
    onTestFinished(() => {
      http.close()
      http.closeAllConnections()
    })
  }
  const { port } = redirecting.address() as AddressInfo
  const fetch = publicFetch(() => Promise.resolve(['127.0.0.1']))
  const servers = { shop: url, away: `http://127.0.0.1:${port}/` }
  const site = await openSite()
  const pool = await site.pool({
    agents: {
      a: {
        model: MODEL,
        spares: { max: 0 },
        unboundSpares: { max: 0 },
        verbatimPrompts: false,
        allowedTools: ['mcp__shop__look'],
        mcpServers: () =>
          Object.fromEntries(
            Object.entries(servers).map(([name, at]) => [
              name,
              relayedServer(name, new URL(at.replace('127.0.0.1', `${name}.example`)), fetch),
            ]),
          ),
      },
    },
  })
  const turn = (await pool.session('one', { agent: 'a' })).send('hello\n@sim tool mcp__shop__look {}')
  let status: unknown
  let result: unknown
  for await (const message of turn) {
    if (message.type === 'system' && message.subtype === 'init') status = message.mcp_servers
    if (message.type === 'user') result = message.message.content
  }
  expect(status).toMatchObject([
    { name: 'shop', status: 'connected' },
    { name: 'away', status: 'failed' },
  ])
  expect(JSON.stringify(result)).toContain('"text":"look"')
  expect(asked).toBe(0)
})
