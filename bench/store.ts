/** What the store takes to keep events and to give them back. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { onlyHost } from '../src/cluster/membership.ts'
import { systemClock } from '../src/clock.ts'
import { EventReader } from '../src/journal/event-reader.ts'
import { Journal } from '../src/journal/journal.ts'
import { Ownership } from '../src/sessions/ownership.ts'
import { newRecord } from '../src/sessions/session-record.ts'
import { SqliteStore } from '../src/store/sqlite.ts'
import type { SessionClaim, StoredEvent } from '../src/store/store.ts'
import { bench } from './shared/bench.ts'
import type { Round, Row } from './shared/report.ts'

const JSON_OF_EVENT = JSON.stringify({
  id: `sevt_${'0'.repeat(32)}`,
  type: 'agent.message',
  processed_at: '2026-01-01T00:00:00.000Z',
  content: [{ type: 'text', text: 'x'.repeat(400) }],
})

const eventOf = (number: number): StoredEvent => ({
  number,
  id: `sevt_${number}`.padEnd(37, '0'),
  type: 'agent.message',
  at: 0,
  json: JSON_OF_EVENT,
})

const quantile = (values: number[], share: number): number =>
  values.toSorted((a, b) => a - b)[Math.floor(share * (values.length - 1))] ?? Number.NaN

/** The first host of a store. */
const OWNER = '1'

/** Its claim of a session that it has made. */
const claimOf = (uid: string): SessionClaim => ({ uid, owner: OWNER, fence: 1 })

async function storeWith(path: string, sessions: number, events = 0): Promise<SqliteStore> {
  const store = new SqliteStore(path)
  await store.register('bench')
  const batch = Array.from({ length: events }, (_, index) => eventOf(index + 1))
  for (let from = 0; from < sessions; from += 1_000) {
    const writes: Promise<unknown>[] = []
    for (let index = from; index < Math.min(sessions, from + 1_000); index += 1) {
      const record = newRecord({ tenant: 'default', key: `k${index}`, agent: 'a', cwd: undefined }, index)
      writes.push(store.create({ ...record, uid: `uid ${index}` }, OWNER))
      if (events > 0) writes.push(store.appendEvents(claimOf(`uid ${index}`), batch))
    }
    await Promise.all(writes)
  }
  return store
}

