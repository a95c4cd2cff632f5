import { Reserve } from '../memory/reserve.ts'

const MIB = 2 ** 20
const GIB = 2 ** 30

/** What `size` says about limits that nobody asked for. */
const LIMITS = [GIB, 2 * GIB, 4 * GIB, 8 * GIB]

/** An agent may once need this many times what it needed here at most. */
const ALLOWANCE = 2
const ROUND_BYTES = 128 * MIB

/** What was measured, in bytes of private memory unless it says otherwise. */
export interface Measured {
  /** The host process and its sentinel, with a pool that has no worker yet. */
  baselineBytes: number
  /** Pages of the program that workers share; they count once. */
  sharedBytes: number
  /** The most that each worker had while it started. */
  starts: readonly number[]
  /** What each worker had a moment after its last turn. */
  idle: readonly number[]
  /** The most that each turn had, with its tools. */
  turns: readonly number[]
  /** Turns that ended with an error, by what it was. */
  failed: Readonly<Record<string, number>>
}

/** What a box held when it was full. */
export interface Filled {
  limitBytes: number
  /** Conversations that asked at the same time. */
  asking: number
  /** Turns at once: the median and the most over the time. */
  turnsAtOnce: { median: number; most: number }
  completed: number
  refused: number
  failed: Readonly<Record<string, number>>
  peakBytes: number
  oomKills: number
}

/** How much fits a limit. */
export interface Fit {
  memoryBytes: number
  /** Turns at once. */
  turns: number
  /** Sessions kept live between their turns; hibernated ones need no memory. */
  sessions: number
}

/** What `size --json` prints. */
export interface SizeReport {
  agent: string
  baseline: { hostBytes: number; sharedBytes: number }
  start: { spikeBytes: number }
  idle: { medianBytes: number }
  running: { turns: number; medianBytes: number; p95Bytes: number; peakBytes: number }
  failed: Readonly<Record<string, number>>
  fits: readonly Fit[]
  filled?: Filled
  /** To be put into the config. */
  config: string
}

export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0
}

/** What fits, when so much is kept back as the pool's own governor keeps. */
function fit(memoryBytes: number, fixedBytes: number, running: number, idle: number): Fit {
  const room = memoryBytes - fixedBytes - new Reserve().bytes(memoryBytes)
  const count = (each: number): number => Math.max(0, Math.floor(room / each))
  return { memoryBytes, turns: count(running), sessions: count(idle) }
}

const yamlSize = (bytes: number): string => `${Math.round(bytes / MIB)}MiB`

function configFor(workerMemoryBytes: number, { memoryBytes, turns }: Fit, filled: Filled | undefined): string {
  const how = filled === undefined ? 'fit' : 'ran at once in'
  return [
    'limits:',
    `  turns: ${Math.max(1, filled?.turnsAtOnce.median ?? turns)}              # ${how} ${yamlSize(memoryBytes)}; leave it out to let the pool learn it`,
    `  workerMemory: ${yamlSize(workerMemoryBytes)}   # ${ALLOWANCE} times the most that a turn needed here`,
  ].join('\n')
}

/** Makes a report of what was measured; `limitBytes` is what the config is for. */
export function reportOf(
  agent: string,
  measured: Measured,
  limitBytes: number,
  filled: Filled | undefined,
): SizeReport {
  const { baselineBytes, sharedBytes, starts, idle, turns, failed } = measured
  const running = {
    turns: turns.length,
    medianBytes: quantile(turns, 0.5),
    p95Bytes: quantile(turns, 0.95),
    peakBytes: Math.max(...turns),
  }
  const medianIdle = quantile(idle, 0.5)
  const fits = (limit: number): Fit => fit(limit, baselineBytes + sharedBytes, running.p95Bytes, medianIdle)
  const workerMemory = Math.ceil((ALLOWANCE * running.peakBytes) / ROUND_BYTES) * ROUND_BYTES
  return {
    agent,
    baseline: { hostBytes: baselineBytes, sharedBytes },
    start: { spikeBytes: Math.max(...starts) },
    idle: { medianBytes: medianIdle },
    running,
    failed,
    fits: [...new Set([...LIMITS, limitBytes])].toSorted((a, b) => a - b).map(fits),
    ...(filled === undefined ? {} : { filled }),
    config: configFor(workerMemory, fits(limitBytes), filled),
  }
}
