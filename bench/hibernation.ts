/** The first message to a conversation whose process has left. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { bench, calm } from './shared/bench.ts'
import type { Bench } from './shared/bench.ts'
import { PlainConversation, poolTurn, startPool } from './shared/conversation.ts'
import type { Round } from './shared/report.ts'

const TURNS_BEFORE = 3

/** A conversation of the plain SDK with a few turns behind it, whose process is gone: its id. */
async function begun(target: Bench, cwd: string): Promise<string> {
  const sessionId = crypto.randomUUID()
  await using conversation = new PlainConversation(target, cwd, { sessionId })
  for (let turn = 0; turn < TURNS_BEFORE; turn += 1) await conversation.turn('hello')
  return sessionId
}

await bench(async (target) => {
  const pool = await startPool(target)
  const cwd = join(target.dir, 'hibernation')
  mkdirSync(cwd)
  const resume = await begun(target, cwd)
  const session = await pool.session('hibernation', { agent: 'assistant' })
  for (let turn = 0; turn < TURNS_BEFORE; turn += 1) await poolTurn(session, 'hello', turn === 0 ? 'cold' : 'live')

  const sides = {
    async theirs() {
      await calm()
      const since = performance.now()
      await using conversation = new PlainConversation(target, cwd, { resume })
      return (await conversation.turn('ping', since)).first
    },
    async warmed() {
      await session.hibernate()
      await session.warm()
      await calm()
      return (await poolTurn(session, 'ping', 'primed')).first
    },
    async resumed() {
      await session.hibernate()
      await calm()
      return (await poolTurn(session, 'ping', 'resumed')).first
    },
  }
  const warmed: Round[] = []
  const resumed: Round[] = []
  const order = ['theirs', 'warmed', 'resumed'] as const
  for (let round = -1; round < (target.quick ? 4 : 25); round += 1) {
    const times = { theirs: 0, warmed: 0, resumed: 0 }
    for (let turn = 0; turn < order.length; turn += 1) {
      const side = order[(turn + round + 1) % order.length] ?? 'theirs'
      times[side] = await sides[side]()
    }
    if (round < 0) continue
    warmed.push({ ours: [times.warmed], theirs: [times.theirs] })
    resumed.push({ ours: [times.resumed], theirs: [times.theirs] })
  }
  const what = 'first message after hibernation'
  const common = { theirs: 'cold resume', unit: 'ms', compare: 'theirs / ours' } as const
  return [
    { what, ours: 'warm()ed', rounds: warmed, ...common, reach: { atLeast: 3 } },
    { what: `${what}, nobody warmed it`, ours: "pool's resume", rounds: resumed, ...common },
  ]
})
