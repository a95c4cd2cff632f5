import { z } from 'zod'
import { ConfigError } from '../errors.ts'
import type { CanUseTool, McpServerConfig, OnElicitation, Options, PermissionResult } from '../driver/driver.ts'
import { readAgentLimits } from '../options/limits.ts'
import type { AgentLimitOptions, TurnLimits } from '../options/limits.ts'
import { readAgentIsolation } from '../options/isolation.ts'
import type { AgentIsolation, AgentIsolationOptions } from '../options/isolation.ts'
import { readRemotes } from '../options/remotes.ts'
import type { NamedRemote, RemoteOptions } from '../options/remotes.ts'
import { readAgentResidency } from '../options/residency.ts'
import type { Residency, ResidencyOptions } from '../options/residency.ts'
import { readSpares } from '../options/spares.ts'
import type { SpareBounds, SpareOptions } from '../options/spares.ts'
import { notOneOf } from '../options/wording.ts'
import { checkKeys, checkSdkOptions } from './schema.ts'
import type { OwnedOption } from './schema.ts'
import type { SessionRef } from '../store/store.ts'
import type { Permissions } from './permissions.ts'
import { asLean, checkLean } from './lean.ts'
import { hasRemotes } from './remotes.ts'

/** Variables that would let an agent out of its tenant, or keep the CLI from starting. */
const OWNED_VARIABLES = [
  'CLAUDE_CONFIG_DIR',
  'CLAUDECODE',
  'CLAUDE_AGENT_POOL_MARKER',
  // These move or switch off transcripts, which the pool has to find.
  'CLAUDE_CODE_PROJECT_DIR_NAME',
  'CLAUDE_CODE_SKIP_PROMPT_HISTORY',
]

/** What in-process tools and callbacks know of their worker. */
export interface WorkerContext {
  /** The session that the worker serves; undefined while it is a spare. Ask at each call. */
  readonly session: SessionRef | undefined
  /**
   * For a tool that the client executes: waits for `work`, while the worker is pinned, the session's events say that it
   * waits for a result, and its silence does not count. The tool's server is to be named `client_tools`.
   */
  awaitClient<T>(call: ClientToolCall, work: () => Promise<T>): Promise<T>
  /**
   * Calls `prepare` before each prompt that starts a turn; the prompt waits until it resolves. When it rejects, the
   * turn fails with a ConfigError.
   */
  beforeTurn(prepare: PrepareTurn): void
}

/** Makes a process ready for a turn, which is known by the id that `send()` gave it. */
export type PrepareTurn = (turn: { id: string }) => Promise<void>

/** A call of a tool that the client executes. */
export interface ClientToolCall {
  /** The CLI's id: `_meta['claudecode/toolUseId']` of the MCP request. */
  toolUseId: string
  /** The tool's name in its server. */
  name: string
  input: Record<string, unknown>
  /** The MCP request's own signal: the wait ends when it aborts. Without it only `work` ends the wait. */
  signal?: AbortSignal | undefined
}

type CanUseToolOptions = Parameters<CanUseTool>[2]

/** The SDK's `canUseTool`, with the session of the tool call. */
export type PoolCanUseTool = (
  toolName: string,
  input: Record<string, unknown>,
  options: CanUseToolOptions & { session: SessionRef | undefined },
) => Promise<PermissionResult | null>

type ElicitationOptions = Parameters<OnElicitation>[1]

/** The SDK's `onElicitation`, with the session of the question. */
export type PoolOnElicitation = (
  request: Parameters<OnElicitation>[0],
  options: ElicitationOptions & { session: SessionRef | undefined },
) => ReturnType<OnElicitation>

type McpServers = Record<string, McpServerConfig>

