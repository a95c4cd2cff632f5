/** The pool's own work for one turn, without a process: does it grow with the number of sessions it knows? */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { systemClock } from '../src/clock.ts'
import type { Pool, Session } from '../src/index.ts'
import { SqliteStore } from '../src/store/sqlite.ts'
import { FakeDriver } from '../src/testing/driver.ts'
import { bench } from './shared/bench.ts'
import type { Bench } from './shared/bench.ts'
import { startPool } from './shared/conversation.ts'
import type { Round } from './shared/report.ts'

const FEW = 100
const MANY = 100_000
const LIVE = 20

interface Side {
  pool: Pool
  driver: FakeDriver
  live: Session[]
  known: number
}

const keyOf = (index: number): string => `conversation-${index}`

/** A pool whose store knows this many sessions, some of which are live. */
async function known(target: Bench, count: number): Promise<Side> {
  const dataDir = join(target.dir, `scale-${count}`)
  mkdirSync(dataDir)
  const driver = new FakeDriver(systemClock)
  const store = new SqliteStore(join(dataDir, 'pool.sqlite'))
  const dead = await store.register('bench')
  for (let index = 0; index < count; index += 1) {
    const record = {
      tenant: 'default',
      key: keyOf(index),
      uid: `uid-${index}`,
      agent: 'assistant',
      cwd: target.dir,
      ownsCwd: false,
      sdkSessionId: `sdk-${index}`,
      begun: true,
      usage: undefined,
      turns: 3,
      createdAt: index,
      lastUsedAt: index,
    }
    const claim = await store.create(record, dead)
    if (claim !== undefined) await store.release(claim)
    driver.conversations.set(`sdk-${index}`, { turns: 3, prompts: [] })
  }
  const pool = await startPool(target, { dataDir, store, driver, limits: { memory: '64GiB' } })
  const live: Session[] = []
  for (let index = 0; index < LIVE; index += 1) live.push(await pool.session(`live-${index}`, { agent: 'assistant' }))
  return { pool, driver, live, known: count }
}

/** Microseconds for each turn of a batch. */
async function batch(turns: number, turn: (index: number) => Promise<unknown>): Promise<number> {
  const since = performance.now()
  for (let index = 0; index < turns; index += 1) await turn(index)
  return ((performance.now() - since) * 1_000) / turns
}

const liveTurns = ({ live }: Side, turns: number): Promise<number> =>
  batch(turns, (index) => (live[index % LIVE] as Session).send('ping').result)

/** A hibernated session comes back for a turn: found in the store, started, used, ended. */
function returningTurns({ pool, driver, known: count }: Side, turns: number, from: number): Promise<number> {
  return batch(turns, async (index) => {
    // A prime step, so that neighbours in the store do not follow each other.
    const session = await pool.session(keyOf(((from + index) * 7_919) % count))
    await session.send('ping').result
    await session.hibernate()
    driver.processes.length = 0
  })
}

await bench(async (target) => {
  const few = await known(target, FEW)
  const many = await known(target, MANY)
  const { quick } = target
  const [liveBatch, returningBatch] = quick ? [200, 20] : [500, 50]
  const live: Round[] = []
  const returning: Round[] = []
  for (let round = -2; round < (quick ? 5 : 40); round += 1) {
    const order = round % 2 === 0 ? [many, few] : [few, many]
    const turned = new Map<Side, { live: number; returning: number }>()
    for (const side of order) {
      turned.set(side, {
        live: await liveTurns(side, liveBatch),
        returning: await returningTurns(side, returningBatch, (round + 2) * returningBatch),
      })
    }
    if (round < 0) continue
    const [ours, theirs] = [turned.get(many), turned.get(few)]
    live.push({ ours: [ours?.live ?? Number.NaN], theirs: [theirs?.live ?? Number.NaN] })
    returning.push({ ours: [ours?.returning ?? Number.NaN], theirs: [theirs?.returning ?? Number.NaN] })
  }
  const common = {
    ours: `${MANY} known`,
    theirs: `${FEW} known`,
    unit: 'µs',
    compare: 'ours / theirs',
    reach: { atMost: 1.5 },
  } as const
  return [
    { what: "the pool's own work, live turn", rounds: live, ...common },
    { what: "the pool's own work, turn after hibernation", rounds: returning, ...common },
  ]
})
