/** The first failures cost nothing: a single bad start is no pattern. */
const FREE_FAILURES = 2
const FIRST_DELAY_MS = 1_000
const LONGEST_DELAY_MS = 60_000

/**
 * Holds back starts that keep failing: for 1 s after the third failure, doubling to 1 min. Repeated failures of one
 * conversation count once until others fail, too: the cause may lie in that conversation.
 */
export class Backoff {
  readonly #conversations = new Set<string>()
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

  /** `conversation`: whose start failed. Without it each failure counts. */
  failed(error: Error, now: number, conversation?: string): void {
    this.#lastError = error
    if (this.#isKnown(conversation)) return
    this.#failures += 1
    const doublings = this.#failures - FREE_FAILURES - 1
    if (doublings >= 0) this.#heldUntil = now + Math.min(FIRST_DELAY_MS * 2 ** doublings, LONGEST_DELAY_MS)
  }

  #isKnown(conversation: string | undefined): boolean {
    if (conversation === undefined || this.#failures > FREE_FAILURES) return false
    const isKnown = this.#conversations.has(conversation)
    this.#conversations.add(conversation)
    return isKnown
  }
}
