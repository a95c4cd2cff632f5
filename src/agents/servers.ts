import { z } from 'zod'
import type { Options } from '../driver/driver.ts'
import { ConfigError } from '../errors.ts'
import { validate } from '../options/section.ts'
import { checkShape, effort, maps, oneOf, permissionMode, text, texts, yesNo } from './sdk-shape.ts'
import type { Shape } from './sdk-shape.ts'
import { checkToolRules } from './tool-names.ts'
import type { ToolSources } from './tool-names.ts'

type Server = NonNullable<Options['mcpServers']>[string]
type Subagent = NonNullable<Options['agents']>[string]
type Plugin = NonNullable<Options['plugins']>[number]

const common = { timeout: z.number().positive().optional(), tools: z.array(z.looseObject({})).optional() }

const remote = {
  ...common,
  url: z.url({ protocol: /^https?$/, error: 'must be an http(s) URL' }),
  headers: z.record(z.string(), z.string()).optional(),
  alwaysLoad: yesNo,
}

type OfType<T extends Server['type']> = Extract<Server, { type?: T }>

const stdio: Shape<OfType<'stdio'>> = {
  type: z.literal('stdio').optional(),
  command: text,
  args: texts.optional(),
  env: z.record(z.string(), z.string()).optional(),
  timeout: common.timeout,
  alwaysLoad: yesNo,
}
const sse: Shape<OfType<'sse'>> = { type: z.literal('sse'), ...remote }
const http: Shape<OfType<'http'>> = { type: z.literal('http'), ...remote }
const sdk: Shape<OfType<'sdk'>> = {
  type: z.literal('sdk'),
  name: text,
  ...common,
  instance: z.custom((value) => typeof value === 'object' && value !== null, {
    error: 'must be a server that createSdkMcpServer() made',
  }),
}

/** What each type of MCP server holds, and what the SDK calls that. */
const SERVERS: Record<NonNullable<Server['type']>, { shape: Record<string, z.ZodType>; type: string }> = {
  stdio: { shape: stdio, type: 'McpStdioServerConfig' },
  sse: { shape: sse, type: 'McpSSEServerConfig' },
  http: { shape: http, type: 'McpHttpServerConfig' },
  sdk: { shape: sdk, type: 'McpSdkServerConfig' },
}

const serverType = z.looseObject({ type: z.enum(['stdio', 'sse', 'http', 'sdk']).optional() })

/** Checks what MCP servers hold. Throws ConfigError. */
export function checkServerMap(path: string, servers: unknown): void {
  for (const [name, server] of Object.entries(validate(path, maps, servers))) {
    const { type = 'stdio', ...rest } = validate(`${path}.${name}`, serverType, server)
    if (type === 'stdio' && 'url' in rest && !('command' in rest))
      throw new ConfigError(`${path}.${name}.type`, 'is missing; a server with a url is of type "http" or "sse"')
    const { shape, type: declared } = SERVERS[type]
    checkShape(`${path}.${name}`, server, shape, declared)
  }
}

const subagentShape: Shape<Subagent> = {
  description: text,
  prompt: z.string(),
  tools: texts.optional(),
  disallowedTools: texts.optional(),
  model: text.optional(),
  mcpServers: z.array(z.union([text, maps], { error: 'must be the name of a server, or a map of servers' })).optional(),
  criticalSystemReminder_EXPERIMENTAL: z.string().optional(),
  skills: texts.optional(),
  initialPrompt: z.string().optional(),
  maxTurns: z.int().positive().optional(),
  autoCompactWindow: z.number().positive().optional(),
  background: yesNo,
  omitClaudeMd: yesNo,
  memory: oneOf('user', 'project', 'local'),
  effort,
  permissionMode,
  observer: z.string().optional(),
  observerMessage: z.string().optional(),
}

/** Checks the subagents of an agent. Throws ConfigError. */
export function checkSubagents(path: string, agents: unknown, sources: ToolSources): void {
  for (const [name, each] of Object.entries(validate(path, maps, agents))) {
    const place = `${path}.${name}`
    checkShape(place, each, subagentShape, 'AgentDefinition')
    const { tools, disallowedTools, mcpServers = [] } = each as Subagent
    for (const [index, server] of mcpServers.entries())
      if (typeof server !== 'string') checkServerMap(`${place}.mcpServers.${index}`, server)
    const own = mcpServers.flatMap((server) => (typeof server === 'string' ? server : Object.keys(server)))
    const all = { ...sources, servers: sources.servers === undefined ? undefined : [...sources.servers, ...own] }
    if (tools !== undefined) checkToolRules(`${place}.tools`, tools, all)
    if (disallowedTools !== undefined) checkToolRules(`${place}.disallowedTools`, disallowedTools, all)
  }
}

const pluginShape: Shape<Plugin> = { type: z.literal('local'), path: text, skipMcpDiscovery: yesNo }

/** Checks the plugins of an agent. Throws ConfigError. */
export function checkPlugins(path: string, plugins: unknown): void {
  for (const [index, plugin] of validate(path, z.array(z.unknown()), plugins).entries())
    checkShape(`${path}.${index}`, plugin, pluginShape, 'SdkPluginConfig')
}
