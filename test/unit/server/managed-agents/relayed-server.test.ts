import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { InMemoryTransport } from '@modelcontextprotocol/sdk/inMemory.js'
import type { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { expect, onTestFinished, test } from 'vitest'
import { relayedServer } from '../../../../src/server/managed-agents/relayed-server.ts'
import { publicFetch } from '../../../../src/server/outbound/public-fetch.ts'
import { httpMcpServer } from '../../../fixtures/http-mcp-server.ts'

/** Takes every name for one of this machine, as if that were public. */
const here = publicFetch(() => Promise.resolve(['127.0.0.1']))

/** A client of the MCP server at this address, as the process of an agent is. */
async function clientOf(url: string, fetch = here): Promise<Client> {
  const { instance } = relayedServer('shop', new URL(url), fetch) as { instance: McpServer }
  const [near, far] = InMemoryTransport.createLinkedPair()
  await instance.connect(far)
  const client = new Client({ name: 'agent', version: '1' })
  onTestFinished(() => client.close())
  await client.connect(near)
  return client
}

/** A server that is none of MCP: where it is, and how often it was asked. */
async function plainServer(location?: string): Promise<{ url: string; state: { asked: number; left: number } }> {
  const state = { asked: 0, left: 0 }
  const http = createServer((_request, response) => {
    state.asked += 1
    response.once('close', () => (state.left += 1))
    if (location !== undefined) response.writeHead(307, { location }).end()
  })
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  onTestFinished(() => {
    http.close()
    http.closeAllConnections()
  })
  return { url: `http://127.0.0.1:${(http.address() as AddressInfo).port}/`, state }
}

test('its tools are those of the server, and answer through the host', async () => {
  const { url } = await httpMcpServer('look', 'order')
  const client = await clientOf(url.replace('127.0.0.1', 'mcp.example'))
  expect((await client.listTools()).tools.map(({ name }) => name)).toEqual(['look', 'order'])
  expect(await client.callTool({ name: 'order' })).toMatchObject({ content: [{ type: 'text', text: 'order' }] })
})

test('a redirect to another origin fails the request by name, and is not followed', async () => {
  const secret = await plainServer()
  const { url } = await plainServer(secret.url)
  await expect(clientOf(url)).rejects.toThrow(/redirect|307/i)
  expect(secret.state.asked).toBe(0)
})

test('a server of this machine is not asked', async () => {
  const { url, state } = await plainServer()
  await expect(clientOf(url, publicFetch())).rejects.toThrow('127.0.0.1 is not a public address')
  expect(state.asked).toBe(0)
})

test('a request ends with its process', async () => {
  const { url, state } = await plainServer()
  const { instance } = relayedServer('shop', new URL(url), here) as { instance: McpServer }
  const [near, far] = InMemoryTransport.createLinkedPair()
  await instance.connect(far)
  await near.start()
  await near.send({ jsonrpc: '2.0', id: 1, method: 'tools/list' })
  while (state.asked === 0) await new Promise((resolve) => setImmediate(resolve))
  await near.close()
  while (state.left === 0) await new Promise((resolve) => setImmediate(resolve))
  expect(state).toEqual({ asked: 1, left: 1 })
})
