import type { ProcessInfo, TurnInfo, TurnPhase } from '../../index.ts'
import { inOrder } from '../../driver/processes.ts'
import { PROXY_ID, isSameHost } from '../../process/marker.ts'
import type { HostIdentity } from '../../process/marker.ts'
import { isOrphan } from '../../process/reaper.ts'
import type { ProcessEntry } from '../../process/table.ts'
import type { RunEntry } from '../../process/run-files.ts'
import { Ownership } from '../../process/ownership.ts'

/** A worker, or the credential proxy of a host, with all its processes. */
export interface ListedWorker {
  /** `credential-proxy` for the proxy. */
  id: string
  host: HostIdentity
  /** `orphaned`: its host is gone, and the sentinel or a reaper has yet to end it. */
  state: 'running' | 'orphaned'
  /** Known only from the data directory of its pool. */
  run: RunEntry | undefined
  /** What its turn does. Left out while it runs none, and for workers of other data directories. */
  phase?: TurnPhase
  processes: ProcessInfo[]
}

/** All workers and credential proxies on this machine, of every pool, with what `runs` and `turns` tell of them. */
export function listWorkers(
  entries: readonly ProcessEntry[],
  runs: readonly RunEntry[],
  turns: readonly TurnInfo[] = [],
): ListedWorker[] {
  const phases = new Map(turns.map(({ worker, phase }) => [worker, { phase }]))
  const hosts = new Map<string, HostIdentity>()
  for (const { marker } of entries)
    if (marker !== undefined) hosts.set(`${marker.host.pid}:${marker.host.startTime}`, marker.host)
  return [...hosts.values()].flatMap((host) => {
    const owners = new Ownership(host, { withProxy: true }).owners(entries)
    const trees = Map.groupBy(
      entries.filter(({ pid }) => owners.has(pid)),
      ({ pid }) => owners.get(pid) as string,
    )
    const workersFirst = [...trees].toSorted(([a], [b]) => Number(a === PROXY_ID) - Number(b === PROXY_ID))
    return workersFirst.map(([id, tree]): ListedWorker => ({
      id,
      host,
      state: tree.some(isOrphan) ? 'orphaned' : 'running',
      run: runs.find((run) => run.workerId === id && isSameHost(run.host, host)),
      ...phases.get(id),
      processes: inOrder(tree),
    }))
  })
}
