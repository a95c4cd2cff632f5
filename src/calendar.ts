import type { Clock } from './clock.ts'

/**
 * Dates that stay right when the machine's clock is set while the host runs. They follow the wall clock or the time that has
 * passed since the start: the earlier of both to judge an age, the later of both to record a use.
 */
class Calendar {
  readonly #clock: Clock
  /** The wall clock's reading at uptime 0. */
  readonly #origin: number

  constructor(clock: Clock) {
    this.#clock = clock
    this.#origin = clock.wall() - this.#passed
  }

  /** Now, to judge how old something is: milliseconds since the epoch. */
  get earliest(): number {
    return Math.min(this.#clock.wall(), this.steady)
  }

  /** Now, to record that something is used: milliseconds since the epoch. */
  get latest(): number {
    return Math.max(this.#clock.wall(), this.steady)
  }

  /** Now, by the time that has passed: for what must last exactly so long. Milliseconds since the epoch, as the clock was at the start. */
  get steady(): number {
    // Clocks read fractions; a date is a whole number, in the store, too.
    return Math.round(this.#origin + this.#passed)
  }

  /** How far the clock was set forward since the start, in milliseconds. Negative: back. */
  get shift(): number {
    return this.#clock.wall() - this.steady
  }

  get #passed(): number {
    return this.#clock.uptime?.() ?? this.#clock.now()
  }
}

const calendars = new WeakMap<Clock, Calendar>()

/** The calendar of a clock. It starts at the first call. */
export function calendarOf(clock: Clock): Calendar {
  let calendar = calendars.get(clock)
  if (calendar === undefined) {
    calendar = new Calendar(clock)
    calendars.set(clock, calendar)
  }
  return calendar
}
