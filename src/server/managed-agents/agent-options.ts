import { resolve } from 'node:path'
import type { FetchLike } from '@modelcontextprotocol/sdk/shared/transport.js'
import type { CallToolResult } from '@modelcontextprotocol/sdk/types.js'
import type { HookCallback, McpServerConfig } from '../../driver/driver.ts'
import type { AgentOptions, ClientToolCall, PoolCanUseTool, WorkerContext } from '../../index.ts'
import { MEMORY_READ_ONLY, SKILLS } from '../../session-paths.ts'
import { inProcessServer, loadToolServer } from '../in-process-server.ts'
import { builtInTools, domainsOf } from './definition.ts'
import type { AgentDefinition, McpToolset } from './definition.ts'
import { CUSTOM_SERVER, SKILL_TOOL, TOOL_NAMES } from './schema.ts'
import type { CustomTool } from './schema.ts'
import { relayedServer } from './relayed-server.ts'
import { boundFetch, boundSearch } from './web-domains.ts'
import type { Bounded } from './web-domains.ts'

/** Answers what the agent asks of its client. */
export interface ClientCalls {
  /** A call that the client must confirm. */
  confirm: PoolCanUseTool
  /** A call of a tool that the client executes. */
  execute(call: ClientToolCall, session: WorkerContext['session'], signal: AbortSignal): Promise<CallToolResult>
}

/** How the host reaches an MCP server for the process; undefined: the process does it itself. */
export type FetchOf = (url: URL) => FetchLike | undefined

/** What sessions have beside the definition of their agent. */
export interface SessionParts {
  /** Of skills that are in their workspaces. */
  skillNames?: readonly string[] | undefined
  /** What stands behind the system prompt. */
  prompt?: string | undefined
}

/** The options of the pool's agent that runs sessions of this definition. */
export function agentOptions(
  definition: AgentDefinition,
  calls: ClientCalls,
  fetchOf: FetchOf = () => undefined,
  { skillNames = [], prompt }: SessionParts = {},
): AgentOptions {
  const builtIn = builtInTools(definition)
  const customTools = definition.tools.filter((tool) => tool.type === 'custom')
  const toolsets = definition.tools.filter((tool) => tool.type === 'mcp_toolset')
  const serverAt = (name: string, url: string): McpServerConfig => {
    const fetch = fetchOf(new URL(url))
    return fetch === undefined ? { type: 'http', url } : relayedServer(name, new URL(url), fetch)
  }
  return {
    model: definition.model.id,
    effort: definition.model.effort.type,
    ...systemPromptOf(definition.system, prompt),
    tools: [...builtIn.map(({ name }) => TOOL_NAMES[name]), ...(skillNames.length === 0 ? [] : [SKILL_TOOL])],
    ...skillOptions(skillNames),
    disallowedTools: toolsets.flatMap(({ mcp_server_name: server, default_config, configs }) =>
      configs.flatMap(({ name, enabled }) => (enabled || !default_config.enabled ? [] : [`mcp__${server}__${name}`])),
    ),
    includePartialMessages: true,
    // Where nothing asks, what no rule allows is refused without a question.
    ...(asks(definition)
      ? { canUseTool: calls.confirm, hooks: permissionHooks(definition) }
      : {
          ...(isBounded(definition) || skillNames.length > 0 || prompt !== undefined
            ? { hooks: permissionHooks(definition) }
            : {}),
          allowedTools: [
            ...(skillNames.length === 0 ? [] : [SKILL_TOOL]),
            ...builtIn.map(({ name }) => TOOL_NAMES[name]),
            ...customTools.map(({ name }) => `mcp__${CUSTOM_SERVER}__${name}`),
            ...toolsets.flatMap(enabledOf),
          ],
        }),
    mcpServers: (context) => ({
      ...Object.fromEntries(definition.mcp_servers.map(({ name, url }) => [name, serverAt(name, url)])),
      ...(customTools.length === 0
        ? {}
        : {
            [CUSTOM_SERVER]: customServer(customTools, calls, context),
          }),
    }),
  }
}

const systemPromptOf = (system: string | null, more: string | undefined): AgentOptions => {
  const texts = [system, more].filter((text) => typeof text === 'string')
  return texts.length === 0 ? {} : { systemPrompt: texts.join('\n\n') }
}

/** Of a session with skills: they are a plugin in its workspace, of which nothing but the skills is used. */
const skillOptions = (names: readonly string[]): AgentOptions =>
  names.length === 0
    ? {}
    : {
        plugins: [{ type: 'local', path: SKILLS }],
        skills: names.map((name) => `skills:${name}`),
        managedSettings: { allowManagedHooksOnly: true },
      }

/** The tools of a server that may be used: all by its name alone, or one by one. */
const enabledOf = ({ mcp_server_name: server, default_config, configs }: McpToolset): string[] =>
  default_config.enabled
    ? [`mcp__${server}`]
    : configs.flatMap(({ name, enabled }) => (enabled ? [`mcp__${server}__${name}`] : []))

/** What the definition's policies say of a tool, by the CLI's name of it. */
export function permissionPolicy(definition: AgentDefinition): (toolName: string) => PermissionDecision {
  const builtIn = new Map<string, PermissionDecision>(
    builtInTools(definition).map(({ name, ask }) => [TOOL_NAMES[name], ask ? 'ask' : 'allow']),
  )
  if (definition.skills.length > 0) builtIn.set(SKILL_TOOL, 'allow')
  return (toolName) => builtIn.get(toolName) ?? decisionOfMcp(definition, toolName)
}

