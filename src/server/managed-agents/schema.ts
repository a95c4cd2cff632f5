import { z } from 'zod'
import { wording } from '../../options/wording.ts'
import { ApiError } from '../errors.ts'

type Level = 'low' | 'medium' | 'high' | 'xhigh' | 'max'

type Metadata = Record<string, string>

/** A string sets a key, null deletes it. */
export type MetadataPatch = Record<string, string | null> | null

export interface PermissionPolicy {
  type: 'always_allow' | 'always_ask'
}

/** The API's tools, and the CLI's names for them. */
export const TOOL_NAMES = {
  bash: 'Bash',
  edit: 'Edit',
  read: 'Read',
  write: 'Write',
  glob: 'Glob',
  grep: 'Grep',
  web_fetch: 'WebFetch',
  web_search: 'WebSearch',
} as const

/** The CLI's tool that reads skills to an agent. */
export const SKILL_TOOL = 'Skill'

/** The in-process MCP server whose tools the client executes, as the pool knows it. */
export const CUSTOM_SERVER = 'client_tools'

export type ToolName = keyof typeof TOOL_NAMES

interface ModelParams {
  id: string
  effort?: { type: Level } | null | undefined
}

interface ToolDefaults {
  enabled?: boolean | null | undefined
  permission_policy?: PermissionPolicy | null | undefined
}

/** Where a web tool may go: to these domains and those below them alone, or everywhere else. */
export interface Domains {
  allowed_domains?: string[] | undefined
  blocked_domains?: string[] | undefined
}

interface ToolsetParams {
  type: 'agent_toolset_20260401'
  default_config?: ToolDefaults | null | undefined
  configs?: (ToolDefaults & Domains & { name: ToolName })[] | undefined
}

interface McpToolsetParams {
  type: 'mcp_toolset'
  mcp_server_name: string
  default_config?: ToolDefaults | null | undefined
  configs?: (ToolDefaults & { name: string })[] | undefined
}

/** A tool that the client executes. */
export interface CustomTool {
  type: 'custom'
  name: string
  description: string
  input_schema: { type: 'object'; [key: string]: unknown }
}

export type ToolParams = ToolsetParams | McpToolsetParams | CustomTool

export interface McpServer {
  type: 'url'
  name: string
  url: string
}

/** A skill that a tenant has uploaded. */
export interface SkillParams {
  type: 'custom'
  skill_id: string
  /** Default: the newest one that there is when a session begins. */
  version?: string | null | undefined
}

/** What may be said of an agent's process. What is left out stays as it is, null clears. */
export interface AgentOverrides {
  model?: ModelParams | undefined
  system?: string | null | undefined
  tools?: ToolParams[] | null | undefined
  mcp_servers?: McpServer[] | null | undefined
  skills?: SkillParams[] | null | undefined
}

export interface AgentCreate extends AgentOverrides {
  name: string
  model: ModelParams
  description?: string | null | undefined
  metadata?: Metadata | null | undefined
}

export interface AgentUpdate extends AgentOverrides {
  name?: string | undefined
  description?: string | null | undefined
  metadata?: MetadataPatch | undefined
  /** The version that the client has seen last. */
  version?: number | undefined
}

const LEVELS: readonly Level[] = ['low', 'medium', 'high', 'xhigh', 'max']

const MAX_METADATA = 16
const MAX_TOOLS = 256
const MAX_SERVERS = 20

/** Checks a body. Throws ApiError (invalid_request_error) that names the field. */
export function parse<T>(schema: z.ZodType<T>, body: unknown): T {
  const parsed = schema.safeParse(body, { error: wording })
  if (parsed.success) return parsed.data
  const issue = deepest(parsed.error.issues[0])
  throw new ApiError('invalid_request_error', `${issue.path.join('.') || 'body'}: ${issue.message}`)
}

interface Issue {
  path: PropertyKey[]
  message: string
}

