/**
 * `none`: nothing to do. `high`: no worker is added, idle ones are closed. `critical`: the next moment may be the
 * kernel's.
 */
export type PressureLevel = 'none' | 'high' | 'critical'

export interface PressureReading {
  limitBytes: number
  /** What is left of the limit, with nothing taken off for what is to come. */
  freeBytes: number
  /** What is kept back for the host and for surprises. */
  reserveBytes: number
  /** Share of the last 10 s, in percent, in which a task waited for memory; undefined if unknown. */
  stall: number | undefined
}

/** A level is entered below the first share of the reserve, and left above the second. */
const SHARES = { high: { enter: 1 / 2, leave: 3 / 4 }, critical: { enter: 1 / 4, leave: 1 / 2 } } as const

/** Percent of the last 10 s. In a quiet cgroup it is 0; reclaim that holds turns up shows as tens. */
const STALL = { enter: 10, leave: 5 } as const

/** With more than this share of the limit free, others wait for memory that is not ours. */
const STALL_COUNTS_BELOW = 1 / 4

/** A level is held for at least this long, in milliseconds, before a lower one is believed. */
const HOLD_MS = 2_000

const ORDER: readonly PressureLevel[] = ['none', 'high', 'critical']

/** Says how short memory is. Up at once, down slowly: what was just freed is what brought the level down. */
export class Pressure {
  #level: PressureLevel = 'none'
  #latest: PressureLevel = 'none'
  #sinceMs = -Infinity

  /** For callers that would add a process. */
  get level(): PressureLevel {
    return this.#level
  }

  /** What the latest reading says, not held: for callers that free memory, which must stop once it has helped. */
  get latest(): PressureLevel {
    return this.#latest
  }

  /** Takes note of a reading and says whether the level has changed. `now` in milliseconds. */
  update(reading: PressureReading, now: number): boolean {
    const next = this.#next(reading)
    this.#latest = next
    const rises = ORDER.indexOf(next) > ORDER.indexOf(this.#level)
    if (rises || next === this.#level) {
      const changed = next !== this.#level
      this.#level = next
      this.#sinceMs = now
      return changed
    }
    if (now - this.#sinceMs < HOLD_MS) return false
    this.#level = next
    this.#sinceMs = now
    return true
  }

  #next({ limitBytes, freeBytes, reserveBytes, stall = 0 }: PressureReading): PressureLevel {
    const below = (level: 'high' | 'critical'): boolean => {
      const within = ORDER.indexOf(this.#level) >= ORDER.indexOf(level)
      return freeBytes < reserveBytes * SHARES[level][within ? 'leave' : 'enter']
    }
    if (below('critical')) return 'critical'
    if (below('high')) return 'high'
    const stalls = stall >= STALL[this.#level === 'none' ? 'enter' : 'leave']
    return stalls && freeBytes < limitBytes * STALL_COUNTS_BELOW ? 'high' : 'none'
  }
}
