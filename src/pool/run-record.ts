import type { RunFiles } from '../process/run-files.ts'
import type { WorkerInfo } from './events.ts'
import type { Pool } from './pool.ts'

/** Keeps the run files of a pool's workers true: other processes read there whose process is whose. */
export function recordRuns(pool: Pool, files: RunFiles): void {
  const note = ({ id, pid, agent, tenant, session, startedAt }: WorkerInfo): void =>
    files.write({ workerId: id, pid, agent, tenant, session, startedAt })
  pool.on('worker.started', ({ worker }) => note(worker))
  pool.on('worker.ready', ({ worker }) => note(worker))
  pool.on('worker.bound', ({ worker }) => note(worker))
  pool.on('worker.left', ({ worker }) => files.remove(worker.id))
}
