import type { Residency } from '../options/residency.ts'
import type { DepartureReason } from '../worker/worker.ts'
import type { WorkerState } from '../worker/lifecycle.ts'
import type { Forecast } from './habits.ts'

/** What the policy looks at. Times are clock readings in milliseconds. */
export interface Resident {
  readonly state: WorkerState
  readonly reserved: boolean
  readonly session: object | undefined
  readonly residency: Residency
  readonly startedAt: number
  readonly lastUsedAt: number
  readonly maxAgeMs: number
  readonly turns: number
  readonly memoryBytes: number | undefined
  readonly pin: { sinceMs: number } | undefined
  /** Its agent has another definition by now, or is no more. */
  readonly outdated?: boolean
}

/** Below this chance of another turn a process is not kept, though nobody needs its room. */
const UNLIKELY = 0.005

/** The same, while there is no room for one more: the next start then need not wait for its end. */
const UNLIKELY_WHEN_FULL = 0.02

/** An idle process of this size is an ordinary one; a larger one keeps the room of several. */
const ORDINARY_BYTES = 200 * 2 ** 20

/** True while background work or an open question keeps the worker, and has not done so for too long. */
export const isPinned = ({ pin, residency }: Resident, now: number): boolean =>
  pin !== undefined && now - pin.sinceMs < residency.pinLimitMs

/** True for a worker that nobody uses, waits for, or left work in. */
export const mayLeave = (worker: Resident, now: number): boolean =>
  worker.state === 'idle' && !worker.reserved && !isPinned(worker, now)

/** Why this worker should leave now, if it should. A busy one never should; it is only looked at between turns. */
export function dueToLeave<W extends Resident>(
  worker: W,
  now: number,
  { forecast, full }: { forecast: (worker: W) => Forecast; full: boolean },
): DepartureReason | undefined {
  if (!mayLeave(worker, now)) return undefined
  if (worker.outdated === true) return 'fingerprint'
  const { residency } = worker
  if (now - worker.startedAt >= worker.maxAgeMs) return 'age'
  if (worker.memoryBytes !== undefined && worker.memoryBytes > residency.maxMemoryBytes) return 'memory'
  if (worker.session === undefined) return undefined
  if (worker.turns >= residency.maxTurnsPerWorker) return 'turns'
  const overdue = now - worker.lastUsedAt >= residency.idleTtlMs
  return (residency.learns ? isForgotten(residency, forecast(worker), { overdue, full }) : overdue) ? 'idle' : undefined
}

function isForgotten(
  { outstaysTtl }: Residency,
  { chance, learned }: Forecast,
  { overdue, full }: { overdue: boolean; full: boolean },
): boolean {
  if (learned && chance < (full ? UNLIKELY_WHEN_FULL : UNLIKELY)) return true
  return overdue && !(learned && outstaysTtl)
}

/**
 * The worker whose leaving costs least: a spare before any session's own, then the one that saves least for the time and
 * room that it is kept. Of equals, and of those of which nothing is known, the one unused for longest.
 */
export function leastMissed<W extends Resident>(
  workers: Iterable<W>,
  now: number,
  forecast: (worker: W) => Forecast,
): W | undefined {
  let least: { worker: W; worth: number } | undefined
  for (const worker of workers) {
    if (!mayLeave(worker, now)) continue
    const worth = worker.session === undefined ? SPARE_WORTH : worthOf(worker, forecast(worker))
    if (least === undefined || before({ worker, worth }, least)) least = { worker, worth }
  }
  return least?.worker
}

/** Less than that of any session. */
const SPARE_WORTH = -1

const worthOf = ({ residency, memoryBytes = 0 }: Resident, { savedPerMs }: Forecast): number =>
  residency.learns ? savedPerMs / Math.max(1, memoryBytes / ORDINARY_BYTES) : savedPerMs

interface Valued {
  worker: Resident
  worth: number
}

const before = (a: Valued, b: Valued): boolean =>
  a.worth === b.worth ? a.worker.lastUsedAt < b.worker.lastUsedAt : a.worth < b.worth

/** How much of the maximum age one worker may have: up to a tenth less, so that a fleet does not retire at once. */
export const shareOfMaxAge = (random: () => number): number => 1 - 0.1 * random()
