/** Ends a timer; calling it twice is harmless. */
export type CancelTimer = () => void

/** The only source of time. Tests pass one that they move by hand. */
export interface Clock {
  /** Monotonic milliseconds: for durations, deadlines and ages. */
  now(): number
  /** Milliseconds since the epoch: for what people read and what outlives the process. */
  wall(): number
  /** Runs `callback` once, after at least `delayMs`. The timer does not keep the host alive unless `keepAlive` is set. */
  after(delayMs: number, callback: () => void, options?: { keepAlive?: boolean }): CancelTimer
}

/** Beyond this, setTimeout overflows and fires at once (2^31 − 1 ms, 24.8 days). */
const LONGEST_TIMER_MS = 2_147_483_647

export const systemClock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  after(delayMs, callback, options) {
    const timer = setTimeout(callback, Math.min(Math.max(delayMs, 0), LONGEST_TIMER_MS))
    if (options?.keepAlive !== true) timer.unref()
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
