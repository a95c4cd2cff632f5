import { isAbsolute, resolve } from 'node:path'
import { z } from 'zod'
import type { Options } from '../driver/driver.ts'
import { ConfigError } from '../errors.ts'
import { chosenPathSync } from '../files/host-paths.ts'
import { sdkDeclares } from '../options/sdk-types.ts'
import { validate } from '../options/section.ts'
import { unknownOption } from '../options/unknown.ts'
import { checkSandbox, checkSettings } from './bounds.ts'
import { checkHooks } from './hooks.ts'
import { checkSizes } from './sizes.ts'
import { checkPlugins, checkServerMap, checkSubagents } from './servers.ts'
import { anything, callback, effort, oneOf, permissionMode, text, texts, yesNo } from './sdk-shape.ts'
import { checkToolMatcher, checkToolRules } from './tool-names.ts'
import type { ToolSources } from './tool-names.ts'

/** SDK options that the pool sets itself. */
export type OwnedOption =
  | 'abortController'
  | 'continue'
  | 'forkSession'
  | 'loadTimeoutMs'
  | 'persistSession'
  | 'resume'
  | 'resumeDropsTurn'
  | 'resumeSessionAt'
  | 'sessionId'
  | 'sessionStore'
  | 'sessionStoreFlush'
  | 'spawnClaudeCodeProcess'
  | 'stderr'

const OWNED: Record<OwnedOption, true> = {
  abortController: true,
  continue: true,
  forkSession: true,
  loadTimeoutMs: true,
  persistSession: true,
  resume: true,
  resumeDropsTurn: true,
  resumeSessionAt: true,
  sessionId: true,
  sessionStore: true,
  sessionStoreFlush: true,
  spawnClaudeCodeProcess: true,
  stderr: true,
}

const directories = z.array(z.string().min(1))
const positiveNumber = z.number().positive().optional()
const functionOrNot = callback.optional()

const systemPrompt = z
  .union([z.string(), texts, z.looseObject({ type: z.enum(['preset', 'custom']) })], {
    error: 'must be text, a list of texts, or a map like { type: preset, preset: claude_code, append: … }',
  })
  .optional()

const toolList = z
  .union([texts, z.looseObject({ type: z.literal('preset') })], {
    error: 'must be a list like [Read, Grep], or { type: preset, preset: claude_code }',
  })
  .optional()

/** The SDK's options that an agent may have. The type makes it complete for the SDK this release was built with. */
const SDK_OPTIONS: Record<keyof Omit<Options, OwnedOption>, z.ZodType> = {
  additionalDirectories: directories.optional(),
  agent: text.optional(),
  agentProgressSummaries: yesNo,
  agents: anything,
  allowDangerouslySkipPermissions: yesNo,
  allowedTools: texts.optional(),
  betas: texts.optional(),
  canUseTool: functionOrNot,
  cwd: text.optional(),
  debug: yesNo,
  debugFile: text.optional(),
  disallowedTools: texts.optional(),
  effort,
  enableFileCheckpointing: yesNo,
  env: z.record(z.string(), z.string().optional()).optional(),
  executable: oneOf('bun', 'deno', 'node'),
  executableArgs: texts.optional(),
  extraArgs: z.record(z.string(), z.string().nullable()).optional(),
  fallbackModel: text.optional(),
  forwardSubagentText: yesNo,
  hooks: anything,
  includeHookEvents: yesNo,
  includePartialMessages: yesNo,
  managedSettings: anything,
  maxBudgetUsd: positiveNumber,
  maxThinkingTokens: z.int().nonnegative().optional(),
  maxTurns: z.int().positive().optional(),
  mcpServers: anything,
  mcpServersDelivery: oneOf('argv', 'initialize'),
  model: text.optional(),
  onElicitation: functionOrNot,
  onUserDialog: functionOrNot,
  outputFormat: z.looseObject({ type: z.literal('json_schema'), schema: z.looseObject({}) }).optional(),
  pathToClaudeCodeExecutable: text.optional(),
  perTaskStopAffordance: yesNo,
  permissionMode,
  permissionPromptToolName: text.optional(),
  permissionPrompts: oneOf('host', 'none'),
  planModeInstructions: z.string().optional(),
  pluginDelivery: oneOf('argv', 'initialize'),
  plugins: anything,
  projectConfigRoot: text.optional(),
  promptSuggestions: yesNo,
  sandbox: anything,
  settingSources: z.array(z.enum(['user', 'project', 'local'])).optional(),
  settings: anything,
  skills: z.union([texts, z.literal('all')], { error: 'must be a list of names, or "all"' }).optional(),
  strictMcpConfig: yesNo,
  supportedDialogKinds: texts.optional(),
  systemPrompt,
  taskBudget: z.looseObject({}).optional(),
  thinking: z.looseObject({ type: z.enum(['adaptive', 'enabled', 'disabled']) }).optional(),
  title: text.optional(),
  toolAliases: z.record(z.string(), z.string()).optional(),
  toolConfig: z.looseObject({}).optional(),
  tools: toolList,
  verbatimPrompts: yesNo,
}

