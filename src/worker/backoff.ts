/** The first failures cost nothing: a single bad start is no pattern. */
const FREE_FAILURES = 2
const FIRST_DELAY_MS = 1_000
const LONGEST_DELAY_MS = 60_000

/** Holds back starts of an agent whose processes die before they are ready: 1 s after the third failure, doubling to 1 min. */
export class Backoff {
  #failures = 0
  #heldUntil = 0
  #lastError: Error | undefined

  /** The failure that holds starts back now, and for how much longer. */
  held(now: number): { error: Error; remainingMs: number } | undefined {
    if (this.#lastError === undefined || now >= this.#heldUntil) return undefined
    return { error: this.#lastError, remainingMs: this.#heldUntil - now }
  }

  /** True after any failure that no success has followed: not the time for optional starts. */
  get failing(): boolean {
    return this.#failures > 0
  }

  failed(error: Error, now: number): void {
    this.#failures += 1
    this.#lastError = error
    const doublings = this.#failures - FREE_FAILURES - 1
    if (doublings >= 0) this.#heldUntil = now + Math.min(FIRST_DELAY_MS * 2 ** doublings, LONGEST_DELAY_MS)
  }

  succeeded(): void {
    this.#failures = 0
    this.#heldUntil = 0
    this.#lastError = undefined
  }
}
