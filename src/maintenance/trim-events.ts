import { calendarOf } from '../calendar.ts'
import type { Clock } from '../clock.ts'
import type { RetentionRule } from '../options/retention.ts'
import type { StoredSessions } from '../sessions/stored-sessions.ts'
import type { SessionRecord, Store, StoredEvent } from '../store/store.ts'

/** At most so many, and one page of bytes, are looked at for their age and size: more go at the next look. */
const EVENTS_AT_ONCE = 10_000

/** What bounds the events of one session. */
type EventRule = Pick<RetentionRule, 'maxEvents' | 'maxEventAgeMs' | 'maxEventSizeBytes'>

/** Removes the oldest events of sessions that stay. */
export class EventTrim {
  readonly #store: Store
  readonly #clock: Clock
  readonly #sessions: Pick<StoredSessions, 'trimEvents'>

  constructor(context: { store: Store; clock: Clock; sessions: Pick<StoredSessions, 'trimEvents'> }) {
    this.#store = context.store
    this.#clock = context.clock
    this.#sessions = context.sessions
  }

  /** Removes as many as any of these rules says, or only counts them in a dry run; how many. The last event stays. */
  async trim(session: SessionRecord, rules: readonly EventRule[], { dryRun }: { dryRun: boolean }): Promise<number> {
    const maxEvents = least(rules.map((rule) => rule.maxEvents))
    const maxAgeMs = least(rules.map((rule) => rule.maxEventAgeMs))
    const maxBytes = least(rules.map((rule) => rule.maxEventSizeBytes))
    if (least([maxEvents, maxAgeMs, maxBytes]) === Infinity) return 0
    const { uid } = session
    const { first, last, size } = await this.#store.eventTotals(uid)
    const since = calendarOf(this.#clock).earliest - maxAgeMs
    let before = Math.max(first, last - maxEvents + 1)
    if (size > maxBytes || maxAgeMs !== Infinity) {
      const oldest = await this.#store.readEvents(uid, { limit: EVENTS_AT_ONCE })
      before = Math.max(before, firstToStay(oldest, size, { since, maxBytes }))
    }
    before = Math.min(before, last)
    const trimmed = dryRun || before === first || (await this.#sessions.trimEvents(session, before))
    return trimmed ? before - first : 0
  }
}

/** The number of the first event that is not too old, and with all later ones not too large. */
function firstToStay(
  oldest: readonly StoredEvent[],
  size: number,
  { since, maxBytes }: { since: number; maxBytes: number },
): number {
  let left = size
  for (const { number, at, json } of oldest) {
    if (at >= since && left <= maxBytes) return number
    left -= Buffer.byteLength(json)
  }
  return (oldest.at(-1)?.number ?? 0) + 1
}

const least = (numbers: readonly number[]): number => Math.min(Infinity, ...numbers)
