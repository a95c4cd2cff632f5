import type { Residency } from '../options/residency.ts'
import type { WorkerState } from '../worker/lifecycle.ts'
import type { Forecast } from './habits.ts'

/** A worker, as policies of residency see it. Times are clock readings in milliseconds. */
export interface Resident {
  readonly state: WorkerState
  readonly reserved: boolean
  readonly session: object | undefined
  readonly residency: Residency
  readonly startedAt: number
  readonly lastUsedAt: number
  readonly maxAgeMs: number
  readonly turns: number
  /** What is in memory: of a frozen one, the rest is in swap. */
  readonly memoryBytes: number | undefined
  readonly swappedBytes?: number | undefined
  readonly pin: { sinceMs: number } | undefined
  /** Its agent has another definition by now, or is no more. */
  readonly outdated?: boolean
}

/**
 * How long idle workers of sessions stay, by one pattern of `residency`. What holds for all patterns (age, memory, turns, pins)
 * is not its to say. Add one in a file of its own, and a row in `policies.ts`.
 */
export interface ResidencyPolicy {
  /** What the pool loses if this worker leaves, in milliseconds of starting for each one that it would stay. The lowest leaves first. */
  worth(worker: Resident, forecast: Forecast): number
  /** True when the worker has been idle for long enough. `full`: there is no room for one more. */
  isForgotten(worker: Resident, forecast: () => Forecast, at: { now: number; full: boolean }): boolean
}

/** True while background work or an open question keeps the worker, and has not done so for too long. */
export const isPinned = ({ pin, residency }: Resident, now: number): boolean =>
  pin !== undefined && now - pin.sinceMs < residency.pinLimitMs

/** True for a worker that is idle or frozen, about to be used by no one, and without work of its own. */
export const mayLeave = (worker: Resident, now: number): boolean =>
  (worker.state === 'idle' || worker.state === 'frozen') && !worker.reserved && !isPinned(worker, now)

/** True when it was last used longer ago than `idleTtl`. */
export const isOverdue = ({ lastUsedAt, residency }: Resident, now: number): boolean =>
  now - lastUsedAt >= residency.idleTtlMs

/** How much of the maximum age one worker may have: up to a tenth less, so that a fleet does not retire at once. */
export const shareOfMaxAge = (random: () => number): number => 1 - 0.1 * random()