/**
 * Decides each call by the policy of its tool, since the CLI asks for nothing that it takes for harmless. Shell commands in
 * the text of a skill pass a hook of their own.
 */
function permissionHooks(definition: AgentDefinition): NonNullable<AgentOptions['hooks']> {
  const hook = permissionHook(definition)
  return { PreToolUse: [{ hooks: [hook] }], PreSkillShellCommand: [{ hooks: [hook] }] }
}

function permissionHook(definition: AgentDefinition): HookCallback {
  const decide = permissionPolicy(definition)
  return (input) => {
    const { hook_event_name: hookEventName } = input
    if (hookEventName !== 'PreToolUse' && hookEventName !== 'PreSkillShellCommand') return Promise.resolve({})
    const { tool_name: name } = input
    if (changesProtected(name, input))
      return Promise.resolve({
        hookSpecificOutput: {
          hookEventName,
          permissionDecision: 'deny' as const,
          permissionDecisionReason: 'this folder of the session can only be read',
        },
      })
    const permissionDecision = decide(name)
    const bounded = permissionDecision === 'deny' ? undefined : bound(definition, name, input.tool_input)
    if (bounded !== undefined && 'problem' in bounded)
      return Promise.resolve({
        hookSpecificOutput: {
          hookEventName,
          permissionDecision: 'deny' as const,
          permissionDecisionReason: bounded.problem,
        },
      })
    const permissionDecisionReason = reasonOf(permissionDecision, name, hookEventName)
    const updated = bounded === undefined || hookEventName !== 'PreToolUse' ? {} : { updatedInput: bounded.input }
    return Promise.resolve({
      hookSpecificOutput: { hookEventName, permissionDecision, permissionDecisionReason, ...updated },
    })
  }
}

/** True for a call that would write into a folder that the agent may only read: there may be no sandbox that keeps it from that. */
function changesProtected(name: string, { cwd, tool_input: input }: { cwd: string; tool_input?: unknown }): boolean {
  if (name !== TOOL_NAMES.write && name !== TOOL_NAMES.edit) return false
  const { file_path: path } = (input ?? {}) as { file_path?: unknown }
  if (typeof path !== 'string') return false
  const parts = resolve(cwd, path).toLowerCase().split('/')
  return parts.includes(SKILLS) || parts.includes(MEMORY_READ_ONLY)
}

/** Keeps a call of a web tool within the domains of its agent; undefined: it has no bounds. */
function bound(definition: AgentDefinition, cliName: string, input: unknown): Bounded | undefined {
  const given = (input ?? {}) as Record<string, unknown>
  for (const [name, within] of BOUNDED) {
    const domains = TOOL_NAMES[name] === cliName ? domainsOf(definition, name) : undefined
    if (domains !== undefined) return within(given, domains)
  }
  return undefined
}

const BOUNDED = [
  ['web_fetch', boundFetch],
  ['web_search', boundSearch],
] as const

const isBounded = (definition: AgentDefinition): boolean =>
  BOUNDED.some(([name]) => domainsOf(definition, name) !== undefined)

function reasonOf(decision: PermissionDecision, name: string, event: 'PreToolUse' | 'PreSkillShellCommand'): string {
  if (decision === 'deny') return `${name} is not enabled for this agent`
  // No client can be asked: the command belongs to no call that its events show.
  if (decision === 'ask' && event === 'PreSkillShellCommand')
    return `commands of skills run only if ${name} needs no confirmation`
  return 'the policy of this tool'
}

type PermissionDecision = 'allow' | 'ask' | 'deny'

function decisionOfMcp({ tools }: AgentDefinition, cliName: string): PermissionDecision {
  const [, server, name] = /^mcp__(.+?)__(.+)$/.exec(cliName) ?? []
  if (server === CUSTOM_SERVER) return 'allow'
  const set = tools.find((tool) => tool.type === 'mcp_toolset' && tool.mcp_server_name === server)
  if (set?.type !== 'mcp_toolset') return 'deny'
  const { enabled, permission_policy } = set.configs.find((other) => other.name === name) ?? set.default_config
  if (!enabled) return 'deny'
  return permission_policy.type === 'always_ask' ? 'ask' : 'allow'
}

const asks = ({ tools }: AgentDefinition): boolean =>
  tools.some(
    (tool) =>
      tool.type !== 'custom' &&
      [tool.default_config, ...tool.configs].some(({ permission_policy: { type } }) => type === 'always_ask'),
  )

/** Each process needs a server of its own. */
const customServer = (tools: CustomTool[], calls: ClientCalls, context: WorkerContext): McpServerConfig =>
  inProcessServer(CUSTOM_SERVER, async () => {
    const { McpServer, ListToolsRequestSchema, CallToolRequestSchema } = await loadToolServer()
    const mcp = new McpServer({ name: CUSTOM_SERVER, version: '1' }, { capabilities: { tools: {} } })
    mcp.server.setRequestHandler(ListToolsRequestSchema, () => ({
      tools: tools.map(({ name, description, input_schema }) => ({ name, description, inputSchema: input_schema })),
    }))
    mcp.server.setRequestHandler(CallToolRequestSchema, ({ params }, { signal }) => {
      const { name, arguments: input = {}, _meta: meta } = params
      const toolUseId = meta?.['claudecode/toolUseId']
      if (typeof toolUseId !== 'string') throw new Error('the call has no id that its result could be given to')
      const call = { toolUseId, name, input, signal }
      return context.awaitClient(call, () => calls.execute(call, context.session, signal))
    })
    return (near) => mcp.connect(near)
  })
