import { mayLeave } from './resident.ts'
import type { Resident } from './resident.ts'

/** A worker that may be frozen. */
interface Freezable extends Resident {
  /** True if its driver can do that now. */
  readonly freezes: boolean
  freeze(): void
}

/** True if an idle worker of a session could be frozen now: what keeps it from leaving keeps it awake. */
const mayFreeze = (worker: Freezable, now: number): boolean =>
  worker.state === 'idle' &&
  worker.residency.freezes &&
  worker.session !== undefined &&
  worker.turns > 0 &&
  mayLeave(worker, now) &&
  worker.freezes

/** True for a worker that has been idle for `residency.freezeAfter`. */
export const isDueToFreeze = (worker: Freezable, now: number): boolean =>
  now - worker.lastUsedAt >= worker.residency.freezeAfterMs && mayFreeze(worker, now)

/** The worker to freeze when memory is short: the one unused for longest. Undefined if there is none. */
export function freezeCandidate<W extends Freezable>(workers: Iterable<W>, now: number): W | undefined {
  let oldest: W | undefined
  for (const worker of workers) {
    if (!mayFreeze(worker, now)) continue
    if (oldest === undefined || worker.lastUsedAt < oldest.lastUsedAt) oldest = worker
  }
  return oldest
}
