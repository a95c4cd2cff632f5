import { systemClock } from './clock.ts'
import type { Pool } from './pool/pool.ts'
import { ConfigError } from './errors.ts'
import { checkOptions } from './options/unknown.ts'
import { parseDuration } from './units.ts'

/** How a host ends with its pool. */
export interface ShutdownOptions {
  /** How long running turns may go on after the first signal. Default `"30s"`. */
  grace?: string
  graceMs?: number
}

/** The number that a shell adds to 128 for a process that a signal ended. */
const SIGNAL_NUMBERS = { SIGINT: 2, SIGTERM: 15 } as const

const FAILED = 1

/**
 * Ends the pool before its host. SIGTERM and SIGINT drain: no new turns, running ones get the grace, then every process
 * is ended and verified. A second signal cuts the grace. An uncaught error ends the processes at once. Exit codes: 0
 * after a drain, 128 + signal after a second signal, 1 after an uncaught error. Returns a function that removes the
 * handlers.
 */
export function shutDownWithProcess(pool: Pool, options: ShutdownOptions = {}): () => void {
  const graceMs = readGrace(options)
  const cut = new AbortController()
  let ending = false
  let code = 0
  const end = async (): Promise<void> => {
    ending = true
    const cancel = systemClock.after(graceMs, () => cut.abort())
    try {
      await pool.drain({ cut: cut.signal })
    } catch (error) {
      code ||= FAILED
      console.error(error)
    }
    cancel()
    process.exit(code)
  }
  const signalled = (signal: keyof typeof SIGNAL_NUMBERS): void => {
    if (ending) {
      code = 128 + SIGNAL_NUMBERS[signal]
      cut.abort()
    } else void end()
  }
  const crashed = (error: unknown): void => {
    console.error(error)
    code = FAILED
    cut.abort()
    if (!ending) void end()
  }
  process.on('SIGINT', signalled).on('SIGTERM', signalled)
  process.on('uncaughtException', crashed)
  process.on('unhandledRejection', crashed)
  return () => {
    process.off('SIGINT', signalled).off('SIGTERM', signalled)
    process.off('uncaughtException', crashed).off('unhandledRejection', crashed)
  }
}

function readGrace(options: ShutdownOptions): number {
  checkOptions('shutDownWithProcess()', options, { grace: true, graceMs: true })
  const { grace, graceMs } = options
  if (grace !== undefined && graceMs !== undefined)
    throw new ConfigError('grace', 'is given twice, as grace and as graceMs; keep one')
  if (graceMs === undefined) return parseDuration('grace', grace ?? '30s')
  if (!Number.isFinite(graceMs) || graceMs <= 0) throw new ConfigError('graceMs', `${graceMs} is not a number above 0`)
  return graceMs
}
