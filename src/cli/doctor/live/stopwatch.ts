/** How long something took, in milliseconds. */
export interface Times {
  /** To the first message of the agent. */
  firstMs: number
  /** To the end. */
  wholeMs: number
}

/** What came of a prompt. */
export interface Said extends Times {
  text: string
  failed: boolean
  costUsd: number
}

/** Takes both times of one prompt. */
export class Stopwatch {
  readonly #begun = performance.now()
  #firstMs: number | undefined

  /** The agent has said something; only the first time counts. */
  first(): void {
    this.#firstMs ??= performance.now() - this.#begun
  }

  stop(): Times {
    const wholeMs = performance.now() - this.#begun
    return { firstMs: this.#firstMs ?? wholeMs, wholeMs }
  }
}
