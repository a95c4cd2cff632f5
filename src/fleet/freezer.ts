import type { Forecast } from './habits.ts'
import { leastWorth } from './residency.ts'
import { mayLeave } from './resident.ts'
import type { Resident } from './resident.ts'

/** What a frozen worker had shows as free after this, in milliseconds: until then no other is frozen or closed for its room. */
export const PAGING_OUT_MS = 1_500

/** A worker that may be frozen. */
export interface Freezable extends Resident {
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

/** A learned chance of less than this that its session speaks within `freezeAfter`: until then it need not stay awake. */
const UNLIKELY_SOON = 0.25

/**
 * True for a worker that is silent for long enough to be frozen: for `residency.freezeAfter`, or as its agent's habits say. `soon` is what
 * to expect within `freezeAfter`.
 */
export function isDueToFreeze<W extends Freezable>(worker: W, now: number, soon: (worker: W) => Forecast): boolean {
  if (!mayFreeze(worker, now)) return false
  const { chance, learned } = soon(worker)
  return learned ? chance < UNLIKELY_SOON : now - worker.lastUsedAt >= worker.residency.freezeAfterMs
}

/** The worker to freeze when memory is short: the one that is worth least. Undefined if there is none. */
export const freezeCandidate = <W extends Freezable>(
  workers: Iterable<W>,
  now: number,
  forecast: (worker: W) => Forecast,
): W | undefined => leastWorth(workers, forecast, (worker) => mayFreeze(worker, now))
