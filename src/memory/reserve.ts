const MIB = 2 ** 20

/** Kept free for the unforeseen, as a share of the limit, and its bounds. */
const MARGIN = { share: 0.06, least: 64 * MIB, most: 512 * MIB } as const

/** A host may always grow by this: a garbage collection that comes late, a large answer. */
const LEAST_GROWTH_BYTES = 32 * MIB

/** Peaks are remembered for between one and two of these, in milliseconds. */
const PEAK_MS = 5 * 60_000

/** What is kept back: a margin, and what the host may grow by, since it did so before. */
export class Reserve {
  #hostBytes = 0
  #peak = 0
  #lastPeak = 0
  #peakSince = -Infinity

  /** The host uses this much now. */
  note(hostBytes: number, now: number): void {
    if (now - this.#peakSince >= PEAK_MS) {
      this.#lastPeak = this.#peak
      this.#peak = 0
      this.#peakSince = now
    }
    this.#hostBytes = hostBytes
    this.#peak = Math.max(this.#peak, hostBytes)
  }

  get hostBytes(): number {
    return this.#hostBytes
  }

  bytes(limitBytes: number): number {
    const margin = Math.min(Math.max(limitBytes * MARGIN.share, MARGIN.least), MARGIN.most)
    const growth = Math.max(this.#peak, this.#lastPeak) - this.#hostBytes
    return Math.round(margin + Math.max(growth, LEAST_GROWTH_BYTES))
  }
}
