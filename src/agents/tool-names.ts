import { ConfigError } from '../errors.ts'
import { sdkDeclaresTool, sdkIsNewer } from '../options/sdk-types.ts'
import { isMisspelt, suggestionFor } from '../options/suggestion.ts'

/** The built-in tools of Claude Code, also if only some platforms or accounts have them, and earlier names. */
export const BUILT_IN_TOOLS: readonly string[] = `
  Agent AgentOutputTool Artifact AskUserQuestion Bash BashOutput Brief Cd ClaudeDesign CronCreate CronDelete
  CronList DesignSync Edit EnterPlanMode EnterWorktree ExitPlanMode ExitWorktree Glob Grep JavaScript KillBash
  KillShell LS LSP ListAgents ListMcpResources ListMcpResourcesTool ListPeers Monitor MultiEdit NotebookEdit
  NotebookRead ObserverReport OfferChromeSetup PowerShell Projects ProposeGoal ProposeSkills PushNotification
  REPL Read ReadMcpResource ReadMcpResourceDir ReadMcpResourceDirTool ReadMcpResourceTool ReadNotifications
  RefreshMcpTools RemoteTrigger ReportFindings ScheduleWakeup SendFeedback SendMessage SendUserMessage
  ShowOnboardingRolePicker Skill SlashCommand Sleep StructuredOutput Task TaskCreate TaskGet TaskList TaskOutput
  TaskStop TaskUpdate TeamCreate TeamDelete TodoRead TodoWrite ToolSearch WebFetch WebSearch Workflow Write
`
  .trim()
  .split(/\s+/)

/** What an agent says of the tools there can be, beside the built-in ones. */
export interface ToolSources {
  /** Its MCP servers; undefined when they are not known before its process starts. */
  servers: readonly string[] | undefined
  /** Its own `claude`, which may be of any version. */
  ownExecutable: boolean
}

/** The tools that an entry names: `Bash(git:*), Read` are two rules of one, as the CLI reads them. */
function toolsIn(entry: string): string[] {
  let depth = 0
  let outside = ''
  for (const sign of entry) {
    if (sign === ')') depth = Math.max(0, depth - 1)
    else if (sign === '(') depth += 1
    else if (depth === 0) outside += sign
  }
  return outside
    .split(/[\s,]+/)
    .map((name) => name.replace(/^[!-]/, ''))
    .filter((name) => name !== '')
}

const shown = (name: string): string => (name.length > 60 ? `${name.slice(0, 60)}…` : name)

const simplified = (name: string): string => name.toLowerCase().replaceAll(/[_-]/g, '')

function problemOfBuiltIn(name: string, { ownExecutable }: ToolSources): string | undefined {
  // `default` stands for all tools that are there by default.
  if (BUILT_IN_TOOLS.includes(name) || name === 'default') return undefined
  if (name.includes('*')) {
    const pattern = new RegExp(`^${name.replaceAll(/\W/g, (sign) => (sign === '*' ? '.*' : `\\${sign}`))}$`)
    return BUILT_IN_TOOLS.some((tool) => pattern.test(tool)) ? undefined : `"${shown(name)}" matches no tool`
  }
  if (/^mcp_|__/i.test(name))
    return `there is no tool "${shown(name)}"; those of MCP servers are written mcp__SERVER__TOOL`
  if (sdkDeclaresTool(name)) return undefined
  const same = BUILT_IN_TOOLS.find((tool) => simplified(tool) === simplified(name))
  const misspelt = same !== undefined || BUILT_IN_TOOLS.some((tool) => isMisspelt(name, tool))
  if (!misspelt && (ownExecutable || sdkIsNewer())) return undefined
  return `there is no tool "${shown(name)}"${same === undefined ? suggestionFor(name, BUILT_IN_TOOLS) : `; did you mean ${same}?`}`
}

/** As the CLI writes the name of a server in those of its tools. */
const normalized = (server: string): string => server.replaceAll(/[^a-zA-Z0-9_-]/g, '_')

const isOf = (server: string, name: string): boolean => name === `mcp__${server}` || name.startsWith(`mcp__${server}__`)

/**
 * A server that is unlike all of the agent's may come later, by `setMcpServers()`, and lists are shared between agents that
 * have different ones. So a name is misspelt only if it is nearly that of a server which no other rule names.
 */
function problemOfMcp(name: string, { servers }: ToolSources, others: readonly string[]): string | undefined {
  const known = servers?.map(normalized) ?? []
  if (name.includes('*') || known.some((server) => isOf(server, name))) return undefined
  const server = name.split('__')[1] ?? ''
  const meant = known.find((each) => isMisspelt(server, each) && !others.some((other) => isOf(each, other)))
  return meant === undefined ? undefined : `there is no MCP server "${shown(server)}"; did you mean ${meant}?`
}

const problemOf = (name: string, sources: ToolSources, others: readonly string[]): string | undefined =>
  name.startsWith('mcp__') ? problemOfMcp(name, sources, others) : problemOfBuiltIn(name, sources)

/** Checks a list of tools or of permission rules. Throws ConfigError: a misspelt one would be a control that is not there. */
export function checkToolRules(path: string, entries: readonly string[], sources: ToolSources): void {
  const names = entries.map(toolsIn)
  const all = names.flat()
  for (const [index, each] of names.entries()) {
    for (const name of each) {
      const problem = problemOf(name, sources, all)
      if (problem !== undefined) throw new ConfigError(`${path}.${index}`, problem)
    }
  }
}

/** Checks the matcher of a hook on tools, if it is a list of names and no other expression. Throws ConfigError. */
export function checkToolMatcher(path: string, matcher: string, sources: ToolSources): void {
  if (!/^[\w\s|,-]+$/.test(matcher)) return
  const names = matcher.split(/[\s|,]+/).filter((name) => name !== '')
  for (const name of names) {
    const problem = problemOf(name, sources, names)
    if (problem !== undefined) throw new ConfigError(path, problem)
  }
}