/** An agent: the SDK's options less what the pool owns, with safe defaults, and how it is kept. */
export interface AgentOptions extends Omit<Options, OwnedOption | 'canUseTool' | 'onElicitation' | 'mcpServers'> {
  /** Asked for permission if `permissionMode` does not decide. Giving it makes the default mode `"default"`. */
  canUseTool?: PoolCanUseTool
  /** Asked when an MCP server wants to know something of the user. */
  onElicitation?: PoolOnElicitation
  /**
   * As in the SDK; in-process servers (`createSdkMcpServer`) must come from a function, since each process needs its
   * own. Called once for each process.
   */
  mcpServers?: McpServers | ((context: WorkerContext) => McpServers)
  /** In-process servers beside `mcpServers`, which may then be a plain object. Called once for each process. */
  inProcessServers?: (context: WorkerContext) => McpServers
  /** Spares for new conversations in workspaces that the pool makes, or in this agent's `cwd`. Default `{ min: 0, max: 2 }`. */
  spares?: SpareOptions
  /** Spares for new conversations with a `cwd` from the caller. Default `{ min: 0, max: 2 }`. */
  unboundSpares?: SpareOptions
  /** How this agent is isolated more strictly than its pool. Default: not. */
  isolation?: AgentIsolationOptions
  /**
   * Places that need a credential, by name. The processes of this agent reach each at a local address of their own, which adds the
   * credential; the processes never have it. Needs the credential proxy.
   */
  remotes?: Readonly<Record<string, RemoteOptions>>
  /**
   * Starts its processes in the CLI's bare mode: about 5 % sooner, and in 5 % less memory (`bench -- lean`). They have the tools Bash, Edit and Read and those of MCP
   * servers, described in fewer words. They have no subagents, skills, plugins, hooks and settings, read no CLAUDE.md, and the model is
   * not told of the working directory, the system and the date. Such options are refused beside it, and so is an OAuth token. Default: false.
   */
  lean?: boolean
  /** The limits of this agent's turns and workers. Default: the pool's. */
  limits?: AgentLimitOptions
  /**
   * When this agent's idle workers are closed. With a `pattern` it is complete in itself; without one, missing options
   * come from the pool.
   */
  residency?: ResidencyOptions
  /**
   * What happens when a conversation's transcript is gone. Default `"error"`: ResumeError. `"fresh"`: starts the
   * conversation again, once, and emits an event.
   */
  onStaleResume?: 'error' | 'fresh'
  /**
   * What happens when a conversation has outgrown `limits.resumeSize`. Default `"refuse"`: it cannot be resumed any more
   * (ResumeError, or as `onStaleResume` says). `"compact"`: the agent's model sums it up, after a turn or before the next one.
   */
  onLargeTranscript?: 'refuse' | 'compact'
  /**
   * The decision of this agent's permission policy for a tool, by the CLI's name of it. The events of its calls contain
   * it. It decides nothing. Default: what the CLI decides, which is awaited for 250 ms after the agent's hooks have
   * answered.
   */
  evaluatedPermission?: (toolName: string) => 'allow' | 'ask' | 'deny'
}

/** The keys that are the pool's and not the SDK's: a process knows nothing of them. */
const POOL_KEYS = [
  'spares',
  'unboundSpares',
  'isolation',
  'remotes',
  'lean',
  'limits',
  'residency',
  'onStaleResume',
  'onLargeTranscript',
  'evaluatedPermission',
] as const

type ProcessOptions = Omit<AgentOptions, (typeof POOL_KEYS)[number]>

/** An agent, checked. */
export interface Agent {
  readonly name: string
  readonly options: Readonly<AgentOptions>
  /** The options with which a process is started. */
  readonly processOptions: Readonly<ProcessOptions>
  readonly spares: SpareBounds
  readonly unboundSpares: SpareBounds
  /** Undefined: as the pool says. */
  readonly isolation: AgentIsolation | undefined
  readonly remotes: readonly NamedRemote[]
  /** Its processes need a local address, if they are what the options say. */
  readonly hasRemotes: boolean
  readonly limits: Partial<TurnLimits>
  /** Undefined: the pool's. */
  readonly workerMemoryBytes: number | undefined
  /** Undefined: the pool's. */
  readonly residency: Residency | undefined
  readonly onStaleResume: 'error' | 'fresh'
  readonly onLargeTranscript: 'refuse' | 'compact'
  /** What is known of its calls before the CLI decides. */
  readonly permissions: Permissions
}

const nameSchema = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/,
    'a name is a letter or digit, then up to 63 of letters, digits, ".", "_", "-"',
  )

function checkVariables(path: string, { env = {} }: AgentOptions): void {
  const own = Object.keys(env).find((variable) => OWNED_VARIABLES.includes(variable))
  if (own !== undefined) throw new ConfigError(`${path}.env.${own}`, 'is set by the pool itself; leave it out')
}

function checkServers(path: string, servers: AgentOptions['mcpServers']): void {
  if (servers === undefined || typeof servers === 'function') return
  for (const [name, server] of Object.entries(servers)) {
    if (server.type === 'sdk') {
      throw new ConfigError(
        `${path}.mcpServers.${name}`,
        'is an in-process server, of which each process needs its own; make it in a function: mcpServers: () => ({ … })',
      )
    }
  }
}

/** One of these words; the first where nothing is said. */
function readWord<Word extends string>(path: string, value: Word | undefined, words: readonly [Word, ...Word[]]): Word {
  if (value === undefined) return words[0]
  if (words.includes(value)) return value
  throw new ConfigError(path, notOneOf(value, words))
}

