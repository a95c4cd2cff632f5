import { count, duration, readSection } from './section.ts'

/** How processes are started and ended. */
export interface StartOptions {
  /** Processes that start at the same time. Default: the number of cores. */
  concurrent?: number
  /** From the start of a process until it is ready. Default `"60s"`. */
  timeout?: string
  timeoutMs?: number
  /** From the start of an MCP server until it answers; the agent goes without one that takes longer. Default `"15s"`. */
  mcpTimeout?: string
  mcpTimeoutMs?: number
  /** From the end of its input until SIGTERM. Default `"2s"`. */
  eofGrace?: string
  eofGraceMs?: number
  /** From SIGTERM until SIGKILL. Default `"5s"`. */
  sigtermGrace?: string
  sigtermGraceMs?: number
}

/** `starts`, resolved. */
export interface Starts {
  concurrent: number | undefined
  timeoutMs: number
  mcpTimeoutMs: number
  eofGraceMs: number
  sigtermGraceMs: number
}

export const readStarts = (input: StartOptions | undefined): Starts =>
  readSection<Starts>(
    'starts',
    {
      concurrent: count('concurrent', undefined),
      timeoutMs: duration('timeout', '60s'),
      mcpTimeoutMs: duration('mcpTimeout', '15s'),
      eofGraceMs: duration('eofGrace', '2s'),
      sigtermGraceMs: duration('sigtermGrace', '5s'),
    },
    input,
  )
