/**
 * Idle conversations that are frozen: what stays in memory, and how soon the first message after a pause is answered, against a cold
 * resume in the same run. Needs root, swap and cgroups; without, it says so and measures nothing.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Pool, Session, WorkerDetails } from '../src/index.ts'
import { HostCgroup } from '../src/process/cgroup.ts'
import { swapSpace } from '../src/process/cgroup-memory.ts'
import { bench, calm } from './shared/bench.ts'
import { PlainConversation, poolTurn, startPool } from './shared/conversation.ts'
import type { Round, Row } from './shared/report.ts'

const MIB = 2 ** 20
const TURNS_BEFORE = 3
const PAGED_OUT_MS = 10_000
/** After a turn its memory is read within this time. */
const COUNTED_MS = 1_000

/** Why nothing can be frozen here; undefined: it can. */
function obstacle(): string | undefined {
  if (swapSpace().totalBytes === 0) return 'there is no swap'
  const host = HostCgroup.make({ wanted: ['memory'] })
  host?.remove()
  return host?.facts.controllers.includes('memory') === true ? undefined : 'no cgroup counts the memory of a worker'
}

const workerOf = (pool: Pool, key: string): WorkerDetails | undefined =>
  pool.workers().find(({ session }) => session === key)

/** Waits until the worker of a session is frozen and paged out. What it has in memory then, in bytes. */
async function frozen(pool: Pool, key: string): Promise<number> {
  while (workerOf(pool, key)?.state !== 'frozen') await sleep(100)
  await sleep(PAGED_OUT_MS)
  return workerOf(pool, key)?.memoryBytes ?? 0
}

await bench(async (target) => {
  const why = obstacle()
  if (why !== undefined) {
    console.log(`skipped: ${why}\n`)
    return []
  }
  const pool = await startPool(target, { residency: { freeze: 'auto', freezeAfter: '3s' } })
  const cwd = join(target.dir, 'density')
  mkdirSync(cwd)
  const sessionId = crypto.randomUUID()
  {
    await using plain = new PlainConversation(target, cwd, { sessionId })
    for (let turn = 0; turn < TURNS_BEFORE; turn += 1) await plain.turn('hello')
  }
  const session: Session = await pool.session('density', { agent: 'assistant' })
  for (let turn = 0; turn < TURNS_BEFORE; turn += 1) await poolTurn(session, 'hello', turn === 0 ? 'cold' : 'live')
  const resumed = async (): Promise<number> => {
    const since = performance.now()
    await using plain = new PlainConversation(target, cwd, { resume: sessionId })
    return (await plain.turn('ping', since)).first
  }
  const wakes: Round[] = []
  const memory: Round[] = []
  for (let round = 0; round < (target.quick ? 4 : 10); round += 1) {
    const resident = await frozen(pool, 'density')
    await calm()
    const { first } = await poolTurn(session, 'ping', 'thawed')
    // Before it is frozen again.
    await sleep(COUNTED_MS)
    const live = workerOf(pool, 'density')?.memoryBytes ?? 0
    await calm()
    wakes.push({ ours: [first], theirs: [await resumed()] })
    memory.push({ ours: [resident / MIB], theirs: [live / MIB] })
  }
  const rows: Row[] = [
    {
      what: 'first message after a pause',
      ours: 'thawed',
      theirs: 'cold resume',
      unit: 'ms',
      rounds: wakes,
      compare: 'theirs / ours',
      reach: { atLeast: 3.5 },
    },
    {
      what: `private memory of an idle worker, ${PAGED_OUT_MS / 1_000} s after it was frozen`,
      ours: 'frozen',
      theirs: 'live',
      unit: 'MiB',
      rounds: memory,
      compare: 'ours / theirs',
      reach: { atMost: 0.3 },
    },
  ]
  return rows
})
