import { StoreError } from '../../errors.ts'
import type { SessionClaim, StoredEvent } from '../store.ts'
import { notThere } from './claims.ts'
import type { Claims } from './claims.ts'
import type { Connections } from './connections.ts'
import { isRefusal, StatementError } from './statement-error.ts'
import { escape } from './text.ts'

/** What one statement takes at most: of sessions, and of JSON. One append may be larger. */
const MOST_APPENDS = 200
const MOST_CHARACTERS = 4 * 2 ** 20

/**
 * Adds the events of any number of sessions of one host, and returns the sessions that took them. A session takes its events if the
 * claim is valid, they leave no gap after its last number, and those whose number is taken have the id of the event that has it.
 */
const APPEND = `
WITH w AS (
  SELECT * FROM unnest($2::int[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::boolean[])
    AS w (item, uid, fence, low, high, open_turn)),
e AS (
  SELECT * FROM unnest($8::int[], $9::bigint[], $10::text[], $11::text[], $12::bigint[], $13::text[])
    AS e (item, number, event_id, type, at, json)),
own AS (
  SELECT w.item, s.id, s.last_number, w.high, w.open_turn FROM w JOIN pool.sessions s ON s.uid = w.uid
  WHERE s.owner = $1 AND s.fence = w.fence AND s.last_number >= w.low
  ORDER BY s.id FOR UPDATE OF s),
bad AS (
  SELECT own.item FROM own JOIN e ON e.item = own.item AND e.number <= own.last_number
  LEFT JOIN pool.events x ON x.session = own.id AND x.number = e.number AND x.event_id = e.event_id
  WHERE x.number IS NULL),
good AS (SELECT * FROM own WHERE item NOT IN (SELECT item FROM bad)),
changed AS (
  UPDATE pool.events x SET type = e.type, at = e.at, json = e.json FROM good JOIN e ON e.item = good.item
  WHERE x.session = good.id AND x.number = e.number AND e.number <= good.last_number),
added AS (
  INSERT INTO pool.events (session, number, event_id, type, at, json)
  SELECT good.id, e.number, e.event_id, e.type, e.at, e.json FROM good JOIN e ON e.item = good.item
  WHERE e.number > good.last_number)
UPDATE pool.sessions s
SET last_number = greatest(s.last_number, good.high), open_turn = coalesce(good.open_turn, s.open_turn)
FROM good WHERE s.id = good.id RETURNING good.item`

/** The same where all events are new, and follow the last one that this host knows: the usual case, at half the cost. */
const APPEND_NEW = `
WITH w AS (
  SELECT * FROM unnest($2::int[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::boolean[])
    AS w (item, uid, fence, low, high, open_turn)),
own AS (
  UPDATE pool.sessions s SET last_number = w.high, open_turn = coalesce(w.open_turn, s.open_turn) FROM w
  WHERE s.uid = w.uid AND s.owner = $1 AND s.fence = w.fence AND s.last_number = w.low
  RETURNING w.item, s.id),
added AS (
  INSERT INTO pool.events (session, number, event_id, type, at, json)
  SELECT own.id, e.number, e.event_id, e.type, e.at, e.json
  FROM unnest($8::int[], $9::bigint[], $10::text[], $11::text[], $12::bigint[], $13::text[])
    AS e (item, number, event_id, type, at, json)
  JOIN own ON own.item = e.item)
SELECT item FROM own`

interface Append {
  claim: SessionClaim
  /** One for each number, as it was given last. */
  events: readonly StoredEvent[]
  /** The lowest last number of the session after which these events leave no gap. */
  low: number
  openTurn: boolean | null
  done: () => void
  failed: (error: unknown) => void
}

/** Each number once, in the order of the first; undefined if two events have one number. */
function oneEach(events: readonly StoredEvent[]): StoredEvent[] | undefined {
  const byNumber = new Map<number, StoredEvent>()
  for (const event of events) {
    const before = byNumber.get(event.number)
    if (before !== undefined && before.id !== event.id) return undefined
    byNumber.set(event.number, event)
  }
  return [...byNumber.values()]
}

const highest = (events: readonly StoredEvent[]): number =>
  events.reduce((high, { number }) => Math.max(high, number), 0)

function lowestLast(events: readonly StoredEvent[]): number {
  const [first] = events
  if (first === undefined) return 0
  let low = first.number - 1
  let next = first.number
  for (const { number } of events) {
    if (number > next) low = number - 1
    next = Math.max(next, number + 1)
  }
  return low
}

/** The one writer of a host: while a statement is on its way, what comes gathers for the next. */
export class Appends {
  readonly #connections: Connections
  readonly #claims: Claims
  readonly #waiting: Append[] = []
  #writing = false

  constructor(connections: Connections, claims: Claims) {
    this.#connections = connections
    this.#claims = claims
  }

