import { pidsIn } from './cgroup-tree.ts'
import { thisHost } from './marker.ts'
import type { HostIdentity, ProcessIdentity } from './marker.ts'
import { Ownership } from './ownership.ts'
import { sameStart, startTimeOf } from './start-time.ts'
import { ProcessTable } from './table.ts'
import type { ProcessEntry } from './table.ts'

/** Each look at the processes of this host remembers for all others what it has seen. */
const ownership = new Ownership(thisHost)

/** A tree that is looked at again and again: what has been seen in it stays in it, whatever it does to hide. */
export class RememberedTree {
  readonly #table: ProcessTable
  readonly #ownership: Ownership
  readonly #worker: string | undefined
  readonly #cgroup: string | undefined

  /** Without a worker, the tree of all workers of the host. `cgroup`: where they live, if they have one. */
  constructor(
    table: ProcessTable,
    { owned, worker, cgroup }: { owned: Ownership; worker?: string | undefined; cgroup?: string | undefined },
  ) {
    this.#table = table
    this.#ownership = owned
    this.#worker = worker
    this.#cgroup = cgroup
  }

  /** The tree as it is now. */
  look(): ProcessEntry[] {
    const worker = this.#worker ?? ''
    const enclosed = this.#cgroup === undefined ? undefined : { worker, pids: new Set(pidsIn(this.#cgroup)) }
    const entries = this.#table.read()
    const owners = this.#ownership.owners(entries, enclosed)
    return entries.filter(({ pid }) => (this.#worker === undefined ? owners.has(pid) : owners.get(pid) === worker))
  }
}

/** The tree of one worker of this host. */
export const workerTree = (worker: string, table: ProcessTable, cgroup: string | undefined): RememberedTree =>
  new RememberedTree(table, { owned: ownership, worker, cgroup })

/** The tree of all workers of a host, and its credential proxy. */
export const hostTree = (host: HostIdentity, table: ProcessTable, cgroup: string | undefined): RememberedTree =>
  new RememberedTree(table, { owned: new Ownership(host, { withProxy: true }), cgroup })

/** Living processes of this host's workers, in any worker's tree. */
export function processesOfThisHost(): ProcessEntry[] {
  const entries = new ProcessTable().read()
  const owners = ownership.owners(entries)
  return entries.filter(({ pid }) => owners.has(pid))
}

/** The processes of each worker of this host, by the worker's id, in one pass over the table. */
export function treesOfThisHost(entries: readonly ProcessEntry[]): Map<string, number[]> {
  const trees = new Map<string, number[]>()
  for (const [pid, worker] of ownership.owners(entries)) {
    const tree = trees.get(worker)
    if (tree === undefined) trees.set(worker, [pid])
    else tree.push(pid)
  }
  return trees
}

/** The same, with rests between the steps of the pass. */
export function* treesInSteps(table: ProcessTable): Generator<undefined, Map<string, number[]>> {
  return treesOfThisHost(yield* table.readInSteps())
}

/** Signals a process if it is still the one that was meant. False when it is gone. */
export function signalProcess({ pid, startTime }: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (!sameStart(startTimeOf(pid), startTime)) return false
  try {
    return process.kill(pid, signal)
  } catch {
    return false
  }
}
