import { ApiError } from '../errors.ts'
import { TOOL_NAMES } from './schema.ts'
import type {
  AgentCreate,
  AgentOverrides,
  CustomTool,
  Domains,
  McpServer,
  PermissionPolicy,
  SkillParams,
  ToolName,
  ToolParams,
} from './schema.ts'

type Level = 'low' | 'medium' | 'high' | 'xhigh' | 'max'

/** A model as the wire shows it. */
export interface ModelConfig {
  id: string
  effort: { type: Level }
  speed: 'standard'
}

interface ToolConfig extends Domains {
  type: ToolName
  name: ToolName
  enabled: boolean
  permission_policy: PermissionPolicy
  url_sources?: null
}

interface DefaultConfig {
  enabled: boolean
  permission_policy: PermissionPolicy
}

export interface Toolset {
  type: 'agent_toolset_20260401'
  default_config: DefaultConfig
  configs: ToolConfig[]
}

export interface McpToolset {
  type: 'mcp_toolset'
  mcp_server_name: string
  default_config: DefaultConfig
  configs: { name: string; enabled: boolean; permission_policy: PermissionPolicy }[]
}

/** A skill of an agent. `version`: of a session’s agent, the one that the session has; else also `latest`. */
export interface AgentSkill {
  type: 'custom'
  skill_id: string
  version: string
}

export type Tool = Toolset | McpToolset | CustomTool

/** What an agent is, all defaults filled in: the part of it that a process is started from. */
export interface AgentDefinition {
  model: ModelConfig
  system: string | null
  tools: Tool[]
  mcp_servers: McpServer[]
  skills: AgentSkill[]
}

/** The API resolves the effort by model; without its table, this is what the CLI itself takes. */
const DEFAULT_EFFORT: Level = 'high'

const ALLOW: PermissionPolicy = { type: 'always_allow' }
const ASK: PermissionPolicy = { type: 'always_ask' }

/** The definition that a request for a new agent asks for. Throws ApiError. */
export function define(
  params: Pick<AgentCreate, 'model' | 'system' | 'tools' | 'mcp_servers' | 'skills'>,
): AgentDefinition {
  return checked({
    model: modelOf(params.model, undefined),
    system: emptyIsNull(params.system),
    tools: (params.tools ?? []).map(resolveTool),
    mcp_servers: params.mcp_servers ?? [],
    skills: (params.skills ?? []).map(resolveSkill),
  })
}

/** The definition with what is given replaced; what is left out stays, null clears. Throws ApiError. */
export function redefine(definition: AgentDefinition, changes: AgentOverrides): AgentDefinition {
  return checked({
    model: changes.model === undefined ? definition.model : modelOf(changes.model, definition.model),
    system: changes.system === undefined ? definition.system : emptyIsNull(changes.system),
    tools: changes.tools === undefined ? definition.tools : (changes.tools ?? []).map(resolveTool),
    mcp_servers: changes.mcp_servers === undefined ? definition.mcp_servers : (changes.mcp_servers ?? []),
    skills: changes.skills === undefined ? definition.skills : (changes.skills ?? []).map(resolveSkill),
  })
}

/** Stands for the newest version. */
export const LATEST = 'latest'

const resolveSkill = ({ type, skill_id, version }: SkillParams): AgentSkill => ({
  type,
  skill_id,
  version: version ?? LATEST,
})

const emptyIsNull = (text: string | null | undefined): string | null => (text === '' ? null : (text ?? null))

function modelOf(params: AgentCreate['model'], before: ModelConfig | undefined): ModelConfig {
  const effort = 'effort' in params ? params.effort : undefined
  return { id: params.id, effort: effort ?? before?.effort ?? { type: DEFAULT_EFFORT }, speed: 'standard' }
}

