import { repeatedly } from '../clock.ts'
import type { CancelTimer, Clock } from '../clock.ts'
import { abandonedCgroups } from './cgroup.ts'
import { pidsIn, removeCgroup, thawBelow } from './cgroup-tree.ts'
import { hostLives, pidNamespace } from './marker.ts'
import { pruneRuns, registerRuns } from './run-files.ts'
import { sweep } from './sweep.ts'
import { ProcessTable } from './table.ts'
import type { ProcessEntry } from './table.ts'

/** An orphan may be a busy `claude`, which ends its tools first. */
const SIGTERM_GRACE_MS = 5_000
const SIGKILL_GRACE_MS = 2_000

/** A host that dies later than we start is noticed after this, in milliseconds; its own sentinel is faster by far. */
const INTERVAL_MS = 5 * 60_000

/** What a reaping did. */
export interface ReapReport {
  /** Processes whose host was gone. */
  pids: number[]
  /** Processes that could not be ended. */
  left: number
}

/** In another pid namespace, a container's for instance, the marker's pid is another process: nothing is known of its host. */
const isElsewhere = (pid: number): boolean => process.platform === 'linux' && pidNamespace(pid) !== pidNamespace()

/** True for a marked process whose host does not run any more. */
export const isOrphan = ({ marker, pid }: ProcessEntry): boolean =>
  marker !== undefined && pid !== process.pid && !hostLives(marker.host) && !isElsewhere(pid)

/** Processes that carry the marker, or are in a cgroup, of a host that does not run any more. No others. */
export function findOrphans(table: ProcessTable = new ProcessTable()): ProcessEntry[] {
  const enclosed = new Set(abandonedCgroups().flatMap(pidsIn))
  return table.read().filter((entry) => isOrphan(entry) || (enclosed.has(entry.pid) && entry.pid !== process.pid))
}

/** Ends all orphans of this machine that this user may signal. */
export async function reap(clock: Clock): Promise<ReapReport> {
  const table = new ProcessTable()
  const orphans = findOrphans(table)
  const pids = orphans.map(({ pid }) => pid)
  try {
    return { pids, left: orphans.length === 0 ? 0 : await endOrphans(table, clock) }
  } finally {
    for (const folder of abandonedCgroups()) removeCgroup(folder)
  }
}

async function endOrphans(table: ProcessTable, clock: Clock): Promise<number> {
  const look = (): ProcessEntry[] => findOrphans(table)
  for (const folder of abandonedCgroups()) thawBelow(folder)
  const asked = await sweep(look, 'SIGTERM', SIGTERM_GRACE_MS, clock)
  const { left } = asked.left === 0 ? asked : await sweep(look, 'SIGKILL', SIGKILL_GRACE_MS, clock)
  return left
}

/** Reaps when a host starts, and now and then. */
export class Reaper {
  readonly #clock: Clock
  readonly #runDir: string
  readonly #onReaped: (report: ReapReport) => void
  readonly #cancel: CancelTimer
  #reaping: Promise<void>

  constructor(clock: Clock, runDir: string, onReaped: (report: ReapReport) => void) {
    this.#clock = clock
    this.#runDir = runDir
    this.#onReaped = onReaped
    this.#reaping = this.#reap()
    this.#cancel = repeatedly(
      clock,
      () => INTERVAL_MS,
      () => {
        this.#reaping = this.#reap()
      },
    )
  }

  /** Resolves when nothing is under way any more. */
  async stop(): Promise<void> {
    this.#cancel()
    await this.#reaping
  }

  async #reap(): Promise<void> {
    registerRuns(this.#runDir)
    const report = await reap(this.#clock)
    pruneRuns(this.#runDir)
    if (report.pids.length > 0) this.#onReaped(report)
  }
}
