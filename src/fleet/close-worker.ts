import { ConfigError, SessionBusyError } from '../errors.ts'
import type { Worker } from '../worker/worker.ts'
import type { Registry } from './registry.ts'

/** `closed`: the process has ended. `after_turn`: it ends with the turn that runs. */
export type WorkerClosing = 'closed' | 'after_turn'

/** Closes a worker that an operator names. `now`: also in mid-turn, and whatever keeps it. Throws ConfigError, SessionBusyError. */
export async function closeWorker(registry: Registry, id: string, now: boolean): Promise<WorkerClosing> {
  const worker = registry.get(id)
  if (worker === undefined)
    throw new ConfigError('worker', `there is no worker "${id}"; "claude-agent-pool ps" lists all workers`)
  if (!now && (worker.state === 'busy' || worker.state === 'starting')) {
    worker.retire('operator')
    return 'after_turn'
  }
  if (!now) checkUnpinned(worker)
  await worker.close('operator')
  return 'closed'
}

/** What would be lost is named. */
function checkUnpinned({ id, pin }: Worker): void {
  if (pin === undefined) return
  const kept = [
    pin.tasks === 0 ? [] : `${pin.tasks} background tasks of its agent`,
    pin.permissionRequests === 0 ? [] : `${pin.permissionRequests} open questions`,
    pin.transcript ? 'a transcript that is not copied yet' : [],
    pin.unprompted ? 'an agent that speaks unprompted' : [],
  ].flat()
  throw new SessionBusyError(`worker "${id}" has ${kept.join(', ')}; wait for the end, or close it now and lose that`)
}
