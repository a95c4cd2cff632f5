import { PROXY_ID, isSameHost } from './marker.ts'
import type { HostIdentity } from './marker.ts'
import type { ProcessEntry } from './table.ts'

/** Where processes stand to one another. What shares a session or group with the host or this process is not in it. */
class Relations {
  readonly #children: Map<number, ProcessEntry[]>
  readonly #sessions: Map<number, ProcessEntry[]>
  readonly #groups: Map<number, ProcessEntry[]>

  constructor(entries: readonly ProcessEntry[], outside: readonly (ProcessEntry | undefined)[]) {
    this.#children = Map.groupBy(entries, ({ ppid }) => ppid)
    this.#sessions = Map.groupBy(entries, ({ session }) => session)
    this.#groups = Map.groupBy(entries, ({ group }) => group)
    for (const entry of outside) {
      if (entry === undefined) continue
      this.#sessions.delete(entry.session)
      this.#groups.delete(entry.group)
    }
  }

  childrenOf({ pid }: ProcessEntry): readonly ProcessEntry[] {
    return this.#children.get(pid) ?? []
  }

  /** Its session and its group: workers begin in sessions of their own, so what is in one was started by the same worker. */
  matesOf({ session, group }: ProcessEntry): readonly ProcessEntry[] {
    return [...(this.#sessions.get(session) ?? []), ...(this.#groups.get(group) ?? [])]
  }
}

/** What is known of single workers beside the table. */
export interface Enclosed {
  worker: string
  /** The processes in its cgroup. */
  pids: ReadonlySet<number>
}

/**
 * Which worker of a host each process belongs to. Cgroup and ancestry decide: what the host has started itself is a worker's
 * first process, as its marker says, and all below belong to it, whatever they write into their environment. What has been
 * seen so stays so when its parents are gone. A marker only gives a name to what nothing else is known of, and counts for
 * nothing where the worker has a cgroup.
 */
export class Ownership {
  readonly #host: HostIdentity
  readonly #withProxy: boolean
  #seen = new Map<number, { startTime: string; worker: string }>()

  /** `withProxy`: the host's credential proxy counts as one more worker, `PROXY_ID`. */
  constructor(host: HostIdentity, { withProxy = false }: { withProxy?: boolean } = {}) {
    this.#host = host
    this.#withProxy = withProxy
  }

  /** The worker of each process that has one, by pid. */
  owners(entries: readonly ProcessEntry[], enclosed?: Enclosed): Map<number, string> {
    const { pid: host } = this.#host
    const find = (wanted: number): ProcessEntry | undefined => entries.find(({ pid }) => pid === wanted)
    const relations = new Relations(entries, [find(process.pid), find(host)])
    const claims = new Claims(relations, [process.pid, host])
    if (enclosed !== undefined)
      for (const entry of entries) if (enclosed.pids.has(entry.pid)) claims.claim(entry, enclosed.worker)
    for (const entry of entries) {
      const { pid, startTime, ppid } = entry
      const seen = this.#seen.get(pid)
      // What was seen comes first: a host that is the init of its container adopts orphans, too.
      const known = seen?.startTime === startTime ? seen.worker : undefined
      const worker = known ?? (ppid === host ? this.#named(entry) : undefined)
      if (worker !== undefined) claims.claim(entry, worker)
    }
    claims.spread({ toMates: false })
    claims.spread({ toMates: true })
    const hasCgroup = enclosed !== undefined && enclosed.pids.size > 0 ? enclosed.worker : undefined
    for (const entry of entries) {
      const worker = this.#named(entry)
      if (worker !== undefined && worker !== hasCgroup) claims.claim(entry, worker)
    }
    claims.spread({ toMates: true })
    this.#remember(entries, claims.owners)
    return claims.owners
  }

  #named({ marker }: ProcessEntry): string | undefined {
    if (marker === undefined || !isSameHost(marker.host, this.#host)) return undefined
    return marker.workerId !== PROXY_ID || this.#withProxy ? marker.workerId : undefined
  }

  #remember(entries: readonly ProcessEntry[], owners: ReadonlyMap<number, string>): void {
    this.#seen = new Map()
    for (const { pid, startTime } of entries) {
      const worker = owners.get(pid)
      if (worker !== undefined) this.#seen.set(pid, { startTime, worker })
    }
  }
}

/** Claims of workers on processes: the first one holds. */
class Claims {
  readonly owners = new Map<number, string>()
  readonly #relations: Relations
  readonly #never: ReadonlySet<number>
  #claimed: ProcessEntry[] = []

  constructor(relations: Relations, never: readonly number[]) {
    this.#relations = relations
    this.#never = new Set([1, ...never])
  }

  claim(entry: ProcessEntry, worker: string): void {
    if (this.#never.has(entry.pid) || this.owners.has(entry.pid)) return
    this.owners.set(entry.pid, worker)
    this.#claimed.push(entry)
  }

  /** To all descendants of what is claimed, and, if told so, to what shares a session or group with any of it. */
  spread({ toMates }: { toMates: boolean }): void {
    // It grows while it is gone through.
    for (const entry of this.#claimed) {
      const worker = this.owners.get(entry.pid) as string
      for (const child of this.#relations.childrenOf(entry)) this.claim(child, worker)
      if (toMates) for (const mate of this.#relations.matesOf(entry)) this.claim(mate, worker)
    }
  }
}

/** The processes that are known, and what hangs on these by parentage, process group or session. */
export function treeOf(entries: readonly ProcessEntry[], isKnown: (entry: ProcessEntry) => boolean): ProcessEntry[] {
  const own = entries.find(({ pid }) => pid === process.pid)
  const claims = new Claims(new Relations(entries, [own]), [process.pid])
  for (const entry of entries) if (isKnown(entry)) claims.claim(entry, '')
  claims.spread({ toMates: true })
  return entries.filter(({ pid }) => claims.owners.has(pid))
}
