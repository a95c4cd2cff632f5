import type { JournalEntry, NumberedEvent, Pool, Session, SessionEvents } from '../../index.ts'
import type { ShownEvent } from './wire.ts'

/** Of one session at first, and for each look further back. */
const EVENTS_SHOWN = 100

/** So many are sent at once. */
const MOST_AT_ONCE = 100

/** Longer texts are cut: a tool's result may have megabytes. */
const LONGEST_TEXT = 8_000

const MOST_ITEMS = 100

/** An event as the page shows it: with its long texts cut. */
export const shownEvent = ({ number, event }: { number?: number | undefined; event: object }): ShownEvent => ({
  ...(number === undefined ? {} : { number }),
  event: shortened(event) as ShownEvent['event'],
})

function shortened(value: unknown): unknown {
  if (typeof value === 'string')
    return value.length <= LONGEST_TEXT
      ? value
      : `${value.slice(0, LONGEST_TEXT)}… (${value.length - LONGEST_TEXT} more characters)`
  if (Array.isArray(value)) {
    const items = value.slice(0, MOST_ITEMS).map(shortened)
    return value.length > MOST_ITEMS ? [...items, `… (${value.length - MOST_ITEMS} more)`] : items
  }
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).slice(0, MOST_ITEMS)
  return Object.fromEntries(entries.map(([key, item]) => [key, shortened(item)]))
}

/** The newest events of a session before this number, oldest first. Rejects as `session.history()` does. */
export async function eventsBefore(session: Session, before?: number): Promise<NumberedEvent[]> {
  const range = { descending: true, limit: EVENTS_SHOWN, ...(before === undefined ? {} : { before }) }
  return (await session.history(range)).toReversed()
}

/** The events of the session that a page shows. What its reader has not taken stays where it is: one event is held at most. */
export class WatchedSession {
  readonly tenant: string
  readonly key: string
  readonly #wake: () => void
  #events: SessionEvents | undefined
  #held: JournalEntry[] = []
  #asking = false
  #left = false
  problem: string | undefined

  /** `wake` is called when there is something to take. */
  constructor({ tenant, key }: { tenant: string; key: string }, wake: () => void) {
    this.tenant = tenant
    this.key = key
    this.#wake = wake
  }

  /** Begins with the newest events, and follows. What goes wrong becomes `problem`. */
  async follow(pool: Pool): Promise<void> {
    try {
      const session = await pool.session(this.key, { tenant: this.tenant })
      const newest = await eventsBefore(session)
      this.#held.push(...newest)
      if (this.#left) return
      this.#events = session.events({ after: newest.at(-1)?.number ?? 0, previews: true })
      this.#ask(this.#events)
    } catch (error) {
      this.problem = (error as Error).message
    }
    this.#wake()
  }

  /** What has come since the last time. From then on it waits for more. */
  take(): ShownEvent[] {
    const taken = this.#held
    this.#held = []
    const events = this.#events
    if (events === undefined || this.#asking) return taken.map(shownEvent)
    while (taken.length < MOST_AT_ONCE) {
      const next = events.tryNext()
      if (next === undefined) break
      taken.push(next)
    }
    this.#ask(events)
    return taken.map(shownEvent)
  }

  leave(): void {
    this.#left = true
    void this.#events?.return?.()
  }

  /** Waits for one event, and for no other before that is taken. */
  #ask(events: SessionEvents): void {
    this.#asking = true
    events.next().then(
      ({ done, value }) => {
        this.#asking = false
        if (done === true || this.#left) return
        this.#held.push(value)
        this.#wake()
      },
      (error: Error) => {
        // It stays true: nothing follows.
        this.problem = error.message
        this.#wake()
      },
    )
  }
}
