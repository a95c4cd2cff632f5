import { CommanderError } from 'commander'
import { ConfigError, PoolError } from '../../errors.ts'
import { fileProblem } from '../../options/file-problem.ts'
import { RequestProblem } from './request-problem.ts'

/** What a command's exit code says. */
export const EXIT = {
  /** It did what was asked. */
  done: 0,
  /** It could not, or a promise was not kept. */
  failed: 1,
  /** It was asked wrongly: an option, a value, a file. */
  usage: 2,
  /** The reader of its output has gone. */
  outputClosed: 141,
} as const

/** One line, whatever the message holds. */
export const oneLine = (text: string): string => text.trim().replaceAll(/\s*\n\s*/g, ' | ')

/** Says on stderr what went wrong, and which exit code that is. A fault of our own shows where it is. */
export function report(error: unknown): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return EXIT.done
    return say(error.message.replace(/^error: /, '').replaceAll('\n', ' '), EXIT.usage)
  }
  if (error instanceof ConfigError) return say(error.message, EXIT.usage)
  if (error instanceof PoolError) return say(`${error.message} (${error.code})`, EXIT.failed)
  if (error instanceof RequestProblem) return say(error.message, EXIT.failed)
  const system = systemProblem(error)
  if (system !== undefined) return say(system, EXIT.failed)
  console.error(error)
  return EXIT.failed
}

/** What the system said of a file, as a sentence; undefined for any other error. */
function systemProblem(error: unknown): string | undefined {
  const { code, path } = error as NodeJS.ErrnoException
  if (code === undefined || path === undefined) return undefined
  return `${path}: ${fileProblem(error)}`
}

function say(message: string, code: number): number {
  console.error(`claude-agent-pool: ${oneLine(message)}`)
  return code
}
