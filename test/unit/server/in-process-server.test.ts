import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { InMemoryTransport } from '@modelcontextprotocol/sdk/inMemory.js'
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js'
import { expect, onTestFinished, test } from 'vitest'
import { inProcessServer, loadToolServer } from '../../../src/server/in-process-server.ts'

test('messages that arrive while the server is loaded are answered once, in their order', async () => {
  const loaded = Promise.withResolvers<void>()
  let lists = 0
  const server = inProcessServer('shop', async () => {
    await loaded.promise
    const { McpServer, ListToolsRequestSchema } = await loadToolServer()
    const mcp = new McpServer({ name: 'shop', version: '1' }, { capabilities: { tools: {} } })
    mcp.server.setRequestHandler(ListToolsRequestSchema, () => {
      lists += 1
      return { tools: [] }
    })
    return (near) => mcp.connect(near)
  })
  const [near, far] = InMemoryTransport.createLinkedPair()
  const connected = (server as { instance: { connect(transport: Transport): Promise<void> } }).instance.connect(near)
  const client = new Client({ name: 'cli', version: '1' })
  onTestFinished(() => client.close())
  const listed = client.connect(far).then(() => client.listTools())
  loaded.resolve()
  await connected
  expect(await listed).toEqual({ tools: [] })
  expect(lists).toBe(1)
})
