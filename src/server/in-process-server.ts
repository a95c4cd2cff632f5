import type * as Mcp from '@modelcontextprotocol/sdk/server/mcp.js'
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js'
import type * as Messages from '@modelcontextprotocol/sdk/types.js'
import type { McpServerConfig } from '../driver/driver.ts'

/** Connects a server to the agent process; what it needs of the MCP SDK is loaded by then. */
type Connect = (near: Transport) => Promise<void>

/** An MCP server in this process, for one agent process. `load` runs when that connects: the start of this process is not held up by it. */
export const inProcessServer = (name: string, load: () => Promise<Connect>): McpServerConfig => ({
  type: 'sdk',
  name,
  // The Agent SDK calls this method alone.
  instance: { connect: (near: Transport) => connectLoaded(near, load) } as Mcp.McpServer,
})

/** Keeps the messages that arrive during the load. */
async function connectLoaded(near: Transport, load: () => Promise<Connect>): Promise<void> {
  const early: Messages.JSONRPCMessage[] = []
  near.onmessage = (message) => void early.push(message)
  const connect = await load()
  // A server would call the handler that it finds, too.
  delete (near as Partial<Transport>).onmessage
  await connect(near)
  for (const message of early) near.onmessage(message)
}

/** The parts of the MCP SDK that answer `tools/list` and `tools/call`. */
export async function loadToolServer(): Promise<
  Pick<typeof Mcp, 'McpServer'> & Pick<typeof Messages, 'CallToolRequestSchema' | 'ListToolsRequestSchema'>
> {
  const [{ McpServer }, { CallToolRequestSchema, ListToolsRequestSchema }] = await Promise.all([
    import('@modelcontextprotocol/sdk/server/mcp.js'),
    import('@modelcontextprotocol/sdk/types.js'),
  ])
  return { McpServer, CallToolRequestSchema, ListToolsRequestSchema }
}
