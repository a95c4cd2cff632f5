/** A live conversation while eight workers start: with the launcher's bound, and with all of them at once. */
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import type { Pool, Session } from '../src/index.ts'
import { bench, calm } from './shared/bench.ts'
import type { Bench } from './shared/bench.ts'
import { poolTurn, startPool } from './shared/conversation.ts'
import type { Round } from './shared/report.ts'

const STARTS = 8
const QUIET_TURNS = 20

interface Side {
  pool: Pool
  live: Session
}

async function side(target: Bench, name: string, concurrent: number): Promise<Side> {
  const pool = await startPool(target, {
    dataDir: join(target.dir, name),
    starts: { concurrent },
    residency: { maxTurnsPerWorker: 1_000_000 },
  })
  const live = await pool.session('live', { agent: 'assistant' })
  for (let turn = 0; turn < 10; turn += 1) await poolTurn(live, 'hello', turn === 0 ? 'cold' : 'live')
  return { pool, live }
}

/** Times of turns of the live conversation until all the others are there. */
async function whileStarting({ pool, live }: Side, round: number): Promise<number[]> {
  const others: Session[] = []
  for (let index = 0; index < STARTS; index += 1)
    others.push(await pool.session(`other-${round}-${index}`, { agent: 'assistant' }))
  await calm()
  let starting = true
  const started = Promise.all(others.map((session) => session.warm())).then(() => {
    starting = false
  })
  const times: number[] = []
  while (starting) times.push((await poolTurn(live, 'ping', 'live')).result)
  await started
  for (const session of others) await session.delete()
  return times
}

await bench(async (target) => {
  const bounded = await side(target, 'bounded', availableParallelism())
  const unbounded = await side(target, 'unbounded', STARTS)
  const rounds: Round[] = []
  const quiet: Round[] = []
  for (let round = 0; round < (target.quick ? 2 : 8); round += 1) {
    const first = round % 2 === 0
    const before = first ? await whileStarting(bounded, round) : undefined
    const theirs = await whileStarting(unbounded, round)
    const ours = before ?? (await whileStarting(bounded, round))
    rounds.push({ ours, theirs })
    await calm()
    const undisturbed: number[] = []
    for (let turn = 0; turn < QUIET_TURNS; turn += 1)
      undisturbed.push((await poolTurn(bounded.live, 'ping', 'live')).result)
    quiet.push({ ours, theirs: undisturbed })
  }
  const what = `live turn while ${STARTS} workers start`
  const ours = `${availableParallelism()} at a time`
  return [
    { what, ours, theirs: 'all at once', unit: 'ms', rounds, compare: 'ours / theirs', reach: { atMost: 0.5 } },
    { what, ours, theirs: 'nothing starts', unit: 'ms', rounds: quiet, compare: 'ours / theirs' },
  ]
})
