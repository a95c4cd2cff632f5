import type { CloseReason } from '../worker/worker.ts'
import type { Forecast } from './habits.ts'
import { policyOf } from './policies.ts'
import { mayLeave } from './resident.ts'
import type { Resident } from './resident.ts'

/** Why this worker should leave now, if it should. A busy one never should; it is only looked at between turns. */
export function retirementReason<W extends Resident>(
  worker: W,
  now: number,
  { forecast, full }: { forecast: (worker: W) => Forecast; full: boolean },
): CloseReason | undefined {
  if (!mayLeave(worker, now)) return undefined
  if (worker.outdated === true) return 'fingerprint'
  const { residency } = worker
  if (now - worker.startedAt >= worker.maxAgeMs) return 'age'
  if (worker.memoryBytes !== undefined && worker.memoryBytes > residency.maxMemoryBytes) return 'memory'
  if (worker.session === undefined) return undefined
  if (worker.turns >= residency.maxTurnsPerWorker) return 'turns'
  return policyOf(residency).isForgotten(worker, () => forecast(worker), { now, full }) ? 'idle' : undefined
}

/**
 * The worker whose leaving costs least: a spare before any session's own, then the one that saves least for the time and
 * room that it is kept. Of equals, and of those of which nothing is known, the one unused for longest.
 */
export function evictionCandidate<W extends Resident>(
  workers: Iterable<W>,
  now: number,
  forecast: (worker: W) => Forecast,
): W | undefined {
  return leastWorth(workers, forecast, (worker) => mayLeave(worker, now))
}

/** Of the workers that are asked for, the one that is worth least; of equals, the one unused for longest. */
export function leastWorth<W extends Resident>(
  workers: Iterable<W>,
  forecast: (worker: W) => Forecast,
  isAskedFor: (worker: W) => boolean,
): W | undefined {
  let least: { worker: W; worth: number } | undefined
  for (const worker of workers) {
    if (!isAskedFor(worker)) continue
    const worth = worthOf(worker, forecast)
    if (least === undefined || isBefore({ worker, worth }, least)) least = { worker, worth }
  }
  return least?.worker
}

/** Less than that of any session. */
const SPARE_WORTH = -1

/**
 * What is lost for the room that is won. A frozen process saves less of a start than a live one, and holds still less memory: most
 * often it is the better one to keep.
 */
function worthOf<W extends Resident>(worker: W, forecast: (worker: W) => Forecast): number {
  if (worker.session === undefined) return SPARE_WORTH
  const expected = forecast(worker)
  const worth = policyOf(worker.residency).worth(worker, expected)
  return worker.state === 'frozen' ? (worth * expected.frozenShare) / residentShare(worker) : worth
}

/** Freezing leaves this share in memory at least: no process is all paged out. */
const LEAST_RESIDENT = 0.1

function residentShare({ memoryBytes, swappedBytes = 0 }: Resident): number {
  if (memoryBytes === undefined || memoryBytes + swappedBytes === 0) return 1
  return Math.max(LEAST_RESIDENT, memoryBytes / (memoryBytes + swappedBytes))
}

interface Valued {
  worker: Resident
  worth: number
}

const isBefore = (a: Valued, b: Valued): boolean =>
  a.worth === b.worth ? a.worker.lastUsedAt < b.worker.lastUsedAt : a.worth < b.worth