/** The same insert by hand: the pool's own schema, one row, one commit. */
function byHand(path: string, synchronous: 'NORMAL' | 'FULL'): (number: number) => void {
  const database = new DatabaseSync(path)
  database.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = ${synchronous}`)
  const insert = database.prepare(
    'INSERT INTO events (session, number, event_id, type, at, json) VALUES (1, ?, ?, ?, ?, ?)',
  )
  return (number) => {
    const { id, type, at, json } = eventOf(number)
    insert.run(number, id, type, at, json)
  }
}

/** Microseconds of appending one event, in the store and by hand in turns. */
async function appends(quick: boolean, ours: (number: number) => Promise<void>, theirs: (number: number) => void) {
  const halves: Round[] = []
  const tails: Round[] = []
  let number = 0
  // The first round is for the compiler.
  for (let round = -1; round < (quick ? 4 : 20); round += 1) {
    const times: { ours: number[]; theirs: number[] } = { ours: [], theirs: [] }
    for (let index = 0; index < 500; index += 1) {
      number += 1
      for (const side of index % 2 === 0 ? (['theirs', 'ours'] as const) : (['ours', 'theirs'] as const)) {
        const since = performance.now()
        if (side === 'ours') await ours(number)
        else theirs(number)
        times[side].push((performance.now() - since) * 1_000)
      }
    }
    if (round < 0) continue
    halves.push({ ours: [quantile(times.ours, 0.5)], theirs: [quantile(times.theirs, 0.5)] })
    tails.push({ ours: [quantile(times.ours, 0.99)], theirs: [quantile(times.theirs, 0.99)] })
  }
  return { halves, tails, number }
}

await bench(async ({ dir, quick, owned }) => {
  const folder = join(dir, 'store')
  mkdirSync(folder)
  const rows: Row[] = []
  const own = (store: SqliteStore): SqliteStore => {
    owned.defer(() => store.close())
    return store
  }

  const store = own(await storeWith(join(folder, 'ours.sqlite'), 50))
  const hand = async (name: string, synchronous: 'NORMAL' | 'FULL') => {
    await (await storeWith(join(folder, name), 1)).close()
    return byHand(join(folder, name), synchronous)
  }
  const sides = { ours: 'store', unit: 'µs', compare: 'ours / theirs' } as const
  const keep = (uid: string) => (number: number) => store.appendEvents(claimOf(uid), [eventOf(number)])
  const kept = await appends(quick, keep('uid 0'), await hand('normal.sqlite', 'NORMAL'))
  const keptSides = { ...sides, reach: { atMost: 1.3 }, theirs: '`node:sqlite` by hand, `synchronous = NORMAL`' }
  rows.push({ what: 'append of one event, p50', rounds: kept.halves, ...keptSides })
  rows.push({ what: 'append of one event, p99', rounds: kept.tails, ...keptSides })
  const insert = await hand('full.sqlite', 'FULL')
  const flushed = async (number: number) => {
    await keep('uid 1')(number)
    await store.flush()
  }
  const durable = await appends(quick, flushed, insert)
  const flushedSides = { ...sides, theirs: '`node:sqlite` by hand, `synchronous = FULL`' }
  rows.push({ what: 'append of one event and flush, p50', rounds: durable.halves, ...flushedSides })
  rows.push({ what: 'append of one event and flush, p99', rounds: durable.tails, ...flushedSides })

  const rates: Round[] = []
  const last = new Map<string, number>([
    ['uid 0', kept.number],
    ['uid 1', durable.number],
  ])
  let { number } = durable
  for (let round = 0; round < (quick ? 2 : 10); round += 1) {
    const each = 100
    const since = performance.now()
    await Promise.all(
      Array.from({ length: 50 }, async (_, index) => {
        const uid = `uid ${index}`
        const from = last.get(uid) ?? 0
        for (let n = 1; n <= each; n += 1) {
          await store.appendEvents(claimOf(uid), [eventOf(from + n)])
          await store.flush()
        }
        last.set(uid, from + each)
      }),
    )
    const ours = (50 * each * 1_000) / (performance.now() - since)
    const rawSince = performance.now()
    for (let n = 0; n < 500; n += 1) insert((number += 1))
    rates.push({ ours: [ours], theirs: [(500 * 1_000) / (performance.now() - rawSince)] })
  }
  rows.push({
    what: 'events appended and flushed per second, 50 sessions at once',
    ours: 'store',
    theirs: '`node:sqlite` by hand, `synchronous = FULL`',
    unit: 'events/s',
    compare: 'ours',
    rounds: rates,
    reach: { atLeast: 10_000 },
  })

  const full = own(await storeWith(join(folder, 'replay.sqlite'), 1, 10_000))
  const replays: Round[] = []
  for (let round = 0; round < (quick ? 3 : 15); round += 1) {
    const ownership = new Ownership('uid 0', { store: full, member: onlyHost(OWNER) }, { isStored: true })
    const journal = new Journal('uid 0', { store: full, ownership, clock: systemClock, onIdle: () => undefined })
    const source = { open: async () => ({ journal, release: () => undefined }) }
    const since = performance.now()
    let read = 0
    for await (const { number: seen } of new EventReader(source, { follow: false })) read = seen ?? read
    const ours = performance.now() - since
    if (read !== 10_000) throw new Error(`the reader saw ${read} events`)
    const rawSince = performance.now()
    await full.readEvents('uid 0', { limit: 10_000 })
    replays.push({ ours: [ours], theirs: [performance.now() - rawSince] })
  }
  rows.push({
    what: 'replay of 10,000 events',
    ours: 'session.events()',
    theirs: 'one query, not parsed',
    unit: 'ms',
    compare: 'ours',
    rounds: replays,
    reach: { atMost: 150 },
  })

  const sessions = quick ? 2_000 : 100_000
  const path = join(folder, 'large.sqlite')
  await (await storeWith(path, sessions, 10)).close()
  await (await storeWith(join(folder, 'small.sqlite'), 1)).close()
  const openings: Round[] = []
  for (let round = 0; round < 10; round += 1) {
    const opening = async (file: string): Promise<number> => {
      const since = performance.now()
      const opened = new SqliteStore(file)
      await opened.adopt(await opened.register('bench'), 100)
      const ms = performance.now() - since
      await opened.close()
      return ms
    }
    openings.push({ ours: [await opening(path)], theirs: [await opening(join(folder, 'small.sqlite'))] })
  }
  rows.push({
    what: `opening ${sessions.toLocaleString('en')} sessions with ${(sessions * 10).toLocaleString('en')} events`,
    ours: 'full',
    theirs: 'empty',
    unit: 'ms',
    compare: 'ours',
    rounds: openings,
    reach: { atMost: 100 },
  })
  return rows
})