  /** Rejects with FencedError and StoreError: then nothing was added. At most one at a time for a session. */
  append(claim: SessionClaim, given: readonly StoredEvent[], turn: 'open' | 'closed' | undefined): Promise<void> {
    const events = oneEach(given)
    return new Promise((done, failed) => {
      const openTurn = turn === undefined ? null : turn === 'open'
      // Two events with one number fit after no last number.
      const low = events === undefined ? Number.MAX_SAFE_INTEGER : lowestLast(given)
      this.#waiting.push({ claim, events: events ?? [], low, openTurn, done, failed })
      if (!this.#writing) void this.#writeAll()
    })
  }

  async #writeAll(): Promise<void> {
    this.#writing = true
    // What is added in one round of the event loop goes together.
    await Promise.resolve()
    while (this.#waiting.length > 0) await this.#write(this.#take())
    this.#writing = false
  }

  /** One append of a session at most, and of one owner: a host that has come back is another one. */
  #take(): Append[] {
    const [first] = this.#waiting
    let characters = 0
    let count = 0
    for (const { events, claim } of this.#waiting) {
      if (claim.owner !== first?.claim.owner) break
      for (const { json } of events) characters += json.length
      if (count === MOST_APPENDS || (count > 0 && characters > MOST_CHARACTERS)) break
      count += 1
    }
    return this.#waiting.splice(0, count)
  }

  async #write(group: readonly Append[]): Promise<void> {
    try {
      const added = await this.#persist(group)
      for (const [index, append] of group.entries()) if (added.has(index)) append.done()
      const refused = group.filter((_append, index) => !added.has(index))
      await Promise.all(refused.map((append) => this.#refuse(append)))
    } catch (error) {
      // The database has refused all for what one of them has. While it is away, each would wait as long as all have.
      if (group.length > 1 && isRefusal(error as Error)) for (const append of group) await this.#write([append])
      else for (const { failed } of group) failed(error)
    }
  }

  /** Which of them were added. Repeating finds what has arrived: its events have their numbers and ids already. */
  async #persist(group: readonly Append[]): Promise<Set<number>> {
    let areNew = group.every((append) => this.#isNew(append))
    const attempt = async (): Promise<Set<number>> => {
      const statement = areNew ? { name: 'append new', text: APPEND_NEW } : { name: 'append', text: APPEND }
      const wereNew = areNew
      areNew = false
      const rows = await this.#connections.once<{ item: number }>({ ...statement, values: this.#valuesOf(group) })
      const added = new Set(rows.map(({ item }) => item))
      if (!wereNew || added.size === group.length) return added
      // The others are looked at one by one: each says why.
      const others = [...group.keys()].filter((item) => !added.has(item))
      const late = await Promise.all(others.map((item) => this.#persistOne(group[item] as Append, item)))
      return new Set([...added, ...late.flat()])
    }
    const recover = (): Promise<void> => this.#claims.raise(group.map(({ claim }) => claim))
    const added = await this.#connections.persist(attempt, { recover })
    for (const item of added) {
      const { claim, events } = group[item] as Append
      this.#claims.recordLast(claim, highest(events))
    }
    return added
  }

  async #persistOne(append: Append, item: number): Promise<number[]> {
    const values = this.#valuesOf([append])
    const rows = await this.#connections.once<{ item: number }>({ name: 'append', text: APPEND, values })
    return rows.length > 0 ? [item] : []
  }

  /** True if the events follow the last one that this host knows, one by one. */
  #isNew({ claim, events }: Append): boolean {
    const next = this.#claims.lastOf(claim) + 1
    return next > 0 && events.length > 0 && events.every(({ number }, index) => number === next + index)
  }

  #valuesOf(group: readonly Append[]): unknown[] {
    const events = group.flatMap((append, item) => append.events.map((event) => ({ item, ...event })))
    return [
      Number(group[0]?.claim.owner),
      group.map((_append, item) => item),
      group.map(({ claim }) => claim.uid),
      group.map(({ claim }) => this.#claims.fenceOf(claim)),
      group.map(({ low }) => low),
      group.map((append) => highest(append.events)),
      group.map(({ openTurn }) => openTurn),
      events.map(({ item }) => item),
      events.map(({ number }) => number),
      events.map(({ id }) => escape(id)),
      events.map(({ type }) => escape(type)),
      events.map(({ at }) => at),
      events.map(({ json }) => json),
    ]
  }

  /** Says why the session did not take the events. */
  async #refuse({ claim, events, failed }: Append): Promise<void> {
    const { uid } = claim
    try {
      const [uidValue, owner, fence] = this.#claims.valuesOf(claim)
      const text = `SELECT owner = $2 AND fence = $3 AS owned, last_number AS last FROM pool.sessions WHERE uid = $1`
      const values = [uidValue, owner, fence]
      const [row] = await this.#connections.read<{ owned: boolean | null; last: number }>({ text, values })
      if (row === undefined) throw notThere(uid)
      if (row.owned !== true) throw (await this.#claims.refusal(uid)) ?? notThere(uid)
      throw new StoreError(`session ${uid}: ${whyBad(events, row.last)}`)
    } catch (error) {
      failed(error instanceof StatementError ? error.toStoreError(this.#connections.place) : error)
    }
  }
}

function whyBad(events: readonly StoredEvent[], last: number): string {
  let next = last + 1
  for (const { number } of events) {
    if (number > next) return `event ${number} would leave a gap after ${next - 1}`
    next = Math.max(next, number + 1)
  }
  return `an event up to number ${last} is taken by another; does a second host write this session?`
}
