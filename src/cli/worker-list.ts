import { readFileSync } from 'node:fs'
import { systemClock } from '../clock.ts'
import { anonymousBytes } from '../memory/usage.ts'
import { hostLives, isSameHost } from '../process/marker.ts'
import type { HostIdentity } from '../process/marker.ts'
import { ticksSinceBoot } from '../process/table.ts'
import type { ProcessEntry } from '../process/table.ts'
import type { RunEntry } from '../process/run-files.ts'
import { treeOf } from '../process/tree.ts'

/** One process of a worker, for people. */
export interface ListedProcess {
  pid: number
  ppid: number
  command: string
  ageMs: number
  /** Anonymous memory; undefined when the process has just gone. */
  memoryBytes: number | undefined
}

/** A worker with all its processes. */
export interface ListedWorker {
  id: string
  host: HostIdentity
  /** `orphaned`: its host is gone, and the sentinel or a reaper has yet to end it. */
  state: 'running' | 'orphaned'
  /** Known only from the data directory of its pool. */
  run: RunEntry | undefined
  processes: ListedProcess[]
}

function commandOf(pid: number): string {
  try {
    const [program = '', ...words] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
    return [program.split('/').at(-1), ...words].join(' ').trim()
  } catch {
    return '?'
  }
}

const describe = ({ pid, ppid, startTime }: ProcessEntry): ListedProcess => ({
  pid,
  ppid,
  command: commandOf(pid),
  ageMs: ageMs(startTime),
  memoryBytes: anonymousBytes(pid),
})

/** Start times are hundredths of a second since boot on Linux, else milliseconds since the epoch. */
const ageMs = (startTime: string): number =>
  process.platform === 'linux' ? (ticksSinceBoot() - Number(startTime)) * 10 : systemClock.wall() - Number(startTime)

/** All workers on this machine that have a process, of every pool, with what `runs` tells of them. */
export function listWorkers(entries: readonly ProcessEntry[], runs: readonly RunEntry[]): ListedWorker[] {
  const found = new Map<string, { id: string; host: HostIdentity }>()
  for (const { marker } of entries) {
    if (marker !== undefined)
      found.set(`${marker.host.pid}:${marker.workerId}`, { id: marker.workerId, host: marker.host })
  }
  return [...found.values()].map(({ id, host }) => ({
    id,
    host,
    state: hostLives(host) ? 'running' : 'orphaned',
    run: runs.find((run) => run.workerId === id && isSameHost(run.host, host)),
    processes: treeOf(entries, ({ marker }) => marker?.workerId === id && isSameHost(marker.host, host)).map(describe),
  }))
}