/** Of a union that matches nowhere, the alternative that came furthest says most. */
function deepest(issue: z.core.$ZodIssue | undefined): Issue {
  if (issue === undefined) return { path: [], message: 'is not valid' }
  if (issue.code === 'unrecognized_keys')
    return { path: [...issue.path, issue.keys[0] ?? ''], message: 'is not supported by this server; leave it out' }
  if (issue.code !== 'invalid_union') return issue
  let best: Issue = issue
  for (const alternative of issue.errors) {
    const inner = deepest(alternative[0])
    if (inner.path.length > best.path.length - issue.path.length)
      best = { path: [...issue.path, ...inner.path], message: inner.message }
  }
  return best
}

/** What the API has and this server has not. It is refused by name, never ignored. */
export const unsupported = (name: string): z.ZodType<undefined> =>
  z.custom<undefined>(
    (value) => value === undefined || value === null || (Array.isArray(value) && value.length === 0),
    {
      error: `${name} is not supported by this server; leave it out`,
    },
  )

const metadataKey = z.string().min(1).max(64)
const metadataValue = z.string().max(512)

export const metadata: z.ZodType<Metadata> = z
  .record(metadataKey, metadataValue)
  .refine((bag) => Object.keys(bag).length <= MAX_METADATA, `has more than ${MAX_METADATA} keys`)

export const metadataPatch: z.ZodType<MetadataPatch> = z.record(metadataKey, metadataValue.nullable()).nullable()

/** The bag after the patch. Throws ApiError when it grew too large. */
export function patchMetadata(bag: Record<string, string>, patch: MetadataPatch | undefined): Record<string, string> {
  const entries = new Map(Object.entries(bag))
  for (const [key, value] of Object.entries(patch ?? {})) {
    if (value === null) entries.delete(key)
    else entries.set(key, value)
  }
  if (entries.size > MAX_METADATA)
    throw new ApiError('invalid_request_error', `metadata: would have more than ${MAX_METADATA} keys`)
  return Object.fromEntries(entries)
}

const effort = z
  .union([z.enum(LEVELS), z.strictObject({ type: z.enum(LEVELS) })])
  .transform((value) => (typeof value === 'string' ? { type: value } : value))

/** It is an argument of the CLI, and must not look like an option. */
const modelId = z
  .string()
  .max(256)
  .regex(/^[A-Za-z0-9]/, 'must begin with a letter or digit')

const model: z.ZodType<ModelParams> = z
  .union([
    modelId,
    z.strictObject({
      id: modelId,
      effort: effort.nullish(),
      inference_geo: unsupported('inference_geo').optional(),
      speed: z.enum(['standard'], { error: 'speed "fast" is not supported by this server' }).nullish(),
    }),
  ])
  .transform((value) => (typeof value === 'string' ? { id: value } : value))

const policy: z.ZodType<PermissionPolicy> = z.discriminatedUnion(
  'type',
  [z.strictObject({ type: z.literal('always_allow') }), z.strictObject({ type: z.literal('always_ask') })],
  { error: 'type must be always_allow or always_ask; this server does not judge calls by itself' },
)

const defaultConfig = z.strictObject({ enabled: z.boolean().nullish(), permission_policy: policy.nullish() }).nullish()

const toolName = z.enum(Object.keys(TOOL_NAMES) as [ToolName, ...ToolName[]])

const MAX_DOMAINS = 64

/** `*.example.com` would say no more than `example.com`. */
const domains = z
  .array(
    z
      .string()
      .max(253)
      .regex(/^(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z0-9-]+$/i, 'must be a plain host name, like docs.example.com'),
  )
  .min(1, 'must name a domain; leave it out to allow all')
  .max(MAX_DOMAINS)
  .optional()