function resolveTool(tool: ToolParams): Tool {
  switch (tool.type) {
    case 'custom':
      return tool
    case 'mcp_toolset': {
      const { mcp_server_name, configs = [] } = tool
      const defaults = defaultsOf(tool.default_config, ASK)
      return {
        type: tool.type,
        mcp_server_name,
        default_config: defaults,
        configs: configs.map(({ name, ...config }) => ({ name, ...withDefaults(config, defaults) })),
      }
    }
    case 'agent_toolset_20260401': {
      const defaults = defaultsOf(tool.default_config, ALLOW)
      return {
        type: tool.type,
        default_config: defaults,
        configs: (tool.configs ?? []).map(({ name, allowed_domains, blocked_domains, ...config }) => ({
          type: name,
          name,
          ...withDefaults(config, defaults),
          ...(allowed_domains === undefined ? {} : { allowed_domains }),
          ...(blocked_domains === undefined ? {} : { blocked_domains }),
          ...(name === 'web_fetch' ? { url_sources: null } : {}),
        })),
      }
    }
  }
}

interface Config {
  enabled?: boolean | null | undefined
  permission_policy?: PermissionPolicy | null | undefined
}

const defaultsOf = (config: Config | null | undefined, policy: PermissionPolicy): DefaultConfig => ({
  enabled: config?.enabled ?? true,
  permission_policy: config?.permission_policy ?? policy,
})

const withDefaults = (config: Config, defaults: DefaultConfig): DefaultConfig => ({
  enabled: config.enabled ?? defaults.enabled,
  permission_policy: config.permission_policy ?? defaults.permission_policy,
})

/** Each session has a copy of its agent's definition, and lists show them whole. */
const MAX_DEFINITION_CHARS = 2 ** 20

function checked(definition: AgentDefinition): AgentDefinition {
  if (JSON.stringify(definition).length > MAX_DEFINITION_CHARS)
    throw new ApiError('request_too_large', 'an agent has at most 1 MiB: its system prompt, tools and servers together')
  const { tools, mcp_servers: servers, skills } = definition
  refuseDoubles(
    'mcp_servers',
    servers.map(({ name }) => name),
  )
  refuseDoubles(
    'skills',
    skills.map(({ skill_id: id }) => id),
  )
  refuseDoubles(
    'tools',
    tools.flatMap((tool) => (tool.type === 'custom' ? [tool.name] : [])),
  )
  const used = tools.flatMap((tool) => (tool.type === 'mcp_toolset' ? [tool.mcp_server_name] : []))
  refuseDoubles('tools', used)
  if (tools.filter(({ type }) => type === 'agent_toolset_20260401').length > 1)
    throw new ApiError('invalid_request_error', 'tools: names agent_toolset_20260401 twice')
  for (const name of used) {
    if (!servers.some((server) => server.name === name))
      throw new ApiError(
        'invalid_request_error',
        `tools: an mcp_toolset names the server "${name}", which is not in mcp_servers`,
      )
  }
  for (const { name } of servers) {
    if (!used.includes(name))
      throw new ApiError(
        'invalid_request_error',
        `mcp_servers: no mcp_toolset in tools uses "${name}"; add one, or leave the server out`,
      )
  }
  return definition
}

function refuseDoubles(field: string, names: string[]): void {
  const double = names.find((name, index) => names.indexOf(name) !== index)
  if (double !== undefined) throw new ApiError('invalid_request_error', `${field}: "${double}" is there twice`)
}

/** Where a web tool may go; undefined: anywhere. */
export function domainsOf({ tools }: AgentDefinition, name: ToolName): Domains | undefined {
  const set = tools.find((tool) => tool.type === 'agent_toolset_20260401')
  const config = set?.configs.find((other) => other.name === name)
  return config?.allowed_domains === undefined && config?.blocked_domains === undefined ? undefined : config
}

/** Whether the built-in tool is there, and whether its calls are asked about. */
export function builtInTools({ tools }: AgentDefinition): { name: ToolName; ask: boolean }[] {
  const set = tools.find((tool) => tool.type === 'agent_toolset_20260401')
  if (set === undefined) return []
  return (Object.keys(TOOL_NAMES) as ToolName[]).flatMap((name) => {
    const config = set.configs.find((other) => other.name === name) ?? set.default_config
    return config.enabled ? [{ name, ask: config.permission_policy.type === 'always_ask' }] : []
  })
}
