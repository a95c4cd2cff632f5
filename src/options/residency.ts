import { z } from 'zod'
import { ConfigError } from '../errors.ts'
import { NONE, count, duration, readSection, size, validate } from './section.ts'

/** How processes live beside their conversations. */
export type Pattern =
  /** Kept while they are likely to be spoken to again and fit. */
  | 'adaptive'
  /** Kept until idle for a while. */
  | 'hybrid'
  /** One for each turn. */
  | 'ephemeral'
  /** Kept until others need the room. */
  | 'long-running'
  /** One process for the whole pool. */
  | 'single'

/** Whether a pattern goes by what sessions were seen to do, and what it sets unless that is set explicitly. */
const PATTERNS: Record<Pattern, { learns: boolean; idleTtl: string; maxTurnsPerWorker: number }> = {
  adaptive: { learns: true, idleTtl: '30m', maxTurnsPerWorker: 200 },
  ephemeral: { learns: false, idleTtl: '30m', maxTurnsPerWorker: 1 },
  hybrid: { learns: false, idleTtl: '30m', maxTurnsPerWorker: 200 },
  'long-running': { learns: false, idleTtl: NONE, maxTurnsPerWorker: 200 },
  single: { learns: false, idleTtl: NONE, maxTurnsPerWorker: 200 },
}

/** When an idle worker is closed. Its session stays: the next turn resumes. */
export interface ResidencyOptions {
  /** Says what the other options are by default. Default `"adaptive"`. */
  pattern?: Pattern
  /**
   * Idle for this long. `"none"`: never for idleness. Default `"30m"`, `"none"` for `long-running` and `single`. An
   * `adaptive` worker may be closed earlier. Without this option it may stay longer, once the pool knows its agent's
   * habits.
   */
  idleTtl?: string
  idleTtlMs?: number
  /**
   * Older than this. Each worker is closed up to a tenth earlier, so that not all are closed at once. Default `"6h"`.
   */
  maxAge?: string
  maxAgeMs?: number
  /** After this many turns; 1 hibernates after every turn. Default 200, and 1 for `ephemeral`. */
  maxTurnsPerWorker?: number | 'none'
  /** Using more private memory than this when idle. Default `"1GiB"`. */
  maxMemory?: string
  maxMemoryBytes?: number
  /** How long background tasks or open permission requests may keep a worker from being closed. Default `"4h"`. */
  pinLimit?: string
  pinLimitMs?: number
  /**
   * `"auto"`: an idle process is stopped and paged out instead of kept in memory, if workers have cgroups and the machine has swap.
   * Its next turn goes on in it (warmth `"thawed"`). Default `"off"`.
   */
  freeze?: 'auto' | 'off'
  /** Idle for this long, it is frozen; under pressure earlier. Default `"20s"`. */
  freezeAfter?: string
  freezeAfterMs?: number
}

/** `residency`, resolved. */
export interface Residency {
  pattern: Pattern
  /** True: eviction follows the observed habits of sessions. False: it follows their last use alone. */
  learns: boolean
  idleTtlMs: number
  /** `idleTtlMs` holds only until the habits of a worker's agent are known. */
  ttlUntilLearned: boolean
  maxAgeMs: number
  maxTurnsPerWorker: number
  maxMemoryBytes: number
  pinLimitMs: number
  /** Idle processes are frozen, if that is possible. */
  freezes: boolean
  freezeAfterMs: number
}

const patternSchema = z.enum(Object.keys(PATTERNS) as [Pattern, ...Pattern[]])

const freezeSchema = z.enum(['auto', 'off'], { error: 'is neither "auto" nor "off"' }).default('off')

export function readResidency(input: ResidencyOptions | undefined, path = 'residency'): Residency {
  const { pattern: named, freeze, ...rest } = validate(path, z.looseObject({}), input ?? {}) as ResidencyOptions
  const pattern = validate(`${path}.pattern`, patternSchema.default('adaptive'), named)
  const preset = PATTERNS[pattern]
  const freezes = validate(`${path}.freeze`, freezeSchema, freeze) === 'auto'
  const resolved = readSection<Omit<Residency, 'pattern' | 'learns' | 'ttlUntilLearned' | 'freezes'>>(
    path,
    {
      idleTtlMs: duration('idleTtl', preset.idleTtl, [NONE]),
      maxAgeMs: duration('maxAge', '6h', [NONE]),
      maxTurnsPerWorker: count('maxTurnsPerWorker', preset.maxTurnsPerWorker, 1, [NONE]),
      maxMemoryBytes: size('maxMemory', '1GiB', [NONE]),
      pinLimitMs: duration('pinLimit', '4h'),
      freezeAfterMs: duration('freezeAfter', '20s'),
    },
    rest,
  )
  checkPattern(path, pattern, resolved.maxTurnsPerWorker)
  const { learns } = preset
  const ttlUntilLearned = learns && rest.idleTtl === undefined && rest.idleTtlMs === undefined
  return Object.freeze({ pattern, learns, ttlUntilLearned, freezes, ...resolved })
}

function checkPattern(path: string, pattern: Pattern, maxTurnsPerWorker: number): void {
  const problem = (why: string): ConfigError => new ConfigError(`${path}.maxTurnsPerWorker`, why)
  if (pattern === 'ephemeral' && maxTurnsPerWorker !== 1) {
    throw problem(`contradicts the pattern ephemeral, a process for each turn; leave it out, or choose hybrid`)
  }
  if ((pattern === 'long-running' || pattern === 'single') && maxTurnsPerWorker === 1) {
    throw problem(`1 contradicts the pattern ${pattern}, whose processes stay; leave it out, or choose ephemeral`)
  }
}

/**
 * The residency of one agent: with a pattern of its own nothing of the pool's holds for it; without one, what it leaves
 * out is the pool's.
 */
export function readAgentResidency(path: string, input: ResidencyOptions, outer: ResidencyOptions = {}): Residency {
  if (input.pattern === 'single') {
    throw new ConfigError(`${path}.pattern`, 'single is a pattern of the whole pool; set it in residency.pattern')
  }
  if (input.pattern !== undefined) return readResidency(input, path)
  const stem = (key: string): string => key.replace(/(Ms|Bytes)$/, '')
  const own = new Set(Object.keys(input).map(stem))
  const inherited = Object.entries(outer).filter(([key]) => !own.has(stem(key)))
  return readResidency({ ...Object.fromEntries(inherited), ...input }, path)
}
