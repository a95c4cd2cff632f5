import { fieldOf, filesBelow } from '../memory/files.ts'
import { ProcessTable } from '../process/table.ts'
import { treeOf } from '../process/ownership.ts'

const read = filesBelow()

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
    const workers = new Set(entries.flatMap(({ marker }) => (marker?.host.pid === this.#host ? [marker.workerId] : [])))
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

  /** The host and what it has started that is no worker: its sentinel. */
  host(): number {
    const others = this.#table.read().filter(({ ppid, marker }) => ppid === this.#host && marker === undefined)
    return [this.#host, ...others.map(({ pid }) => pid)].reduce((sum, pid) => sum + (privateBytes(pid) ?? 0), 0)
  }

  /** What the workers' main processes share, each counted alone: the least of them. */
  shared(): number {
    const main = this.#table.read().filter(({ ppid, marker }) => ppid === this.#host && marker !== undefined)
    return main.length === 0 ? 0 : Math.min(...main.map(({ pid }) => sharedBytes(pid)))
  }
}
