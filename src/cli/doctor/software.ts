import { verdicts } from './finding.ts'
import type { Finding } from './finding.ts'
import { NODE_AT_LEAST, compareVersions } from '../../node-version.ts'

/** The versions of the Agent SDK that the package was made for: from the first, below the second. */
const SDK_RANGE = ['0.3.332', '0.4.0'] as const

const SDK = '@anthropic-ai/claude-agent-sdk'

/** What is known of the `claude` that would be started. */
export interface ClaudeFacts {
  path: string | undefined
  /** What it says of its version; undefined when it could not be run. */
  version: string | undefined
  /** Why it could not be run. */
  problem: string | undefined
  /** The version that the installed SDK was made with. */
  expected: string | undefined
}

/** What is known of the credential, without the credential. */
export interface CredentialFacts {
  /** Where it is, or which provider brings its own; undefined: nowhere. */
  from: string | undefined
  /** Variables that hold spaces or line ends, which no credential has. */
  broken: readonly string[]
  /** Why a command or a file gives none; undefined: it does, or there is no such source. */
  problem?: string | undefined
}

/** What is known of the config. */
export type ConfigFacts = { file: string | undefined; agents: readonly string[] } | { problem: string }

export function checkNode(version: string): Finding {
  const { ok, error } = verdicts('node')
  if (compareVersions(version, NODE_AT_LEAST) >= 0) return ok(version)
  return error(version, `install Node ${NODE_AT_LEAST} or later`)
}

export function checkSdk(version: string | undefined): Finding {
  const { ok, warning, error } = verdicts('Agent SDK')
  const [from, below] = SDK_RANGE
  const install = `npm install ${SDK}@'>=${from} <${below}'`
  if (version === undefined) return error(`${SDK} is not installed`, install)
  if (compareVersions(version, from) < 0) return error(`${version} is older than ${from}`, install)
  if (compareVersions(version, below) >= 0) return warning(`${version} is newer than what was tested`, install)
  return ok(version)
}

export function checkClaude({ path, version, problem, expected }: ClaudeFacts): Finding {
  const { ok, warning, error } = verdicts('claude')
  if (path === undefined)
    return error(
      'the SDK has brought no claude binary for this platform',
      `install ${SDK} again without --omit=optional, or set pathToClaudeCodeExecutable in the agent's options`,
    )
  if (version === undefined)
    return error(
      `${path} does not run: ${problem ?? 'it says no version'}`,
      `install ${SDK} again on this very platform`,
    )
  if (expected !== undefined && version !== expected)
    return warning(`${version}, but the SDK was made with ${expected}`, `install ${SDK} again, so that the two fit`)
  return ok(version)
}

export function checkCredential({ from, broken, problem }: CredentialFacts): Finding {
  const { ok, warning, error } = verdicts('credential')
  if (problem !== undefined) return error(problem, 'serve does not start before it can be read')
  if (broken.length > 0)
    return error(`${broken.join(', ')} has spaces or line ends`, 'set it again, without what does not belong to it')
  if (from !== undefined) return ok(`there is one: ${from}`)
  return warning('there is none', 'set ANTHROPIC_API_KEY; without one, commands use the simulated model')
}

/** The library leaves the environment of its caller as it is. */
export function checkEnvironment(secrets: readonly string[]): Finding {
  const { ok, warning } = verdicts('environment')
  if (secrets.length === 0) return ok('no variable looks like a secret')
  return warning(
    `${secrets.join(', ')}: a program that is started with them shows them in /proc to all processes of its user, agents included`,
    '"serve" takes them out of its own; for a program of yours, and for what starts either, keep them in files that agents cannot read',
  )
}

export function checkConfig(facts: ConfigFacts): Finding {
  const { ok, error } = verdicts('config')
  if ('problem' in facts) return error(facts.problem, 'correct it, or choose another with --config')
  const { file, agents } = facts
  if (file === undefined) return ok('none: an agent "assistant" with defaults')
  return ok(`${file}: ${agents.length === 1 ? 'agent' : 'agents'} ${agents.join(', ')}`)
}
