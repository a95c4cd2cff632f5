import { ConfigError } from '../errors.ts'
import type { Options } from '../driver/driver.ts'

type LeftOut = 'agents' | 'hooks' | 'plugins' | 'skills'

interface Chosen extends Pick<Options, LeftOut | 'extraArgs' | 'settingSources' | 'tools'> {
  lean?: boolean
  onLargeTranscript?: 'refuse' | 'compact'
}

/** All the built-in tools that the CLI has in its bare mode, whatever `tools` says. */
const TOOLS = ['Bash', 'Edit', 'Read']

/** What the CLI leaves out of its bare mode without a word, and what to do instead. */
const LEFT_OUT: Record<LeftOut, string> = {
  agents: 'subagents are started by the tool Agent, which it does not have',
  hooks: 'it calls no hooks; decide in canUseTool',
  plugins: 'it loads no plugins',
  skills: 'it has no skills',
}

const isEmpty = (value: unknown): boolean =>
  value === undefined || (typeof value === 'object' && value !== null && Object.keys(value).length === 0)

/** Throws ConfigError if a lean agent wants what the CLI leaves out. */
export function checkLean(path: string, options: Chosen): void {
  const { lean, tools, settingSources, onLargeTranscript } = options
  if (lean !== undefined && typeof lean !== 'boolean') throw new ConfigError(`${path}.lean`, 'must be true or false')
  if (options.extraArgs !== undefined && 'bare' in options.extraArgs)
    throw new ConfigError(`${path}.extraArgs.bare`, 'is set by the pool; give the agent "lean" instead')
  if (lean !== true) return
  for (const [name, why] of Object.entries(LEFT_OUT))
    if (!isEmpty(options[name as LeftOut]))
      throw new ConfigError(`${path}.${name}`, `is not there in a lean process: ${why}. Leave it or "lean" out`)
  if (!isEmpty(settingSources))
    throw new ConfigError(
      `${path}.settingSources`,
      'a lean process reads no settings and no CLAUDE.md; leave it or "lean" out',
    )
  const other = Array.isArray(tools) ? tools.find((tool) => !TOOLS.includes(tool)) : tools && 'a preset'
  if (other !== undefined)
    throw new ConfigError(`${path}.tools`, `a lean process has ${TOOLS.join(', ')} and MCP tools, and no ${other}`)
  if (onLargeTranscript === 'compact')
    throw new ConfigError(
      `${path}.onLargeTranscript`,
      'a lean process cannot compact on request; leave it or "lean" out',
    )
}

/** Throws ConfigError if a lean process of this agent would find no credential in its environment. */
export function checkLeanCredential(name: string, { lean }: Chosen, env: Readonly<Record<string, string>>): void {
  if (lean !== true || env['CLAUDE_CODE_OAUTH_TOKEN'] === undefined) return
  if (env['ANTHROPIC_API_KEY'] !== undefined || env['ANTHROPIC_AUTH_TOKEN'] !== undefined) return
  throw new ConfigError(`agents.${name}.lean`, 'a lean process reads no OAuth token; give api.key or api.authToken')
}

/** The options of a process, in the CLI's bare mode if its agent is lean. */
export const asLean = <T extends Chosen>(options: T, lean: boolean | undefined): T =>
  lean === true ? { ...options, extraArgs: { ...options.extraArgs, bare: null } } : options
