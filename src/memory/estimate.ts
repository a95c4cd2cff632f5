/** Fewer samples than this are chance: the prior holds until then. */
const ENOUGH = 5

/** The newest samples count, so that an estimate follows an agent that changes. */
const WINDOW = 64

/** One in ten is larger. A maximum would let one runaway tool halve the capacity for the rest of the day. */
const QUANTILE = 0.9

/** What something needs, as a high quantile of what it needed lately. In bytes. */
export class Estimate {
  readonly #prior: number
  #newest: number[] = []
  #bytes: number
  #samples = 0

  constructor(prior: number) {
    this.#prior = prior
    this.#bytes = prior
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Samples seen so far. */
  get samples(): number {
    return this.#samples
  }

  note(bytes: number): void {
    this.#samples += 1
    this.#newest.push(bytes)
    if (this.#newest.length > WINDOW) this.#newest.shift()
    const { length } = this.#newest
    if (length < ENOUGH) this.#bytes = Math.max(this.#prior, ...this.#newest)
    else this.#bytes = this.#newest.toSorted((a, b) => a - b)[Math.ceil(QUANTILE * length) - 1] ?? this.#prior
  }
}
