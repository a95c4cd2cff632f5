import type { CancelTimer, Clock } from '../clock.ts'

/** 2026-01-01T00:00:00Z: what `wall()` says when `now()` is 0. */
const WALL_AT_ZERO_MS = 1_767_225_600_000

interface Timer {
  dueMs: number
  callback: () => void
}

/** A turn of the event loop with file operations under way says nothing: what waits for them comes later. */
const filesAreBusy = (): boolean => process.getActiveResourcesInfo().some((name) => /^(FS|Close)Req/.test(name))

const nextTurnOfTheLoop = (): Promise<void> =>
  new Promise((resolve) => {
    setImmediate(resolve)
  })

/** A clock that stands still until it is moved. */
export class FakeClock implements Clock {
  readonly #timers = new Set<Timer>()
  #nowMs = 0

  now(): number {
    return this.#nowMs
  }

  wall(): number {
    return WALL_AT_ZERO_MS + Math.round(this.#nowMs)
  }

  after(delayMs: number, callback: () => void): CancelTimer {
    const timer = { dueMs: this.#nowMs + Math.max(delayMs, 0), callback }
    this.#timers.add(timer)
    return () => this.#timers.delete(timer)
  }

  /** Timers that have not fired. */
  get pending(): number {
    return this.#timers.size
  }

  /** Moves the time on. Timers fire one by one, in order, each at its time; after each, what can run runs (`settle()`). */
  async advance(ms: number): Promise<void> {
    const targetMs = this.#nowMs + ms
    await this.settle()
    for (let timer = this.#next(targetMs); timer !== undefined; timer = this.#next(targetMs)) {
      this.#timers.delete(timer)
      this.#nowMs = Math.max(this.#nowMs, timer.dueMs)
      timer.callback()
      await this.settle()
    }
    this.#nowMs = Math.max(this.#nowMs, targetMs)
  }

  /** Lets everything run that waits for nothing but its turn: promises, and file operations that are under way. */
  async settle(): Promise<void> {
    do await nextTurnOfTheLoop()
    while (filesAreBusy())
  }

  /** The earliest timer that is due by then; of those due together, the one that was set first. */
  #next(targetMs: number): Timer | undefined {
    let next: Timer | undefined
    for (const timer of this.#timers) {
      if (timer.dueMs <= targetMs && (next === undefined || timer.dueMs < next.dueMs)) next = timer
    }
    return next
  }
}
