import { Reserve } from '../../memory/reserve.ts'

const MIB = 2 ** 20
const GIB = 2 ** 30

/** What `size` says about limits that were not asked for. */
const LIMITS = [GIB, 2 * GIB, 4 * GIB, 8 * GIB]

/** An agent may once need this many times what it needed here at most. */
const ALLOWANCE = 2
const ROUND_BYTES = 128 * MIB

/** Of the cores, turns may take so much: the rest is for processes that start, and for the host. */
const CORES_SHARE = 0.8

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
  /** Processor time of host and workers while turns ran, and how long those took, all added up. */
  cpu: { seconds: number; turnSeconds: number }
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
  /** Turns at once, by memory and by the cores of this machine. */
  turns: number
  /** Which of the two allows no more. */
  boundBy: 'memory' | 'cores'
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
  /** Cores that there are, what one turn takes of a core, and how many turns they run at once. */
  cores: { available: number; perTurn: number; turns: number }
  failed: Readonly<Record<string, number>>
  fits: readonly Fit[]
  filled?: Filled
  /** To be put into the config. */
  config: string
}

/** The value that this share of them does not exceed. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0
}

/** What fits, when so much is kept back as the pool's own governor keeps. */
function fit(memoryBytes: number, fixedBytes: number, running: number, idle: number, byCores: number): Fit {
  const room = memoryBytes - fixedBytes - new Reserve().bytes(memoryBytes)
  const count = (each: number): number => Math.max(0, Math.floor(room / each))
  const byMemory = count(running)
  return {
    memoryBytes,
    turns: Math.min(byMemory, byCores),
    boundBy: byCores < byMemory ? 'cores' : 'memory',
    sessions: count(idle),
  }
}

const yamlSize = (bytes: number): string => `${Math.round(bytes / MIB)}MiB`

/** Why so many turns. */
function reasonFor({ memoryBytes, boundBy }: Fit, cores: number, filled: Filled | undefined): string {
  if (filled !== undefined) return `ran at once in ${yamlSize(memoryBytes)}`
  if (boundBy === 'memory') return `fit ${yamlSize(memoryBytes)}; leave it out to let the pool learn it`
  return `${cores} ${cores === 1 ? 'core runs' : 'cores run'} no more; without it the pool admits as many as fit its memory`
}

function configFor(workerMemoryBytes: number, fitting: Fit, cores: number, filled: Filled | undefined): string {
  return [
    'limits:',
    `  turns: ${Math.max(1, filled?.turnsAtOnce.median ?? fitting.turns)}              # ${reasonFor(fitting, cores, filled)}`,
    `  workerMemory: ${yamlSize(workerMemoryBytes)}   # ${ALLOWANCE} times the most that a turn needed here`,
  ].join('\n')
}

/** What a turn takes of a core, and how many the cores run at once: one at least. */
function bornBy(cores: number, { seconds, turnSeconds }: Measured['cpu']): SizeReport['cores'] {
  const perTurn = turnSeconds > 0 ? seconds / turnSeconds : 0
  const turns = perTurn > 0 ? Math.max(1, Math.floor((CORES_SHARE * cores) / perTurn)) : Number.MAX_SAFE_INTEGER
  return { available: cores, perTurn, turns }
}

/** Makes a report of what was measured, for a config on a machine with this limit and these cores. */
export function reportOf(
  agent: string,
  measured: Measured,
  { limitBytes, cores: available }: { limitBytes: number; cores: number },
  filled?: Filled,
): SizeReport {
  const { baselineBytes, sharedBytes, starts, idle, turns, failed } = measured
  const running = {
    turns: turns.length,
    medianBytes: quantile(turns, 0.5),
    p95Bytes: quantile(turns, 0.95),
    peakBytes: Math.max(...turns),
  }
  const medianIdle = quantile(idle, 0.5)
  const cores = bornBy(available, measured.cpu)
  const fits = (limit: number): Fit =>
    fit(limit, baselineBytes + sharedBytes, running.p95Bytes, medianIdle, cores.turns)
  const workerMemory = Math.ceil((ALLOWANCE * running.peakBytes) / ROUND_BYTES) * ROUND_BYTES
  return {
    agent,
    baseline: { hostBytes: baselineBytes, sharedBytes },
    start: { spikeBytes: Math.max(...starts) },
    idle: { medianBytes: medianIdle },
    running,
    cores,
    failed,
    fits: [...new Set([...LIMITS, limitBytes])].toSorted((a, b) => a - b).map(fits),
    ...(filled === undefined ? {} : { filled }),
    config: configFor(workerMemory, fits(limitBytes), available, filled),
  }
}
