/** The first message of a new conversation: a process started for it, a spare bound ahead, a spare claimed for a cwd. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Pool, Warmth } from '../src/index.ts'
import { bench, calm } from './shared/bench.ts'
import type { Bench } from './shared/bench.ts'
import { PlainConversation, poolTurn, startPool } from './shared/conversation.ts'
import type { Round, Row } from './shared/report.ts'

const one = { min: 1, max: 1 }

async function cold(target: Bench, cwd: string): Promise<number> {
  const since = performance.now()
  await using conversation = new PlainConversation(target, cwd)
  return (await conversation.turn('hello', since)).first
}

/** What a caller of the plain SDK can do by hand: a process for this conversation, started before it is needed. */
function startAhead(target: Bench, cwd: string): PlainConversation {
  return new PlainConversation(target, cwd, { sessionId: crypto.randomUUID() })
}

async function pooled(pool: Pool, key: string, warmth: Warmth, cwd?: string): Promise<number> {
  const since = performance.now()
  const session = await pool.session(key, { agent: 'assistant', ...(cwd === undefined ? {} : { cwd }) })
  const { first } = await poolTurn(session, 'hello', warmth, since)
  await session.delete()
  return first
}

/** Resolves when both spares wait and nothing starts or works any more. */
async function settled(pool: Pool): Promise<void> {
  for (;;) {
    await calm()
    const { workers, starts } = pool.stats()
    if (workers.spares === 2 && workers.starting === 0 && starts.waiting === 0) return
  }
}

await bench(async (target) => {
  const pool = await startPool(target, { agent: { spares: one, unboundSpares: one } })
  const bound: Round[] = []
  const claimed: Round[] = []
  const byHand: Round[] = []
  const rounds = target.quick ? 4 : 25
  for (let round = -1; round < rounds; round += 1) {
    const cwd = (side: string): string => {
      const path = join(target.dir, `spares-${side}-${round}`)
      mkdirSync(path)
      return path
    }
    const times = { theirs: 0, bound: 0, claimed: 0, ahead: 0 }
    // It waits through the others' turns, as a spare does: an idle process is slower to its first message than a new one.
    await using started = startAhead(target, cwd('ahead'))
    await started.ready
    const sides = {
      theirs: () => cold(target, cwd('cold')),
      bound: () => pooled(pool, `bound-${round}`, 'spare'),
      claimed: () => pooled(pool, `claimed-${round}`, 'spare', cwd('claimed')),
      ahead: async () => (await started.turn('hello')).first,
    }
    const order = ['theirs', 'bound', 'ahead', 'claimed'] as const
    for (let turn = 0; turn < order.length; turn += 1) {
      const side = order[(turn + round + 1) % order.length] ?? 'theirs'
      await settled(pool)
      times[side] = await sides[side]()
    }
    // The first round makes config dirs and fills caches, on both sides.
    if (round < 0) continue
    bound.push({ ours: [times.bound], theirs: [times.theirs] })
    claimed.push({ ours: [times.claimed], theirs: [times.theirs] })
    byHand.push({ ours: [times.bound], theirs: [times.ahead] })
  }
  const what = 'first message of a new conversation'
  const common = { theirs: 'cold query()', unit: 'ms', compare: 'theirs / ours' } as const
  const rows: Row[] = [
    { what, ours: 'bound spare', rounds: bound, ...common, reach: { atLeast: 3.5 } },
    { what: `${what}, caller's cwd`, ours: 'claimed spare', rounds: claimed, ...common, reach: { atLeast: 2 } },
    {
      what,
      ours: 'bound spare',
      theirs: 'started ahead by hand',
      rounds: byHand,
      unit: 'ms',
      compare: 'ours / theirs',
    },
  ]
  return rows
})
