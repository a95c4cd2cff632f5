import { McpServer as InProcessServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { CallToolRequestSchema, ListToolsRequestSchema } from '@modelcontextprotocol/sdk/types.js'
import type { CallToolResult } from '@modelcontextprotocol/sdk/types.js'
import type { AgentOptions, ClientToolCall, PoolCanUseTool, WorkerContext } from '../../index.ts'
import { builtInTools } from './definition.ts'
import type { AgentDefinition, McpToolset } from './definition.ts'
import { TOOL_NAMES } from './schema.ts'
import type { CustomTool } from './schema.ts'

/** The in-process server whose tools the client executes, as the pool knows it. */
const CUSTOM_SERVER = 'client_tools'

/** Who answers what the agent asks of its client. */
export interface ClientCalls {
  /** A call that the client must confirm. */
  confirm: PoolCanUseTool
  /** A call of a tool that the client executes. */
  execute(call: ClientToolCall, session: WorkerContext['session'], signal: AbortSignal): Promise<CallToolResult>
}

/** The options of the pool's agent that runs sessions of this definition. */
export function agentOptions(definition: AgentDefinition, calls: ClientCalls): AgentOptions {
  const builtIn = builtInTools(definition)
  const customTools = definition.tools.filter((tool) => tool.type === 'custom')
  const toolsets = definition.tools.filter((tool) => tool.type === 'mcp_toolset')
  const servers = Object.fromEntries(
    definition.mcp_servers.map(({ name, url }) => [name, { type: 'http' as const, url }]),
  )
  return {
    model: definition.model.id,
    effort: definition.model.effort.type,
    ...(definition.system === null ? {} : { systemPrompt: definition.system }),
    tools: builtIn.map(({ name }) => TOOL_NAMES[name]),
    allowedTools: [
      ...builtIn.flatMap(({ name, ask }) => (ask ? [] : [TOOL_NAMES[name]])),
      ...customTools.map(({ name }) => `mcp__${CUSTOM_SERVER}__${name}`),
      ...toolsets.flatMap(allowedOf),
    ],
    disallowedTools: toolsets.flatMap(({ mcp_server_name: server, default_config, configs }) =>
      configs.flatMap(({ name, enabled }) => (enabled || !default_config.enabled ? [] : [`mcp__${server}__${name}`])),
    ),
    includePartialMessages: true,
    // Where nothing asks, what is not allowed is refused without a question.
    ...(asks(definition)
      ? {
          canUseTool: (name, input, options) =>
            isEnabled(definition, name)
              ? calls.confirm(name, input, options)
              : Promise.resolve({ behavior: 'deny', message: `${name} is not enabled for this agent` }),
        }
      : {}),
    mcpServers: (context) =>
      customTools.length === 0
        ? servers
        : {
            ...servers,
            [CUSTOM_SERVER]: { type: 'sdk', name: CUSTOM_SERVER, instance: customServer(customTools, calls, context) },
          },
  }
}

/** A whole server is allowed by its name alone; its tools one by one where they differ. */
function allowedOf({ mcp_server_name: server, default_config, configs }: McpToolset): string[] {
  const allowed = configs.flatMap(({ name, enabled, permission_policy: { type } }) =>
    enabled && type === 'always_allow' ? [`mcp__${server}__${name}`] : [],
  )
  const everyOther = default_config.enabled && default_config.permission_policy.type === 'always_allow'
  const asksForSome = configs.some(({ enabled, permission_policy: { type } }) => enabled && type === 'always_ask')
  return everyOther && !asksForSome ? [`mcp__${server}`] : allowed
}

/** MCP servers may have tools that the agent is not to use: all others of the CLI it does not know at all. */
function isEnabled({ tools }: AgentDefinition, cliName: string): boolean {
  const [, server, name] = /^mcp__(.+?)__(.+)$/.exec(cliName) ?? []
  const set = tools.find((tool) => tool.type === 'mcp_toolset' && tool.mcp_server_name === server)
  if (set?.type !== 'mcp_toolset') return true
  return (set.configs.find((other) => other.name === name) ?? set.default_config).enabled
}

const asks = ({ tools }: AgentDefinition): boolean =>
  tools.some(
    (tool) =>
      tool.type !== 'custom' &&
      [tool.default_config, ...tool.configs].some(({ permission_policy: { type } }) => type === 'always_ask'),
  )

/** Each process needs a server of its own. */
function customServer(tools: CustomTool[], calls: ClientCalls, context: WorkerContext): InProcessServer {
  const server = new InProcessServer({ name: CUSTOM_SERVER, version: '1' }, { capabilities: { tools: {} } })
  server.server.setRequestHandler(ListToolsRequestSchema, () => ({
    tools: tools.map(({ name, description, input_schema }) => ({ name, description, inputSchema: input_schema })),
  }))
  server.server.setRequestHandler(CallToolRequestSchema, ({ params }, { signal }) => {
    const { name, arguments: input = {}, _meta: meta } = params
    const toolUseId = meta?.['claudecode/toolUseId']
    if (typeof toolUseId !== 'string') throw new Error('the call has no id that its result could be given to')
    const call = { toolUseId, name, input }
    return context.awaitClient(call, () => calls.execute(call, context.session, signal))
  })
  return server
}