const schema = z.looseObject({ ...SDK_OPTIONS, inProcessServers: functionOrNot })

/** Refuses what is no option of an agent: `poolKeys` are the pool's own, beside the SDK's. Throws ConfigError. */
export function checkKeys(path: string, options: object, poolKeys: readonly string[]): void {
  const known = [...Object.keys(SDK_OPTIONS), ...poolKeys]
  for (const key of Object.keys(options)) {
    if (key in OWNED) throw new ConfigError(`${path}.${key}`, 'is set by the pool itself; leave it out')
    if (known.includes(key) || sdkDeclares('Options', key)) continue
    throw unknownOption(path, key, known, 'an option of an agent')
  }
}

/** Where the tools of an agent come from. */
function toolSourcesOf(options: Readonly<Record<string, unknown>>): ToolSources {
  const { mcpServers = {}, inProcessServers, strictMcpConfig, plugins, settingSources } = options
  const more =
    inProcessServers !== undefined ||
    strictMcpConfig === false ||
    plugins !== undefined ||
    (Array.isArray(settingSources) && settingSources.length > 0)
  return {
    servers: typeof mcpServers === 'function' || more ? undefined : Object.keys(mcpServers as object),
    ownExecutable: options['pathToClaudeCodeExecutable'] !== undefined,
  }
}

/**
 * Checks the values of the SDK's options: what is misspelt in them is a control that is not there. Throws ConfigError.
 */
export function checkSdkOptions(path: string, options: object): void {
  const given = validate(path, schema, options) as Omit<Options, OwnedOption>
  checkSizes(path, given)
  const { hooks, mcpServers, agents, plugins, sandbox, managedSettings } = given
  if (mcpServers !== undefined && typeof mcpServers !== 'function') checkServerMap(`${path}.mcpServers`, mcpServers)
  const sources = toolSourcesOf(given)
  if (hooks !== undefined) checkHooks(`${path}.hooks`, hooks, sources)
  if (agents !== undefined) checkSubagents(`${path}.agents`, agents, sources)
  if (plugins !== undefined) checkPlugins(`${path}.plugins`, plugins)
  if (sandbox !== undefined) checkSandbox(`${path}.sandbox`, sandbox)
  if (managedSettings !== undefined) checkSettings(`${path}.managedSettings`, managedSettings, sources)
  checkSettingsOption(`${path}.settings`, given.settings, sources)
  checkTools(path, given, sources)
  checkDirectories(path, given)
}

function checkTools(path: string, options: Omit<Options, OwnedOption>, sources: ToolSources): void {
  for (const name of ['tools', 'allowedTools', 'disallowedTools'] as const) {
    const list = options[name]
    if (Array.isArray(list)) checkToolRules(`${path}.${name}`, list, sources)
  }
  for (const [from, to] of Object.entries(options.toolAliases ?? {}))
    for (const name of [from, to]) checkToolMatcher(`${path}.toolAliases.${from}`, name, sources)
}

/** Settings are a map, the same as JSON, or the path of a file. */
function checkSettingsOption(path: string, settings: unknown, sources: ToolSources): void {
  if (settings === undefined) return
  if (typeof settings !== 'string') return checkSettings(path, settings, sources)
  if (!settings.trimStart().startsWith('{')) {
    if (isAbsolute(settings) && chosenPathSync(settings) !== 'other')
      throw new ConfigError(path, `there is no file ${settings} that this user can reach`)
    return
  }
  let parsed: unknown
  try {
    parsed = JSON.parse(settings)
  } catch (cause) {
    throw new ConfigError(path, `is not JSON: ${(cause as Error).message}`, { cause })
  }
  checkSettings(path, parsed, sources)
}

function checkDirectories(path: string, options: Omit<Options, OwnedOption>): void {
  const { cwd, additionalDirectories = [], plugins = [] } = options
  if (cwd !== undefined)
    checkDirectory(`${path}.cwd`, resolve(cwd), 'make it first, or leave cwd out for a workspace of the pool')
  // Others that are relative are so to the agent's directory, which may not be there yet.
  for (const [index, directory] of additionalDirectories.entries())
    if (isAbsolute(directory)) checkDirectory(`${path}.additionalDirectories.${index}`, directory, 'make it first')
  for (const [index, plugin] of plugins.entries())
    if (isAbsolute(plugin.path)) checkDirectory(`${path}.plugins.${index}.path`, plugin.path, 'correct the path')
}

function checkDirectory(path: string, directory: string, advice: string): void {
  const found = chosenPathSync(directory)
  if (found === undefined)
    throw new ConfigError(path, `${directory} does not exist, or this user cannot reach it; ${advice}`)
  if (found !== 'folder') throw new ConfigError(path, `${directory} is not a directory`)
}
