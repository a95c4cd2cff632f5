import type { ProcessInfo } from '../index.ts'
import { inOrder } from '../driver/processes.ts'
import { isSameHost } from '../process/marker.ts'
import type { HostIdentity } from '../process/marker.ts'
import { isOrphan } from '../process/reaper.ts'
import type { ProcessEntry } from '../process/table.ts'
import type { RunEntry } from '../process/run-files.ts'
import { treeOf } from '../process/tree.ts'

/** A worker with all its processes. */
export interface ListedWorker {
  id: string
  host: HostIdentity
  /** `orphaned`: its host is gone, and the sentinel or a reaper has yet to end it. */
  state: 'running' | 'orphaned'
  /** Known only from the data directory of its pool. */
  run: RunEntry | undefined
  processes: ProcessInfo[]
}

/** All workers on this machine that have a process, of every pool, with what `runs` tells of them. */
export function listWorkers(entries: readonly ProcessEntry[], runs: readonly RunEntry[]): ListedWorker[] {
  const found = new Map<string, { id: string; host: HostIdentity }>()
  for (const { marker } of entries) {
    if (marker !== undefined)
      found.set(`${marker.host.pid}:${marker.workerId}`, { id: marker.workerId, host: marker.host })
  }
  return [...found.values()].map(({ id, host }) => {
    const marked = ({ marker }: ProcessEntry): boolean => marker?.workerId === id && isSameHost(marker.host, host)
    return {
      id,
      host,
      state: entries.some((entry) => marked(entry) && isOrphan(entry)) ? 'orphaned' : 'running',
      run: runs.find((run) => run.workerId === id && isSameHost(run.host, host)),
      processes: inOrder(treeOf(entries, marked)),
    }
  })
}
