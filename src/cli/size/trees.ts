import { fieldOf, filesBelow } from '../../memory/files.ts'
import { statFields } from '../../process/start-time.ts'
import { ProcessTable } from '../../process/table.ts'
import { PROXY_ID } from '../../process/marker.ts'
import type { Marker } from '../../process/marker.ts'
import { treeOf } from '../../process/ownership.ts'

const read = filesBelow()

/** The kernel counts so for programs, whatever its own clock is. */
const TICKS_PER_SECOND = 100

/** What one process has to itself, exactly; undefined when it is gone. */
function privateBytes(pid: number): number | undefined {
  const rollup = read(`/proc/${pid}/smaps_rollup`)
  if (rollup === undefined) return undefined
  return (fieldOf(rollup, 'Private_Clean') ?? 0) + (fieldOf(rollup, 'Private_Dirty') ?? 0)
}

/** What it shares with others: mostly the program's own pages. */
function sharedBytes(pid: number): number {
  const rollup = read(`/proc/${pid}/smaps_rollup`) ?? ''
  return (fieldOf(rollup, 'Rss') ?? 0) - (privateBytes(pid) ?? 0)
}

/** Hundredths of a second that a process has had the processor, its children that have ended included; 0 when it is gone. */
function ticksOf(pid: number): number {
  const stat = read(`/proc/${pid}/stat`)
  if (stat === undefined) return 0
  // utime, stime, cutime, cstime
  return statFields(stat)
    .slice(11, 15)
    .reduce((sum, ticks) => sum + Number(ticks), 0)
}

const isOfWorker = (marker: Marker | undefined): boolean => marker !== undefined && marker.workerId !== PROXY_ID

/** Measures the workers of another process, a host, from outside. */
export class WorkerTrees {
  readonly #table = new ProcessTable()
  readonly #host: number

  constructor(host: number) {
    this.#host = host
  }

  /** Private memory of each worker's whole tree, by the worker's id. */
  read(): Map<string, number> {
    const entries = this.#table.read()
    const workers = new Set(
      entries.flatMap(({ marker }) => (marker?.host.pid === this.#host && isOfWorker(marker) ? [marker.workerId] : [])),
    )
    const found = new Map<string, number>()
    for (const worker of workers) {
      const tree = treeOf(entries, ({ marker }) => marker?.workerId === worker && marker.host.pid === this.#host)
      found.set(
        worker,
        tree.reduce((sum, { pid }) => sum + (privateBytes(pid) ?? 0), 0),
      )
    }
    return found
  }

  /** The host and what it has started that is no worker: its sentinel and its credential proxy. */
  host(): number {
    const others = this.#table.read().filter(({ ppid, marker }) => ppid === this.#host && !isOfWorker(marker))
    return [this.#host, ...others.map(({ pid }) => pid)].reduce((sum, pid) => sum + (privateBytes(pid) ?? 0), 0)
  }

  /** Seconds of processor time that the host and all its workers have had. */
  cpuSeconds(): number {
    const entries = this.#table.read()
    const mine = treeOf(entries, ({ pid, marker }) => pid === this.#host || marker?.host.pid === this.#host)
    return mine.reduce((sum, { pid }) => sum + ticksOf(pid), 0) / TICKS_PER_SECOND
  }

  /** What the workers' main processes share, each counted alone: the least of them. */
  shared(): number {
    const main = this.#table.read().filter(({ ppid, marker }) => ppid === this.#host && isOfWorker(marker))
    return main.length === 0 ? 0 : Math.min(...main.map(({ pid }) => sharedBytes(pid)))
  }
}
