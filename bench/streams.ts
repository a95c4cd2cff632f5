/** Event streams of many readers: the pool's server beside a bare Hono route, and beside itself when a reader stalls. */
import { Host, closeAll, openAll, streamOf } from './shared/http-host.ts'
import { bench } from './shared/bench.ts'
import type { Bench } from './shared/bench.ts'
import { quantile } from './shared/report.ts'
import type { Round, Row } from './shared/report.ts'
import { StreamReader } from './shared/streams.ts'

const MIB = 2 ** 20
const IDLE_STREAMS = 1_000
const READERS = 200
/** The first streams load code, on both sides. */
const FIRST_STREAMS = 50
const IDLE_DATA = 'http-idle'
let idle: string[] | undefined

/** Streams of as many sessions, which are there from an earlier host. */
async function idlePaths(target: Bench): Promise<string[]> {
  if (idle !== undefined) return idle
  idle = []
  const host = await Host.start(target, 'pool', IDLE_DATA)
  while (idle.length < IDLE_STREAMS) idle.push(streamOf(await host.session()))
  await host.end()
  return idle
}

type Side = 'pool' | 'bare'

/** Measures both sides in each round, and begins with the other one each time: the machine changes meanwhile. */
async function bothSides(quick: boolean, measure: (side: Side) => Promise<number>): Promise<Round[]> {
  const rounds: Round[] = []
  for (let round = 0; round < roundsOf(quick); round += 1) {
    const measured = new Map<Side, number>()
    for (const side of inTurn<Side>(round, ['pool', 'bare'])) measured.set(side, await measure(side))
    rounds.push({ ours: [measured.get('pool') ?? Number.NaN], theirs: [measured.get('bare') ?? Number.NaN] })
  }
  return rounds
}

const roundsOf = (quick: boolean): number => (quick ? 1 : 5)

const inTurn = <T>(round: number, sides: readonly T[]): readonly T[] => (round % 2 === 0 ? sides : sides.toReversed())

/** MiB that a thousand idle streams cost a host. */
async function idleGrowth(target: Bench, side: Side): Promise<number> {
  const paths = side === 'bare' ? Array.from({ length: IDLE_STREAMS }, () => '/idle') : await idlePaths(target)
  // A host that has made all the sessions has room from that, in which streams would hide.
  const host = await Host.start(target, side, IDLE_DATA)
  closeAll(await openAll(host.url, paths.slice(0, FIRST_STREAMS)))
  const before = await host.tell({ do: 'memory' })
  const streams = await openAll(host.url, paths)
  const after = await host.tell({ do: 'memory' })
  closeAll(streams)
  await host.end()
  return (after - before) / MIB
}

async function idleStreams(target: Bench): Promise<Row> {
  return {
    what: '1,000 idle streams, growth of the host',
    rounds: await bothSides(target.quick, (side) => idleGrowth(target, side)),
    ours: '/v1 streams',
    theirs: 'bare Hono SSE',
    unit: 'MiB',
    compare: 'ours / theirs',
    reach: { atMost: 1.5 },
  }
}

const DELIVERY = { batch: 10, bytes: 200, everyMs: 5 }

/** Events per second of the host's CPU, to 200 streams that follow. */
async function deliveryRate(target: Bench, side: Side, count: number): Promise<number> {
  const host = await Host.start(target, side)
  const session = side === 'pool' ? await host.session() : ''
  const path = side === 'pool' ? streamOf(session) : '/stream'
  const streams = await openAll(
    host.url,
    Array.from({ length: READERS }, () => path),
  )
  const send = async (events: number): Promise<void> => {
    const all = streams.map((stream) => stream.received(stream.frames + events))
    await host.tell({ do: 'append', session, count: events, ...DELIVERY })
    await Promise.all(all)
  }
  await send(100)
  const before = await host.tell({ do: 'cpu' })
  await send(count)
  const seconds = (await host.tell({ do: 'cpu' })) - before
  closeAll(streams)
  await host.end()
  return (count * READERS) / seconds
}

async function delivery(target: Bench): Promise<Row> {
  const count = target.quick ? 500 : 1_500
  return {
    what: 'events to 200 streams, per second of CPU',
    rounds: await bothSides(target.quick, (side) => deliveryRate(target, side, count)),
    ours: 'journal, durable',
    theirs: 'bare Hono pull stream',
    unit: 'events/s',
    compare: 'theirs / ours',
    reach: { atMost: 1 / 0.6 },
  }
}

/** What the stalled reader could have read: far more than its socket holds. */
const HISTORY = { count: 600, batch: 20, bytes: 32 * 1024, everyMs: 0 }

/** How late events come to 200 readers (95th percentile, ms), and what the host grows by meanwhile (MiB). */
async function lateness(host: Host, stalls: boolean, events: number): Promise<{ p95: number; growth: number }> {
  const session = await host.session()
  await host.tell({ do: 'append', session, ...HISTORY })
  const streams = await Promise.all(
    Array.from({ length: READERS }, () => StreamReader.open(host.url + streamOf(session), { times: true })),
  )
  const send = async (count: number): Promise<void> => {
    const all = streams.map((stream) => stream.received(stream.frames + count))
    await host.tell({ do: 'append', session, count, batch: 1, bytes: 200, everyMs: 40 })
    await Promise.all(all)
  }
  await send(20)
  const before = await host.tell({ do: 'memory' })
  const stalled = stalls
    ? [await StreamReader.open(host.url + streamOf(session), { headers: { 'last-event-id': '1' }, reads: false })]
    : []
  for (const stream of streams) stream.takeTimes()
  await send(events)
  const times = streams.flatMap((stream) => stream.takeTimes())
  const growth = ((await host.tell({ do: 'memory' })) - before) / MIB
  closeAll([...streams, ...stalled])
  return { p95: quantile(times, 0.95), growth }
}

async function stalledReader(target: Bench): Promise<Row[]> {
  const late: Round[] = []
  const grown: Round[] = []
  const host = await Host.start(target, 'pool')
  const few = 25
  await lateness(host, true, few)
  for (let round = 0; round < roundsOf(target.quick); round += 1) {
    const measured = new Map<boolean, { p95: number; growth: number }>()
    for (const stalls of inTurn(round, [true, false]))
      measured.set(stalls, await lateness(host, stalls, target.quick ? few : 100))
    const [ours, theirs] = [measured.get(true), measured.get(false)]
    late.push({ ours: [ours?.p95 ?? Number.NaN], theirs: [theirs?.p95 ?? Number.NaN] })
    grown.push({ ours: [ours?.growth ?? Number.NaN], theirs: [theirs?.growth ?? Number.NaN] })
  }
  await host.end()
  const sides = { ours: 'one of 201 stalls', theirs: 'all 200 read' }
  return [
    {
      what: 'event to 200 readers, p95',
      rounds: late,
      ...sides,
      unit: 'ms',
      compare: 'ours / theirs',
      reach: { atMost: 1.25 },
    },
    {
      what: 'growth of the host',
      rounds: grown,
      ...sides,
      unit: 'MiB',
      compare: 'ours - theirs',
      reach: { atMost: 8 },
    },
  ]
}

await bench(async (target) => [await idleStreams(target), await delivery(target), ...(await stalledReader(target))])
