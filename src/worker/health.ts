import type { Clock } from '../clock.ts'
import type { Worker } from './worker.ts'

/** Between two questions to one idle worker, in milliseconds. */
const PROBE_INTERVAL_MS = 30_000

/** A worker that has not answered by then hangs; an idle one answers within milliseconds, also on a busy machine. */
const PROBE_DEADLINE_MS = 10_000

/** Asks idle workers whether they still answer. Being asked is not being used: it does not keep a worker from leaving. */
export class Health {
  readonly #clock: Clock
  readonly #askedAt = new WeakMap<Worker, number>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Asks the worker if it is time to; tells it to leave when it does not answer. */
  check(worker: Worker): void {
    if (worker.state !== 'idle' || worker.sdkSessionId === undefined) return
    const now = this.#clock.now()
    const last = this.#askedAt.get(worker) ?? worker.startedAt
    if (now - Math.max(last, worker.lastUsedAt) < PROBE_INTERVAL_MS) return
    this.#askedAt.set(worker, now)
    void this.#ask(worker)
  }

  async #ask(worker: Worker): Promise<void> {
    const cancel = this.#clock.after(PROBE_DEADLINE_MS, () => {
      // A turn that has begun meanwhile has limits of its own.
      if (worker.state === 'idle') void worker.close('unresponsive')
    })
    try {
      await worker.process.probe()
    } catch {
      // A process that has ended says so by itself.
    }
    cancel()
  }
}
