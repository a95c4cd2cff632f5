import { join } from 'node:path'
import { textOf } from './cgroup-tree.ts'
import { lineOf } from './cgroup-memory.ts'
import type { MemoryGroup } from './cgroup-memory.ts'
import type { Controller } from './cgroup-tree.ts'

interface LimitFile {
  file: string
  text: string
  /** False: a kernel may be without. */
  isNeeded: boolean
}

/** v1 counts in shares, of which everybody has 1,024. */
const SHARES_PER_WEIGHT = 1_024 / 100
const LEAST_SHARES = 2

/** The files by which each controller limits, by version. What is paged out is limited too: a worker must not fill the swap. */
export const LIMIT_FILES: Readonly<Record<Controller, (limit: number, version: 1 | 2) => LimitFile[]>> = {
  memory: (bytes, version) =>
    version === 2
      ? [needed('memory.max', bytes), optional('memory.swap.max', bytes)]
      : [needed('memory.limit_in_bytes', bytes), optional('memory.memsw.limit_in_bytes', 2 * bytes)],
  pids: (count) => [needed('pids.max', count)],
  cpu: (weight, version) =>
    version === 2
      ? [needed('cpu.weight', weight)]
      : [needed('cpu.shares', Math.max(LEAST_SHARES, Math.round(weight * SHARES_PER_WEIGHT)))],
}

const needed = (file: string, value: number): LimitFile => ({ file, text: String(value), isNeeded: true })
const optional = (file: string, value: number): LimitFile => ({ file, text: String(value), isNeeded: false })

/** Processes that the kernel has killed in a memory cgroup; undefined if it does not count. */
export const oomKillsIn = ({ version, path }: MemoryGroup): number | undefined =>
  lineOf(textOf(join(path, version === 2 ? 'memory.events' : 'memory.oom_control')), 'oom_kill')

/** True if a memory cgroup's own limit was reached. */
export const reachedLimit = ({ version, path }: MemoryGroup): boolean =>
  version === 2
    ? (lineOf(textOf(join(path, 'memory.events')), 'oom') ?? 0) > 0
    : Number(textOf(join(path, 'memory.failcnt')) ?? 0) > 0
