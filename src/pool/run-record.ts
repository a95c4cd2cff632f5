import type { RunFiles } from '../process/run-files.ts'
import type { WorkerInfo } from './events.ts'
import type { Pool } from './pool.ts'

/** Keeps the run files of a pool's workers true: other processes read there whose process is whose. */
export function recordRuns(pool: Pool, files: RunFiles): void {
  const late = new Map<string, NodeJS.Immediate>()
  const note = ({ id, pid, agent, tenant, session, startedAt }: WorkerInfo): void =>
    files.write({ workerId: id, pid, agent, tenant, session, startedAt })
  const writeLate = (worker: WorkerInfo): void => {
    late.delete(worker.id)
    try {
      note(worker)
    } catch (error) {
      // Outside of an event nobody else catches it, and a directory that has vanished must not end the host.
      process.emitWarning(error as Error)
    }
  }
  pool.on('worker.started', ({ worker }) => note(worker))
  pool.on('worker.ready', ({ worker }) => note(worker))
  // The prompt goes out first: whose process it is can be read a moment later, also while the turn runs.
  pool.on('worker.bound', ({ worker }) => late.set(worker.id, setImmediate(writeLate, worker)))
  pool.on('worker.left', ({ worker }) => {
    clearImmediate(late.get(worker.id))
    late.delete(worker.id)
    files.remove(worker.id)
  })
}
