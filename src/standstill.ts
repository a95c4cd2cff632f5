/** A timer this late means that the host stood still: it was stopped, its machine paused, or its core taken. */
const STANDSTILL_MS = 1_000

/** A span of clock readings. */
interface Span {
  from: number
  to: number
}

const NEVER: Span = { from: Infinity, to: -Infinity }

const includes = ({ from, to }: Span, reading: number): boolean => reading > from && reading <= to

/** Detects that the host itself stood still. */
export class Standstill {
  readonly #now: () => number
  #seenAt: number
  /** The last span in which nothing asked for the time: the host was idle or stood still. */
  #quiet = NEVER
  /** The last span in which the host stood still. */
  #still = NEVER

  constructor(now: () => number) {
    this.#now = now
    this.#seenAt = now()
  }

  /** The clock's reading. Each call shows that the host runs. */
  now(): number {
    const now = this.#now()
    if (now - this.#seenAt >= STANDSTILL_MS) this.#quiet = { from: this.#seenAt, to: now }
    this.#seenAt = now
    return now
  }

  /** How much longer a timer that was due then has to wait, in milliseconds. 0 unless the host stood still when it was due. */
  remaining(dueAt: number): number {
    this.now()
    // An idle host would have run the timer in time.
    if (includes(this.#quiet, dueAt) && this.#quiet.to - dueAt >= STANDSTILL_MS) this.#still = this.#quiet
    return includes(this.#still, dueAt) ? dueAt - this.#still.from : 0
  }
}
