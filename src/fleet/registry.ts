import type { Worker } from '../worker/worker.ts'
import type { WorkerState } from '../worker/lifecycle.ts'

/** Who exists. The only place that counts workers. */
export class Registry {
  readonly #workers = new Map<string, Worker>()

  add(worker: Worker): void {
    this.#workers.set(worker.id, worker)
  }

  remove(worker: Worker): void {
    this.#workers.delete(worker.id)
  }

  get size(): number {
    return this.#workers.size
  }

  [Symbol.iterator](): IterableIterator<Worker> {
    return this.#workers.values()
  }

  byState(): Record<WorkerState, number> {
    const counts = { starting: 0, idle: 0, busy: 0, closing: 0, closed: 0 }
    for (const worker of this.#workers.values()) counts[worker.state] += 1
    return counts
  }
}
