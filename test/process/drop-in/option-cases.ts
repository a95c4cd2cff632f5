import type { QueryOptions } from '../../../src/queries/query-options.ts'
import { calledBack, program, refused, stopped } from './option-stories.ts'
import { captured, continued, notKept } from './session-stories.ts'
import type { Handed } from './sides.ts'
import { seen } from './story.ts'
import type { Seen } from './story.ts'

/** An option that shows in what a process is handed: all of these are given at once, and compared to none of them as well. */
interface HandedOver<Value> {
  value: Value
  /** Where it shows; undefined: nowhere. */
  shows: (handed: Handed) => unknown
  /** It cannot stand beside one of the others: it is given in a second query. */
  apart?: true
}

/** Why a difference is wanted. Without it both sides must do the same. */
export interface Wanted {
  differs?: string
}

export type OptionCase<Value = unknown> = (HandedOver<Value> | Seen) & Wanted

/** A flag of the command line, with its values. */
const flag =
  (name: string) =>
  ({ args }: Handed): unknown => {
    const at = args.findIndex((arg) => arg === name || arg.startsWith(`${name}=`))
    if (at === -1) return undefined
    const next = args[at + 1]
    return args[at] === name && next !== undefined && !next.startsWith('--') ? [name, next] : [args[at]]
  }

/** A field of the `initialize` request. */
const field =
  (name: string) =>
  ({ initialize }: Handed): unknown =>
    initialize[name]

const variable =
  (name: string) =>
  ({ env }: Handed): unknown =>
    env[name]

