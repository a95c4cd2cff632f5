import { pidsIn } from './cgroup.ts'
import { isSameHost, thisHost } from './marker.ts'
import { sameStart, startTimeOf } from './start-time.ts'
import type { HostIdentity, Marker, ProcessIdentity } from './marker.ts'
import { ProcessTable } from './table.ts'
import type { ProcessEntry } from './table.ts'

/**
 * The processes of a tree: those that are known to belong to it, and what hangs on these by parentage, process group or
 * session, and so was started by them although it carries no marker.
 */
export function treeOf(entries: readonly ProcessEntry[], isKnown: (entry: ProcessEntry) => boolean): ProcessEntry[] {
  const members = new Map<number, ProcessEntry>()
  for (const entry of entries) if (entry.pid !== process.pid && isKnown(entry)) members.set(entry.pid, entry)
  const own = entries.find(({ pid }) => pid === process.pid)
  let grown = members.size > 0
  while (grown) {
    grown = false
    // Workers are started in sessions of their own: one that has a member holds nothing foreign, save our own session.
    const sessions = new Set([...members.values()].map(({ session }) => session))
    const groups = new Set([...members.values()].map(({ group }) => group))
    if (own !== undefined) sessions.delete(own.session)
    if (own !== undefined) groups.delete(own.group)
    for (const entry of entries) {
      if (members.has(entry.pid) || entry.pid === process.pid || entry.pid === 1) continue
      if (!members.has(entry.ppid) && !sessions.has(entry.session) && !groups.has(entry.group)) continue
      members.set(entry.pid, entry)
      grown = true
    }
  }
  return [...members.values()]
}

/** A tree that is looked at again and again: members that hide (`env -i`) are remembered from when they could be told. */
export class RememberedTree {
  readonly #table: ProcessTable
  readonly #belongs: (marker: Marker) => boolean
  readonly #cgroup: string | undefined
  #remembered = new Map<number, string>()

  constructor(table: ProcessTable, belongs: (marker: Marker) => boolean, cgroup?: string) {
    this.#table = table
    this.#belongs = belongs
    this.#cgroup = cgroup
  }

  /** The tree as it is now. */
  look(): ProcessEntry[] {
    const enclosed = new Set(this.#cgroup === undefined ? [] : pidsIn(this.#cgroup))
    const members = treeOf(this.#table.read(), ({ pid, startTime, marker }) => {
      if (enclosed.has(pid)) return true
      return marker === undefined ? this.#remembered.get(pid) === startTime : this.#belongs(marker)
    })
    this.#remembered = new Map(
      members.flatMap(({ pid, startTime, marker }) => (marker === undefined ? [[pid, startTime]] : [])),
    )
    return members
  }
}

const belongsTo =
  (workerId: string, host: HostIdentity) =>
  (marker: Marker): boolean =>
    marker.workerId === workerId && isSameHost(marker.host, host)

/** The tree of one worker of this host. */
export const workerTree = (workerId: string, table: ProcessTable, cgroup: string | undefined): RememberedTree =>
  new RememberedTree(table, belongsTo(workerId, thisHost), cgroup)

/** Living processes of this host's workers, in any worker's tree. */
export const processesOfThisHost = (): ProcessEntry[] =>
  treeOf(new ProcessTable().read(), ({ marker }) => marker !== undefined && isSameHost(marker.host, thisHost))

/** The processes of each worker of this host, by the worker's id, in one pass over the table. */
export function treesOfThisHost(entries: readonly ProcessEntry[]): Map<string, number[]> {
  const known = new Map(entries.map((entry) => [entry.pid, entry]))
  const owners = new Map<number, string | undefined>()
  const ownerOf = (entry: ProcessEntry | undefined): string | undefined => {
    if (entry === undefined || entry.pid === process.pid || entry.pid === 1) return undefined
    const { pid, ppid, session, marker } = entry
    if (owners.has(pid)) return owners.get(pid)
    // Noted before its relatives are asked: reused pids could lead round in circles.
    owners.set(pid, undefined)
    const owner =
      marker === undefined
        ? (ownerOf(known.get(ppid)) ?? ownerOf(known.get(session)))
        : isSameHost(marker.host, thisHost)
          ? marker.workerId
          : undefined
    owners.set(pid, owner)
    return owner
  }
  const trees = new Map<string, number[]>()
  for (const entry of entries) {
    const owner = ownerOf(entry)
    if (owner !== undefined) trees.set(owner, [...(trees.get(owner) ?? []), entry.pid])
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
