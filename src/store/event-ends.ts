import { keepNewest } from '../newest.ts'

/** Sessions of which it is remembered. */
const MAX_SESSIONS = 1_000

/** Where a session's events end: its row, and the last number. */
export interface EventEnd {
  readonly session: number
  last: number
}

/** Where the events of the sessions end that were added to lately, so that it need not be asked each time. */
export class EventEnds {
  readonly #ends = new Map<string, EventEnd>()

  get(uid: string): EventEnd | undefined {
    return this.#ends.get(uid)
  }

  note(uid: string, end: EventEnd): void {
    this.#ends.set(uid, end)
    keepNewest(this.#ends, MAX_SESSIONS)
  }

  /** Something may be otherwise than remembered. */
  forget(): void {
    this.#ends.clear()
  }
}
