/** Turns per second over twelve conversations: kept processes, a process for each turn, and plain processes kept by hand. */
import { mkdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import type { Session } from '../src/index.ts'
import { bench, calm } from './shared/bench.ts'
import type { Bench } from './shared/bench.ts'
import { PlainConversation, oneTurnProcess, poolTurn, startPool } from './shared/conversation.ts'
import type { Round } from './shared/report.ts'

const CONVERSATIONS = 12
const LIVE_TURNS = 15
const RESUMED_TURNS = 1

/** Turns per second when each of `all` does `turns` turns, one after the other, at most `concurrent` of them at once. */
async function rate<T>(
  all: readonly T[],
  turns: number,
  turn: (conversation: T) => Promise<unknown>,
  concurrent: number = all.length,
): Promise<number> {
  const jobs = all.map((conversation) => async () => {
    for (let done = 0; done < turns; done += 1) await turn(conversation)
  })
  const since = performance.now()
  const drain = async (): Promise<void> => {
    for (let job = jobs.shift(); job !== undefined; job = jobs.shift()) await job()
  }
  await Promise.all(Array.from({ length: concurrent }, drain))
  return (all.length * turns * 1_000) / (performance.now() - since)
}

/** Begins a conversation whose process is gone when it resolves: its SDK id. */
async function begun(target: Bench, cwd: string): Promise<string> {
  const sessionId = crypto.randomUUID()
  await using conversation = new PlainConversation(target, cwd, { sessionId })
  await conversation.turn('hello')
  return sessionId
}

await bench(async (target) => {
  const { quick, owned, dir } = target
  const cwds = Array.from({ length: CONVERSATIONS }, (_, index) => join(dir, `throughput-${index}`))
  for (const cwd of cwds) mkdirSync(cwd)
  const pool = await startPool(target)
  const sessions: Session[] = []
  const plain: PlainConversation[] = []
  const resumable: { cwd: string; resume: string }[] = []
  for (const [index, cwd] of cwds.entries()) {
    const session = await pool.session(`throughput-${index}`, { agent: 'assistant' })
    await poolTurn(session, 'hello', 'cold')
    sessions.push(session)
    plain.push(owned.use(new PlainConversation(target, cwd)))
    await plain.at(-1)?.turn('hello')
    resumable.push({ cwd, resume: await begun(target, cwd) })
  }
  const oneTurn = ({ cwd, resume }: { cwd: string; resume: string }): Promise<void> =>
    oneTurnProcess(target, cwd, resume)
  const cores = availableParallelism()
  const sides = {
    pool: () => rate(sessions, LIVE_TURNS, (session) => poolTurn(session, 'ping', 'live')),
    live: () => rate(plain, LIVE_TURNS, (conversation) => conversation.turn('ping')),
    all: () => rate(resumable, RESUMED_TURNS, oneTurn),
    few: () => rate(resumable, RESUMED_TURNS, oneTurn, cores),
  }
  const order = ['pool', 'all', 'live', 'few'] as const
  const measured = { pool: [] as number[], live: [] as number[], all: [] as number[], few: [] as number[] }
  for (let round = -1; round < (quick ? 1 : 6); round += 1) {
    for (let turn = 0; turn < order.length; turn += 1) {
      const side = order[(turn + round + 1) % order.length] ?? 'pool'
      await calm()
      const turnsPerSecond = await sides[side]()
      if (round >= 0) measured[side].push(turnsPerSecond)
    }
  }
  const rounds = (theirs: readonly number[]): Round[] =>
    measured.pool.map((ours, round) => ({ ours: [ours], theirs: [theirs[round] ?? Number.NaN] }))
  const common = { ours: 'pool', unit: 'turns/s', compare: 'ours / theirs' } as const
  const reach = { atLeast: 9.5 }
  const what = `${CONVERSATIONS} conversations on ${cores} cores`
  return [
    // Of its two forms the better one is what there is to beat.
    { what, theirs: `a process per turn, ${cores} at a time`, rounds: rounds(measured.few), ...common, reach },
    { what, theirs: 'a process per turn, all at once', rounds: rounds(measured.all), ...common },
    { what, theirs: 'plain live processes', rounds: rounds(measured.live), ...common },
  ]
})
