import type { Permit } from '../admission/gate.ts'
import type { WorkerPurpose } from '../worker/warmth.ts'

/** The purpose of a start: waiting turns come before workers started ahead, and those before spares. */
export type StartPriority = Exclude<WorkerPurpose, 'unbound'>

const ORDER: readonly StartPriority[] = ['turn', 'ahead', 'spare']

interface Job {
  begin(): void
  /** What it is started for: by this it is found again. */
  owner: object | undefined
}

/**
 * Starts few processes at a time, since they compete for cores (eight at once take eight times as long here) and slow
 * every turn that runs. It holds no lock: a caller waits here for its own process alone.
 */
export class StartQueue {
  readonly #concurrent: number
  readonly #queues: Record<StartPriority, Job[]> = { turn: [], ahead: [], spare: [] }
  #running = 0

  constructor(concurrent: number) {
    this.#concurrent = concurrent
  }

  get facts(): { starting: number; waiting: number } {
    return { starting: this.#running, waiting: ORDER.reduce((sum, priority) => sum + this.#queues[priority].length, 0) }
  }

  /**
   * Runs `start` when its turn comes. The permit is the caller's proof that the start was admitted.
   * `start` decides anew whether it is still needed: the wait may have been long.
   */
  async launch<T>(_permit: Permit, priority: StartPriority, start: () => Promise<T>, owner?: object): Promise<T> {
    await this.#place(priority, owner)
    try {
      return await start()
    } finally {
      this.#running -= 1
      this.#next()
    }
  }

  /** A user waits now for what was asked for ahead: it goes behind the users that wait already. */
  promote(owner: object): void {
    const promoted = this.#queues.ahead.filter((job) => job.owner === owner)
    this.#queues.ahead = this.#queues.ahead.filter((job) => job.owner !== owner)
    this.#queues.turn.push(...promoted)
  }

  #place(priority: StartPriority, owner: object | undefined): Promise<void> {
    return new Promise((resolve) => {
      this.#queues[priority].push({ begin: resolve, owner })
      this.#next()
    })
  }

  #next(): void {
    while (this.#running < this.#concurrent) {
      const job = this.#shift()
      if (job === undefined) return
      this.#running += 1
      job.begin()
    }
  }

  #shift(): Job | undefined {
    for (const priority of ORDER) {
      const job = this.#queues[priority].shift()
      if (job !== undefined) return job
    }
    return undefined
  }
}
