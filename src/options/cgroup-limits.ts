import { ConfigError } from '../errors.ts'
import { formatSize } from '../units.ts'
import { NONE, count, size } from './section.ts'
import type { FieldSpec } from './section.ts'

/** What each worker may use, held by the kernel: a worker is an agent process and all that it starts. */
export interface CgroupLimitOptions {
  /**
   * Memory, by a cgroup. The kernel takes back what it can, then kills in the worker: `WorkerMemoryError` if that is the agent process.
   * At least 128 MiB; more than `limits.workerMemory`, at which the pool ends the worker. Default: no limit.
   */
  memory?: string
  memoryBytes?: number
  /** Processes and threads, by a cgroup; `claude` has about 20 threads. At least 64. Default: no limit. */
  pids?: number
  /** Weight for the processor among all that runs, by a cgroup: 1 to 10,000. Default: no cgroup of its own, which weighs 100. */
  cpu?: number
}

/** Undefined: no limit. */
export interface WorkerLimits {
  readonly memory: number | undefined
  readonly pids: number | undefined
  readonly cpu: number | undefined
}

/** `claude` alone needs about this. */
const LEAST_MEMORY_BYTES = 128 * 2 ** 20
const LEAST_PIDS = 64
const MOST_WEIGHT = 10_000

const MEMORY = size('memory', NONE, [NONE])
const PIDS = count('pids', undefined, LEAST_PIDS)
const CPU = count('cpu', undefined, 1)

/** The shapes of the options, for a schema. */
export const LIMIT_SHAPES: FieldSpec['shape'] = { ...MEMORY.shape, ...PIDS.shape, ...CPU.shape }

/** Throws ConfigError. */
export function readWorkerLimits(path: string, input: object): WorkerLimits {
  const values = input as Record<string, unknown>
  const memory = MEMORY.read(path, values) as number
  if (memory < LEAST_MEMORY_BYTES)
    throw new ConfigError(`${path}.memory`, `${formatSize(memory)} is less than a claude process needs, 128 MiB`)
  const cpu = CPU.read(path, values) as number | undefined
  if (cpu !== undefined && cpu > MOST_WEIGHT)
    throw new ConfigError(`${path}.cpu`, `${cpu} is more than ${MOST_WEIGHT}, the largest weight`)
  const pids = PIDS.read(path, values) as number | undefined
  return Object.freeze({ memory: Number.isFinite(memory) ? memory : undefined, pids, cpu })
}

export const NO_LIMITS: WorkerLimits = Object.freeze({ memory: undefined, pids: undefined, cpu: undefined })

/** The names of what is limited. */
export const limitsIn = (limits: WorkerLimits): (keyof WorkerLimits)[] =>
  (Object.keys(limits) as (keyof WorkerLimits)[]).filter((name) => limits[name] !== undefined)

/** The stricter of both. */
export function stricter(outer: WorkerLimits, inner: WorkerLimits): WorkerLimits {
  const least = (name: keyof WorkerLimits): number | undefined => {
    const given = [outer[name], inner[name]].filter((limit) => limit !== undefined)
    return given.length === 0 ? undefined : Math.min(...given)
  }
  return { memory: least('memory'), pids: least('pids'), cpu: least('cpu') }
}
