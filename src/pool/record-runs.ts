import type { RunFiles } from '../process/run-files.ts'
import type { PoolEmitter, WorkerInfo } from '../events.ts'

/** Keeps the run files of a pool's workers true: other processes read there whose process is whose. */
export function recordRuns(emitter: PoolEmitter, files: Pick<RunFiles, 'write' | 'remove'>): void {
  const late = new Map<string, NodeJS.Immediate>()
  const note = ({ id, pid, agent, tenant, session, startedAt }: WorkerInfo): void => {
    try {
      files.write({ workerId: id, pid, agent, tenant, session, startedAt })
    } catch (error) {
      // A directory that has vanished must not end the host, nor the turn.
      const message = `the run file of worker ${id} cannot be written: ps does not know whose process that is`
      emitter.tell('warning', { message, error })
    }
  }
  emitter.on('worker.started', ({ worker }) => note(worker))
  emitter.on('worker.ready', ({ worker }) => note(worker))
  // The prompt goes out first: whose process it is can be read a moment later, also while the turn runs.
  emitter.on('worker.bound', ({ worker }) => {
    const write = (): void => {
      late.delete(worker.id)
      note(worker)
    }
    late.set(worker.id, setImmediate(write))
  })
  emitter.on('worker.closed', ({ worker }) => {
    clearImmediate(late.get(worker.id))
    late.delete(worker.id)
    files.remove(worker.id)
  })
}
