/** Arrivals that are older than this weigh little: the half-life of the average. */
const HALF_LIFE_MS = 60_000

/** Below this many expected arrivals, no arrival is expected. */
const NEGLIGIBLE = 0.01

/** How often new conversations of one kind arrive, as a moving average, and how long their processes take to start. */
export class Demand {
  #weight = 0
  #updatedAt: number
  #startMs: number
  lastArrivalAt: number

  constructor(now: number, startMs: number) {
    this.#updatedAt = now
    this.#startMs = startMs
    this.lastArrivalAt = now
  }

  recordArrival(now: number): void {
    this.#decay(now)
    this.#weight += 1
    this.lastArrivalAt = now
  }

  recordStart(ms: number): void {
    this.#startMs += 0.2 * (ms - this.#startMs)
  }

  /** Arrivals per millisecond. */
  rate(now: number): number {
    this.#decay(now)
    return (this.#weight * Math.LN2) / HALF_LIFE_MS
  }

  /** Spares that should wait: what arrives while one starts, twice over for bursts; one while anybody is expected. */
  target(bounds: { min: number; max: number }, now: number): number {
    const rate = this.rate(now)
    const expected = rate * HALF_LIFE_MS < NEGLIGIBLE ? 0 : Math.max(1, Math.ceil(2 * rate * this.#startMs))
    return Math.min(Math.max(expected, bounds.min), bounds.max)
  }

  #decay(now: number): void {
    this.#weight *= 0.5 ** ((now - this.#updatedAt) / HALF_LIFE_MS)
    this.#updatedAt = now
  }
}
