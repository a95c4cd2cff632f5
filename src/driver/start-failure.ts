import { ConfigError, ResumeError, StartError, StartRefusedError } from '../errors.ts'
import type { ExitFacts } from '../errors.ts'
import type { GatedExit } from './gated-process.ts'
import type { Refusal } from './startup-output.ts'

/** What to do about a refusal that the CLI explains in terms of its flags. */
const ADVICE: Readonly<Record<string, string>> = {
  sideload_flags_disabled:
    '; leave mcpServers, plugins and agents out of this agent, or have the administrator allow them',
  bypass_root: "; run the pool as another user, or set env: { IS_SANDBOX: '1' } where a sandbox holds the agent",
}

/** What is known of a process that did not start. */
export interface FailedStart {
  exit: GatedExit | undefined
  refusal: Refusal | undefined
  /** It was to go on with a conversation. */
  resuming: boolean
}

/** One error for all the ways in which a start fails. */
export function startFailure(error: Error, { exit, refusal, resuming }: FailedStart): Error {
  const because = { cause: error }
  if (/No conversation found with session ID/.test(error.message)) {
    return new ResumeError(`there is no conversation to resume: ${error.message}`, because)
  }
  if (refusal?.reason !== undefined) return refused(refusal.reason, refusal.message, exit, error)
  if (refusal !== undefined && resuming) {
    return new ResumeError(`the conversation cannot be resumed: ${refusal.message}`, because)
  }
  const spawnError = exit?.spawnError ?? ((error as NodeJS.ErrnoException).syscall === 'spawn' ? error : undefined)
  if (spawnError !== undefined) {
    return new StartError('spawn', `the agent process could not be started: ${spawnError.message}`, exit, because)
  }
  if (error instanceof ConfigError) return error
  if (error instanceof StartError && (error.exit !== undefined || exit === undefined)) return error
  const message = error instanceof StartError ? error.message : `the agent process did not start: ${error.message}`
  return new StartError('initialize', message, exit, because)
}

function refused(reason: string, message: string, exit: ExitFacts | undefined, cause: Error): StartError {
  const text = `claude refused to start (${reason}): ${message}${ADVICE[reason] ?? ''}`
  return new StartRefusedError(reason, text, exit, { cause })
}

/** How it exited, with the last of its stderr. */
export function exitSentence({ cause, exitCode, signal, stderr }: ExitFacts): string {
  const died = signal !== null ? `was ended by ${signal}` : `exited with code ${exitCode}`
  const how = cause === 'out_of_memory' ? 'was killed by the kernel for memory' : died
  const lines = stderr.trim()
  return `the agent process ${how}${lines === '' ? '' : `; stderr: ${lines}`}`
}
