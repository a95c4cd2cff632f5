import type { Residency } from '../options.ts'
import type { DepartureReason } from '../worker/worker.ts'
import type { WorkerState } from '../worker/lifecycle.ts'

/** What the policy looks at. Times are clock readings in milliseconds. */
export interface Resident {
  readonly state: WorkerState
  readonly reserved: boolean
  readonly session: object | undefined
  readonly startedAt: number
  readonly lastUsedAt: number
  readonly maxAgeMs: number
  readonly turns: number
  readonly memoryBytes: number | undefined
  readonly pin: { sinceMs: number } | undefined
}

/** True while background work or an open question keeps the worker, and has not done so for too long. */
export const isPinned = ({ pin }: Resident, { pinLimitMs }: Residency, now: number): boolean =>
  pin !== undefined && now - pin.sinceMs < pinLimitMs

const mayLeave = (worker: Resident, policy: Residency, now: number): boolean =>
  worker.state === 'idle' && !worker.reserved && !isPinned(worker, policy, now)

/** Why this worker should leave now, if it should. A busy one never should; it is only looked at between turns. */
export function dueToLeave(worker: Resident, policy: Residency, now: number): DepartureReason | undefined {
  if (!mayLeave(worker, policy, now)) return undefined
  if (now - worker.startedAt >= worker.maxAgeMs) return 'age'
  if (worker.memoryBytes !== undefined && worker.memoryBytes > policy.maxMemoryBytes) return 'memory'
  if (worker.session === undefined) return undefined
  if (worker.turns >= policy.maxTurnsPerWorker) return 'turns'
  return now - worker.lastUsedAt >= policy.idleTtlMs ? 'idle' : undefined
}

/** The worker whose leaving costs least: a spare before any session's own, then the one unused for longest. */
export function leastMissed<W extends Resident>(workers: Iterable<W>, policy: Residency, now: number): W | undefined {
  let least: W | undefined
  for (const worker of workers) {
    if (!mayLeave(worker, policy, now)) continue
    if (least === undefined || before(worker, least)) least = worker
  }
  return least
}

function before(a: Resident, b: Resident): boolean {
  const aSpare = a.session === undefined
  if (aSpare !== (b.session === undefined)) return aSpare
  return a.lastUsedAt < b.lastUsedAt
}

/** Maximum age of one worker: up to a tenth less than configured, so that a fleet does not retire at once. */
export const jitteredMaxAge = ({ maxAgeMs }: Residency, random: () => number): number =>
  Number.isFinite(maxAgeMs) ? maxAgeMs * (1 - 0.1 * random()) : Infinity