const hasOwnServers = ({ mcpServers }: AgentOptions): boolean =>
  typeof mcpServers === 'object' && Object.values(mcpServers).some(({ type }) => type === 'sdk')

/**
 * Checks one agent. Throws ConfigError. `ownProcess`: it serves one process only, so it may bring in-process servers.
 * `residency`: the pool's, for what the agent's leaves out.
 */
export function readAgent(
  name: string,
  options: AgentOptions,
  { ownProcess = false, residency }: { ownProcess?: boolean; residency?: ResidencyOptions | undefined } = {},
): Agent {
  const path = ownProcess ? 'options' : `agents.${name}`
  const parsed = nameSchema.safeParse(name)
  if (!parsed.success && !ownProcess) throw new ConfigError(path, parsed.error.issues[0]?.message ?? 'is not a name')
  if (typeof options !== 'object' || options === null) throw new ConfigError(path, 'is not an object of options')
  checkKeys(path, options, [...POOL_KEYS, 'inProcessServers'])
  checkSdkOptions(path, options)
  checkLean(path, options)
  checkVariables(path, options)
  if (!ownProcess) checkServers(path, options.mcpServers)
  const limits = readAgentLimits(`${path}.limits`, options.limits)
  const {
    spares,
    unboundSpares,
    isolation,
    remotes,
    lean,
    limits: _,
    residency: own,
    onStaleResume,
    onLargeTranscript,
    evaluatedPermission,
    ...processOptions
  } = options
  const spareless = ownProcess && hasOwnServers(options) ? { min: 0, max: 0 } : undefined
  return Object.freeze({
    name,
    options: Object.freeze({ ...options }),
    processOptions: Object.freeze(asLean(processOptions, lean)),
    spares: spareless ?? readSpares(`${path}.spares`, spares),
    unboundSpares: spareless ?? readSpares(`${path}.unboundSpares`, unboundSpares),
    isolation: readAgentIsolation(`${path}.isolation`, isolation),
    remotes: readRemotes(`${path}.remotes`, remotes),
    hasRemotes: hasRemotes(options),
    limits: limits.turns,
    workerMemoryBytes: limits.workerMemoryBytes,
    residency: own === undefined ? undefined : readAgentResidency(`${path}.residency`, own, residency),
    onStaleResume: readWord(`${path}.onStaleResume`, onStaleResume, ['error', 'fresh']),
    onLargeTranscript: readWord(`${path}.onLargeTranscript`, onLargeTranscript, ['refuse', 'compact']),
    permissions: readPermissions(path, options, ownProcess),
  })
}

/** Where the CLI may ask, processes tell when it comes to a call. A query's events are not kept. */
function readPermissions(path: string, options: AgentOptions, ownProcess: boolean): Permissions {
  const { evaluatedPermission, permissionMode, canUseTool, lean } = options
  if (evaluatedPermission !== undefined && typeof evaluatedPermission !== 'function')
    throw new ConfigError(`${path}.evaluatedPermission`, 'is not a function of a tool’s name')
  if (evaluatedPermission !== undefined) return { of: evaluatedPermission, callsTold: false }
  if (permissionMode === 'bypassPermissions') return { of: () => 'allow', callsTold: false }
  // Processes tell of calls in a hook, which a lean one does not call.
  const asks = canUseTool !== undefined && permissionMode !== 'dontAsk'
  return { of: () => undefined, callsTold: !ownProcess && asks && lean !== true }
}

/** Checks the agents of a pool, whose `residency` holds for what they leave out. Throws ConfigError. */
export function readAgents(
  agents: Readonly<Record<string, AgentOptions>> | undefined,
  residency: ResidencyOptions | undefined,
): Agent[] {
  if (agents !== undefined && (typeof agents !== 'object' || agents === null || Array.isArray(agents)))
    throw new ConfigError('agents', 'must be a map of agents by name, like { assistant: {} }')
  const entries = Object.entries(agents ?? {})
  if (entries.length === 0) throw new ConfigError('agents', 'names no agent; give at least one, like { assistant: {} }')
  const names = new Map<string, string>()
  for (const [name] of entries) {
    const twin = names.get(name.toLowerCase())
    if (twin !== undefined)
      throw new ConfigError(
        `agents.${name}`,
        `duplicates agents.${twin}: names that differ in case alone are too easily mixed up`,
      )
    names.set(name.toLowerCase(), name)
  }
  return entries.map(([name, agent]) => readAgent(name, agent, { residency }))
}