const toolset = z.strictObject({
  type: z.literal('agent_toolset_20260401'),
  default_config: defaultConfig,
  configs: z
    .array(
      z
        .strictObject({
          name: toolName,
          type: toolName.optional(),
          enabled: z.boolean().nullish(),
          permission_policy: policy.nullish(),
          allowed_domains: domains,
          blocked_domains: domains,
          max_content_tokens: unsupported('max_content_tokens').optional(),
          url_sources: unsupported('url_sources').optional(),
          user_location: unsupported('user_location').optional(),
        })
        .refine(({ allowed_domains: allowed, blocked_domains: blocked }) => !(allowed && blocked), {
          path: ['blocked_domains'],
          error: 'does not go with allowed_domains; name one of them',
        })
        .refine(
          ({ name, allowed_domains: allowed, blocked_domains: blocked }) =>
            name === 'web_search' || name === 'web_fetch' || !(allowed || blocked),
          { path: ['name'], error: 'has no domains: only web_search and web_fetch do' },
        ),
    )
    .optional(),
})

const identifier = z.string().regex(/^[A-Za-z0-9_-]{1,128}$/, 'must be 1 to 128 letters, digits, "_" or "-"')

const mcpToolset = z.strictObject({
  type: z.literal('mcp_toolset'),
  mcp_server_name: z.string().min(1).max(255),
  default_config: defaultConfig,
  configs: z
    .array(z.strictObject({ name: identifier, enabled: z.boolean().nullish(), permission_policy: policy.nullish() }))
    .optional(),
})

const customTool = z.strictObject({
  type: z.literal('custom'),
  name: identifier,
  description: z.string().min(1).max(16_384),
  input_schema: z.looseObject({ type: z.literal('object') }),
})

const tools: z.ZodType<ToolParams[]> = z
  .array(
    z.discriminatedUnion('type', [toolset, mcpToolset, customTool], {
      error: 'type must be agent_toolset_20260401, mcp_toolset or custom',
    }),
  )
  .max(MAX_TOOLS)

/** The CLI puts the name of a server and its tool together with "__". */
const serverName = identifier.refine(
  (name) => !name.includes('__') && name !== CUSTOM_SERVER,
  `must not contain "__", nor be "${CUSTOM_SERVER}"`,
)

const mcpServers: z.ZodType<McpServer[]> = z
  .array(
    z.strictObject({
      type: z.literal('url'),
      name: serverName,
      url: z.url({ protocol: /^https?$/, error: 'must be an http or https address' }),
    }),
  )
  .max(MAX_SERVERS)

const MAX_SKILLS = 20

const skills: z.ZodType<SkillParams[]> = z
  .array(
    z.discriminatedUnion(
      'type',
      [
        z.strictObject({
          type: z.literal('custom'),
          skill_id: z.string().min(1).max(128),
          version: z.string().min(1).max(128).nullish(),
        }),
      ],
      {
        error: 'type must be custom: this server has none of Anthropic’s own skills; upload one of yours to /v1/skills',
      },
    ),
  )
  .max(MAX_SKILLS)

const systemPrompt = z.string().max(100_000)

const executionIdentity = z
  .strictObject({ type: z.literal('service_account', { error: 'must be service_account in this server' }) })
  .nullish()

const common = {
  description: z.string().max(2048).nullish(),
  execution_identity: executionIdentity,
  multiagent: unsupported('multiagent').optional(),
  skills: skills.nullish(),
}

export const agentCreate: z.ZodType<AgentCreate> = z.strictObject({
  ...common,
  name: z.string().min(1).max(256),
  model,
  system: systemPrompt.nullish(),
  tools: tools.nullish(),
  mcp_servers: mcpServers.nullish(),
  metadata: metadata.nullish(),
})

export const agentUpdate: z.ZodType<AgentUpdate> = z.strictObject({
  ...common,
  name: z.string().min(1).max(256).optional(),
  model: model.optional(),
  system: systemPrompt.nullish(),
  tools: tools.nullish(),
  mcp_servers: mcpServers.nullish(),
  metadata: metadataPatch.optional(),
  version: z.int().min(1).optional(),
})

/** What a session may change of its agent at its creation. */
export const agentOverrides: z.ZodType<AgentOverrides> = z.strictObject({
  model: model.optional(),
  system: systemPrompt.nullish(),
  tools: tools.nullish(),
  mcp_servers: mcpServers.nullish(),
  skills: skills.optional(),
})
