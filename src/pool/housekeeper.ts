import type { CancelTimer, Clock } from '../clock.ts'

/** A worker goes within a second of its time: half of that, so that a late timer does not matter. */
const INTERVAL_MS = 500

/** The one timer of a pool: looks every half second at who should leave and what is missing. */
export class Housekeeper {
  readonly #clock: Clock
  readonly #tend: () => void
  #cancel: CancelTimer | undefined
  #stopped = false

  constructor(clock: Clock, tend: () => void) {
    this.#clock = clock
    this.#tend = tend
    this.#arm()
  }

  stop(): void {
    this.#stopped = true
    this.#cancel?.()
  }

  #arm(): void {
    if (this.#stopped) return
    this.#cancel = this.#clock.after(INTERVAL_MS, () => {
      this.#tend()
      this.#arm()
    })
  }
}
