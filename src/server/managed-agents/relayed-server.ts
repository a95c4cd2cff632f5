import type { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import type { FetchLike, Transport } from '@modelcontextprotocol/sdk/shared/transport.js'
import type * as Messages from '@modelcontextprotocol/sdk/types.js'
import type { McpServerConfig } from '../../driver/driver.ts'
import { inProcessServer } from '../in-process-server.ts'

/** JSON-RPC's first code for errors of a server's own. */
const SERVER_ERROR = -32_000

/**
 * An MCP server that a tenant named, as the process of its agent gets it: its messages go through the host, which resolves a name
 * once and dials what it found. The process itself would follow names and redirects into this machine and its network.
 */
export const relayedServer = (name: string, url: URL, fetch: FetchLike): McpServerConfig =>
  inProcessServer(name, async () => {
    const [streams, messages] = await Promise.all([
      import('@modelcontextprotocol/sdk/client/streamableHttp.js'),
      import('@modelcontextprotocol/sdk/types.js'),
    ])
    return (near) => relay(near, new streams.StreamableHTTPClientTransport(url, { fetch }), messages)
  })

/** Passes messages on as they are, until the process ends. */
async function relay(
  near: Transport,
  far: StreamableHTTPClientTransport,
  { isJSONRPCRequest, isJSONRPCResultResponse }: typeof Messages,
): Promise<void> {
  const tell = (message: Messages.JSONRPCMessage): void => void near.send(message).catch(() => undefined)
  far.onmessage = (message) => {
    // It names the version in the headers of all that follows.
    if (isJSONRPCResultResponse(message) && typeof message.result['protocolVersion'] === 'string')
      far.setProtocolVersion(message.result['protocolVersion'])
    tell(message)
  }
  // The request that failed is told by itself.
  far.onerror = () => undefined
  near.onmessage = (message: Messages.JSONRPCMessage) =>
    void far.send(message).catch((error: unknown) => {
      if (!isJSONRPCRequest(message)) return
      const said = error instanceof Error ? error.message : String(error)
      tell({ jsonrpc: '2.0', id: message.id, error: { code: SERVER_ERROR, message: said } })
    })
  near.onclose = () => void far.close()
  await far.start()
  await near.start()
}
