import type { WorkerState } from '../worker/lifecycle.ts'
import type { ClosedWorker, Worker, WorkerListeners } from '../worker/worker.ts'

/** The workers that exist, counted in this place only. It hears of all of them, and tells the fleet. */
export class Registry implements WorkerListeners {
  readonly #workers = new Map<string, Worker>()
  #listeners: WorkerListeners | undefined

  /** Tells these of every worker. One that has left is not in the registry any more. */
  listen(listeners: WorkerListeners): void {
    this.#listeners = listeners
  }

  add(worker: Worker): void {
    this.#workers.set(worker.id, worker)
  }

  get(id: string): Worker | undefined {
    return this.#workers.get(id)
  }

  get size(): number {
    return this.#workers.size
  }

  [Symbol.iterator](): IterableIterator<Worker> {
    return this.#workers.values()
  }

  byState(): Record<WorkerState, number> {
    const counts = { starting: 0, idle: 0, frozen: 0, busy: 0, closing: 0, closed: 0 }
    for (const worker of this.#workers.values()) counts[worker.state] += 1
    return counts
  }

  changed(worker: Worker, from: WorkerState): void {
    this.#listeners?.changed(worker, from)
  }

  initialized(worker: Worker): void {
    this.#listeners?.initialized(worker)
  }

  failed(worker: Worker, what: string, error: unknown): void {
    this.#listeners?.failed(worker, what, error)
  }

  closed(worker: Worker, facts: ClosedWorker): void {
    this.#workers.delete(worker.id)
    this.#listeners?.closed(worker, facts)
  }
}
