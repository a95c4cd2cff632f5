import { ConfigError } from '../errors.ts'
import type { Residency } from './residency.ts'
import { NONE, count, duration, readSection, size } from './section.ts'

/** What bounds turns. Each has its error. */
export interface LimitOptions {
  /**
   * Memory for workers and host. Default `"auto"`: the container's limit, else the machine's memory; a lower value
   * bounds the pool further. `"none"`: memory limits nothing, and the kernel chooses what to kill.
   */
  memory?: string
  memoryBytes?: number
  /** Turns at once. Default `"auto"`: as many as fit into memory, which also limits a number. */
  turns?: number | 'auto'
  /** Turns at once of one tenant. Default `"auto"`: all, but beyond its even share it takes no place that another was refused. */
  turnsPerTenant?: number | 'auto'
  /** Processes at once, idle ones and spares included. Default `"auto"`: as many as fit into memory. */
  workers?: number | 'auto'
  /** Private memory of one worker and everything it started. The pool ends a turn that needs more. Default `"none"`. */
  workerMemory?: string
  workerMemoryBytes?: number
  /** A whole turn. Default `"30m"`. */
  turnTimeout?: string
  turnTimeoutMs?: number
  /** A turn without a sign of life from its process. Default `"10m"`. */
  inactivityTimeout?: string
  inactivityTimeoutMs?: number
  /** Output of one turn that waits on disk for a reader that has stopped; beyond it the process is held back. Default `"1GiB"`. */
  spool?: string
  spoolBytes?: number
  /**
   * What a resume may have to load: a transcript from its last compaction on. Beyond it, `onLargeTranscript` of the agent says
   * what happens. Default `"none"`.
   */
  resumeSize?: string
  resumeSizeBytes?: number
}

/** The limits of turns that an agent, or one turn, may have of its own. */
export type TurnLimitOptions = Pick<
  LimitOptions,
  'turnTimeout' | 'turnTimeoutMs' | 'inactivityTimeout' | 'inactivityTimeoutMs'
>

/** The limits that an agent may have of its own. */
export type AgentLimitOptions = TurnLimitOptions & Pick<LimitOptions, 'workerMemory' | 'workerMemoryBytes'>

/** The limits of one turn, in milliseconds. */
export interface TurnLimits {
  turnTimeoutMs: number
  inactivityTimeoutMs: number
}

/** `limits`, resolved. */
export interface Limits extends TurnLimits {
  memoryBytes: number | 'auto'
  turns: number | 'auto'
  turnsPerTenant: number | 'auto'
  workers: number | 'auto'
  workerMemoryBytes: number
  spoolBytes: number
  resumeSizeBytes: number
}

const TURN_LIMITS = {
  turnTimeoutMs: duration('turnTimeout', '30m', [NONE]),
  inactivityTimeoutMs: duration('inactivityTimeout', '10m', [NONE]),
}

/** The limits that an agent or a single turn sets itself: only the given ones. */
export function readTurnLimits(path: string, input: TurnLimitOptions | undefined): Partial<TurnLimits> {
  // Most turns set none; to build a schema for that would cost each of them a third of a millisecond.
  if (input === undefined) return {}
  const { turnTimeoutMs, inactivityTimeoutMs } = readSection<TurnLimits>(path, TURN_LIMITS, input)
  const {
    turnTimeout,
    turnTimeoutMs: turnTimeoutNumber,
    inactivityTimeout,
    inactivityTimeoutMs: inactivityTimeoutNumber,
  } = input ?? {}
  return {
    ...(turnTimeout === undefined && turnTimeoutNumber === undefined ? {} : { turnTimeoutMs }),
    ...(inactivityTimeout === undefined && inactivityTimeoutNumber === undefined ? {} : { inactivityTimeoutMs }),
  }
}

export const readLimits = (input: LimitOptions | undefined): Limits =>
  readSection<Limits>(
    'limits',
    {
      memoryBytes: size('memory', 'auto', ['auto', NONE]),
      turns: count('turns', 'auto'),
      turnsPerTenant: count('turnsPerTenant', 'auto'),
      workers: count('workers', 'auto'),
      workerMemoryBytes: size('workerMemory', NONE, [NONE]),
      ...TURN_LIMITS,
      spoolBytes: size('spool', '1GiB'),
      resumeSizeBytes: size('resumeSize', NONE, [NONE]),
    },
    input,
  )

/** The pattern `single` is a limit, too: of one process. */
export function limitsOf({ pattern }: Residency, limits: Limits): Limits {
  if (pattern !== 'single') return limits
  for (const name of ['workers', 'turns', 'turnsPerTenant'] as const) {
    if (limits[name] === 'auto' || limits[name] === 1) continue
    throw new ConfigError(
      `limits.${name}`,
      `${limits[name]} contradicts residency.pattern "single", which is one process`,
    )
  }
  return Object.freeze({ ...limits, workers: 1 })
}

/** The limits of an agent, in two parts: those of its turns, and that of its workers. */
export function readAgentLimits(
  path: string,
  input: AgentLimitOptions | undefined,
): { turns: ReturnType<typeof readTurnLimits>; workerMemoryBytes: number | undefined } {
  const { workerMemory, workerMemoryBytes } = input ?? {}
  if (workerMemory === undefined && workerMemoryBytes === undefined) {
    return { turns: readTurnLimits(path, input), workerMemoryBytes: undefined }
  }
  const { workerMemory: _text, workerMemoryBytes: _number, ...turns } = input ?? {}
  const fields = { workerMemoryBytes: size('workerMemory', NONE, [NONE]) }
  const own = readSection<{ workerMemoryBytes: number }>(path, fields, { workerMemory, workerMemoryBytes })
  return { turns: readTurnLimits(path, turns), ...own }
}
