import type { Clock } from '../clock.ts'
import type { WorkerInfo } from '../events.ts'
import type { Worker } from '../worker/worker.ts'

/** A worker, as events show it. */
export function workerInfo(worker: Worker, clock: Clock): WorkerInfo {
  const wallOf = (reading: number): number => Math.round(clock.wall() - (clock.now() - reading))
  return {
    id: worker.id,
    pid: worker.process.pid,
    agent: worker.agent,
    tenant: worker.tenant,
    session: worker.session?.key,
    sdkSessionId: worker.sdkSessionId,
    state: worker.state,
    purpose: worker.purpose,
    warmth: worker.warmth,
    cwd: worker.cwd,
    startedAt: wallOf(worker.startedAt),
    lastUsedAt: wallOf(worker.lastUsedAt),
    turns: worker.turns,
    memoryBytes: worker.memoryBytes,
    swappedBytes: worker.swappedBytes,
    pinnedBy: pinOf(worker),
  }
}

function pinOf({ pin }: Worker): WorkerInfo['pinnedBy'] {
  if (pin === undefined) return undefined
  const { tasks, permissionRequests, transcript, unprompted } = pin
  return { tasks, permissionRequests, transcript, unprompted }
}