/** Every option of the SDK, and of the pool. A new one does not compile until it is said here how the two compare. */
export const OPTION_CASES: { [Name in keyof Required<QueryOptions>]: OptionCase<QueryOptions[Name]> } = {
  abortController: seen(stopped, 'aborted'),
  additionalDirectories: { value: ['/tmp'], shows: flag('--add-dir') },
  agent: { value: 'reviewer', shows: flag('--agent') },
  agentProgressSummaries: { value: true, shows: field('agentProgressSummaries') },
  agents: { value: { reviewer: { description: 'Reviews', prompt: 'Review.' } }, shows: field('agents') },
  allowDangerouslySkipPermissions: { value: true, shows: flag('--allow-dangerously-skip-permissions'), apart: true },
  allowedTools: { value: ['Bash(ls:*)'], shows: flag('--allowedTools') },
  appendSystemPrompt: {
    value: 'More.',
    shows: field('appendSystemPrompt'),
    apart: true,
    differs: 'The SDK ignores it. The pool appends it to Claude Code’s own prompt or to `systemPrompt`.',
  },
  betas: { value: ['context-1m-2025-08-07'], shows: flag('--betas') },
  canUseTool: seen(calledBack, 'asked', 'tools'),
  continue: seen(continued, 'newest'),
  cwd: {
    ...seen(refused, 'cwd'),
    differs: 'A missing directory is a `ConfigError` that names it; the SDK blames the binary.',
  },
  debug: { value: true, shows: flag('--debug'), apart: true },
  debugFile: { value: '/dev/null', shows: flag('--debug-file') },
  disallowedTools: { value: ['WebFetch'], shows: flag('--disallowedTools') },
  effort: { value: 'low', shows: flag('--effort') },
  enableFileCheckpointing: { value: true, shows: variable('CLAUDE_CODE_ENABLE_SDK_FILE_CHECKPOINTING') },
  env: {
    ...seen(refused, 'env'),
    differs:
      'It adds to an allow-list of the host’s variables instead of replacing all of them. It cannot set the variables that separate tenants.',
  },
  executable: seen(program, 'executable', 'results'),
  executableArgs: seen(program, 'executable'),
  extraArgs: { value: { 'max-turns': '7' }, shows: flag('--max-turns') },
  fallbackModel: { value: 'claude-haiku-4-5', shows: flag('--fallback-model') },
  forkSession: seen(captured, 'forked'),
  forwardSubagentText: { value: true, shows: field('forwardSubagentText') },
  hooks: seen(calledBack, 'hooked'),
  includeHookEvents: { value: true, shows: flag('--include-hook-events') },
  includePartialMessages: { value: true, shows: flag('--include-partial-messages') },
  loadTimeoutMs: seen(program, 'results'),
  managedSettings: { value: { disableAllHooks: false }, shows: flag('--managed-settings') },
  maxBudgetUsd: { value: 5, shows: flag('--max-budget-usd') },
  maxThinkingTokens: { value: 2_000, shows: flag('--max-thinking-tokens'), apart: true },
  maxTurns: seen(stopped, 'limited'),
  mcpServers: seen(calledBack, 'servers', 'tools'),
  mcpServersDelivery: {
    value: 'initialize',
    shows: (handed: Handed) => (flag('--mcp-config')(handed) === undefined ? 'stdin' : 'arguments'),
    differs:
      'The default is `initialize`, because `ps` shows the command line, and servers have secrets in their `env` and `headers`.',
  },
  model: { value: 'claude-opus-5-5', shows: flag('--model') },
  onElicitation: seen(calledBack, 'elicited', 'results'),
  onUserDialog: {
    value: () => Promise.resolve({ behavior: 'cancelled' as const }),
    shows: field('supportedDialogKinds'),
  },
  outputFormat: {
    value: { type: 'json_schema', schema: { type: 'object' } },
    shows: flag('--json-schema'),
    apart: true,
  },
  pathToClaudeCodeExecutable: seen(program, 'executable', 'results'),
  perTaskStopAffordance: { value: true, shows: field('perTaskStopAffordance') },
  permissionMode: {
    value: 'plan',
    shows: flag('--permission-mode'),
    differs:
      'The default is `dontAsk`: tools without prior approval are denied. With `canUseTool` it is `default`. The SDK’s may be `auto`.',
  },
  permissionPromptToolName: { value: 'mcp__host__ask', shows: flag('--permission-prompt-tool'), apart: true },
  permissionPrompts: { value: 'none', shows: flag('--permission-prompts') },
  persistSession: seen(notKept, 'gone'),
  planModeInstructions: { value: 'Plan well.', shows: field('planModeInstructions') },
  pluginDelivery: seen(calledBack, 'delivered'),
  plugins: seen(calledBack, 'plugins'),
  projectConfigRoot: { value: '/tmp', shows: flag('--project-config-root') },
  promptSuggestions: { value: true, shows: field('promptSuggestions') },
  resume: {
    ...seen(captured, 'resumed'),
    differs:
      'The pool looks for the id among its own sessions, in every directory. An unknown id is a `ResumeError` before any process starts. It does not look for titles.',
  },
  resumeDropsTurn: seen(captured, 'dropped'),
  resumeSessionAt: seen(captured, 'instead'),
  sandbox: { value: { enabled: false, network: { allowLocalBinding: true } }, shows: flag('--settings') },
  sessionId: seen(captured, 'chosen'),
  sessionStore: {
    ...seen(refused, 'sessionStore'),
    differs:
      "It is a `ConfigError`: the pool owns transcripts, and `transcripts: 'store'` of `createPool()` copies them to its store.",
  },
  sessionStoreFlush: seen(program, 'results'),
  settingSources: {
    value: ['project'],
    shows: flag('--setting-sources'),
    differs:
      'The default is none: an agent does not get the settings and instructions of the host’s user or of a directory.',
  },
  settings: { value: { env: { OF_SETTINGS: 'yes' } }, shows: flag('--settings') },
  skills: { value: ['pdf'], shows: field('skills') },
  spawnClaudeCodeProcess: {
    ...seen(refused, 'spawn'),
    differs: 'It is a `ConfigError`: the pool starts, counts, limits and ends every process itself.',
  },
  stderr: seen(program, 'heard'),
  strictMcpConfig: {
    value: true,
    shows: flag('--strict-mcp-config'),
    differs: 'The default is `true`: only the servers of the options.',
  },
  supportedDialogKinds: { value: ['refusal_fallback_prompt'], shows: field('supportedDialogKinds') },
  systemPrompt: { value: 'You test.', shows: field('systemPrompt') },
  taskBudget: { value: { total: 50_000 }, shows: flag('--task-budget') },
  thinking: { value: { type: 'enabled', budgetTokens: 2_000 }, shows: flag('--max-thinking-tokens') },
  title: { value: 'Mine', shows: field('title') },
  toolAliases: { value: { Bash: 'mcp__host__bash' }, shows: field('toolAliases') },
  toolConfig: {
    value: { askUserQuestion: { previewFormat: 'html' } },
    shows: variable('CLAUDE_CODE_QUESTION_PREVIEW_FORMAT'),
  },
  tools: { value: ['Bash', 'Read'], shows: flag('--tools') },
  verbatimPrompts: {
    value: true,
    shows: ({ prompt }: Handed) => prompt?.['client_composed'],
    differs: 'The default is `true`: text from a program must not run slash commands or read files by `@path`.',
  },
}
