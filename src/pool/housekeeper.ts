import { repeatedly } from '../clock.ts'
import type { CancelTimer, Clock } from '../clock.ts'

/** A worker goes within a second of its time: half of that, so that a late timer does not matter. */
const ROUND_MS = 500

/** A part of the pool that is looked after now and then. What takes longer than a moment, it does by itself. */
export interface Tended {
  tend(): void
}

/** Looks after these parts in rounds, by one timer. */
export class Housekeeper {
  readonly stop: CancelTimer

  constructor(clock: Clock, parts: readonly Tended[]) {
    this.stop = repeatedly(
      clock,
      () => ROUND_MS,
      () => {
        for (const part of parts) part.tend()
      },
    )
  }
}
