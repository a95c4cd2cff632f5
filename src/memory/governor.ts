const MIB = 2 ** 20

/** What a turn may need until its agent's own need is known. HoloDeck's published budget, on the safe side of 105–145 MiB measured. */
const RUNNING_BYTES = 500 * MIB

/** What an idle process or a spare holds: 132–145 MiB were measured after 21 turns, and some room to grow. */
const IDLE_BYTES = 200 * MIB

/** The host's own share: its baseline and its buffers. */
const RESERVE_BYTES = 200 * MIB

/** How many workers there are of each kind; starting ones count as what they are started for. */
export interface WorkerCounts {
  running: number
  idle: number
}

/** Says what memory bears. Its answers come from priors. */
export class Governor {
  readonly #budgetBytes: number
  readonly #maxWorkers: number

  constructor({ memoryBytes, workers }: { memoryBytes: number; workers: number | 'auto' }) {
    this.#budgetBytes = Math.max(memoryBytes - RESERVE_BYTES, 0)
    this.#maxWorkers = workers === 'auto' ? Infinity : workers
  }

  /** Turns that fit at once; at least one, since a pool that takes none is of no use. */
  get turnsThatFit(): number {
    return Math.max(1, Math.min(Math.floor(this.#budgetBytes / RUNNING_BYTES), this.#maxWorkers))
  }

  /** True when these workers fit together. A single running one always does. */
  fits({ running, idle }: WorkerCounts): boolean {
    if (running + idle > this.#maxWorkers) return false
    if (running <= 1 && idle === 0) return true
    return running * RUNNING_BYTES + idle * IDLE_BYTES <= this.#budgetBytes
  }
}
