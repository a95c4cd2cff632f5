import { isSameHost, parseMarker, startTimeOf, thisHost } from './marker.ts'
import type { HostIdentity, Marker, ProcessIdentity } from './marker.ts'
import { ProcessTable } from './table.ts'
import type { ProcessEntry } from './table.ts'

/**
 * The processes of a tree: all whose marker belongs to it, and what hangs on these by parentage, process group or
 * session, and so was started by them although it carries no marker. `remembered` are members seen before.
 */
export function treeOf(
  entries: readonly ProcessEntry[],
  belongs: (marker: Marker) => boolean,
  remembered: ReadonlyMap<number, string> = new Map(),
): ProcessEntry[] {
  const members = new Map<number, ProcessEntry>()
  for (const entry of entries) {
    const ours = entry.marker === undefined ? remembered.get(entry.pid) === entry.startTime : belongs(entry.marker)
    if (ours && entry.pid !== process.pid) members.set(entry.pid, entry)
  }
  const own = entries.find(({ pid }) => pid === process.pid)
  // Workers are started in sessions of their own: one that has a member holds nothing foreign, save our own session.
  let grown = members.size > 0
  while (grown) {
    grown = false
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

/** One worker's tree, which remembers members that have hidden (`env -i`) while they could still be told. */
export class WorkerTree {
  readonly #workerId: string
  readonly #host: HostIdentity
  readonly #table: ProcessTable
  #remembered = new Map<number, string>()

  constructor(workerId: string, table: ProcessTable, host: HostIdentity = thisHost) {
    this.#workerId = workerId
    this.#table = table
    this.#host = host
  }

  /** Looks for the tree now. `entries`: a reading of the table that the caller shares between workers. */
  look(entries: readonly ProcessEntry[] = this.#table.read()): ProcessEntry[] {
    const belongs = ({ host, workerId }: Marker): boolean => workerId === this.#workerId && isSameHost(host, this.#host)
    const members = treeOf(entries, belongs, this.#remembered)
    this.#remembered = new Map(
      members.filter(({ marker }) => marker === undefined).map(({ pid, startTime }) => [pid, startTime]),
    )
    return members
  }
}

/** Living processes of this host's workers, in any worker's tree. */
export const processesOfThisHost = (): ProcessEntry[] =>
  treeOf(new ProcessTable().read(), ({ host }) => isSameHost(host, thisHost))

/** Living processes of the worker with this marker. */
export function markedProcesses(marker: string): ProcessEntry[] {
  const wanted = parseMarker(marker)
  if (wanted === undefined) return []
  return new WorkerTree(wanted.workerId, new ProcessTable(), wanted.host).look()
}

/** Signals a process if it is still the one that was meant. False when it is gone. */
export function signalProcess({ pid, startTime }: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (startTimeOf(pid) !== startTime) return false
  try {
    return process.kill(pid, signal)
  } catch {
    return false
  }
}
