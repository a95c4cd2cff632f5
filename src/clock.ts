import { uptime } from 'node:os'
import { Standstill } from './standstill.ts'

/** Ends a timer; calling it twice is harmless. */
export type CancelTimer = () => void

/** The only source of time. Tests pass one that they move by hand. */
export interface Clock {
  /** Monotonic milliseconds: for durations, deadlines and ages. */
  now(): number
  /** Milliseconds since the epoch: for what people read and what outlives the process. It jumps when the machine's clock is set. */
  wall(): number
  /** Monotonic milliseconds that include the time of a suspended machine. Default: `now()`. */
  uptime?(): number
  /** Runs `callback` once, after at least `delayMs`. The timer does not keep the host alive unless `keepAlive` is set. */
  after(delayMs: number, callback: () => void, options?: { keepAlive?: boolean }): CancelTimer
}

/** Beyond this, setTimeout overflows and fires at once (2^31 − 1 ms, 24.8 days). */
const LONGEST_TIMER_MS = 2_147_483_647

/** Limits how often one timer is postponed. */
const MOST_DELAYS = 5

const standstill = new Standstill(() => performance.now())

export const systemClock: Clock = {
  now: () => standstill.now(),
  wall: () => Date.now(),
  uptime: () => uptime() * 1_000,
  after(delayMs, callback, { keepAlive = false } = {}) {
    let timer: NodeJS.Timeout
    const start = (waitMs: number, delays: number): void => {
      const dueAt = standstill.now() + waitMs
      timer = setTimeout(() => {
        // The host reads what came in while it stood still before it judges, and that time does not count.
        const remaining = standstill.remaining(dueAt)
        if (remaining === 0 || delays === MOST_DELAYS) callback()
        else start(remaining, delays + 1)
      }, waitMs)
      if (!keepAlive) timer.unref()
    }
    start(Math.min(Math.max(delayMs, 0), LONGEST_TIMER_MS), 0)
    return () => clearTimeout(timer)
  },
}

/** Runs `work` again and again until it is cancelled: so long after the last time, in milliseconds, as `delay` says each time. */
export function repeatedly(clock: Clock, delay: () => number, work: () => void): CancelTimer {
  let cancel: CancelTimer | undefined
  let cancelled = false
  const arm = (): void => {
    if (cancelled) return
    cancel = clock.after(delay(), () => {
      work()
      arm()
    })
  }
  arm()
  return () => {
    cancelled = true
    cancel?.()
  }
}

/** Milliseconds since the epoch of a date as tools print it; NaN for anything else. */
export const parseWall = (text: string): number => Date.parse(text)

/** A moment of the wall clock for libraries that want one; milliseconds since the epoch. */
export const wallDate = (ms: number): Date => new Date(ms)

/** Milliseconds since the epoch as RFC 3339 has them. */
export const formatWall = (wall: number): string => new Date(wall).toISOString()
