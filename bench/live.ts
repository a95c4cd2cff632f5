/** Turns of a process that lives: what the pool adds to the plain SDK. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { bench, calm } from './shared/bench.ts'
import { PlainConversation, poolTurn, startPool } from './shared/conversation.ts'
import type { TurnTimes } from './shared/conversation.ts'
import type { Round } from './shared/report.ts'

const WARM_UP_TURNS = 10
/** A person does not answer within the same millisecond: neither side pays for what the other does after a turn. */
const PAUSE_MS = 5

await bench(async (target) => {
  const { quick, owned, dir } = target
  const pool = await startPool(target)
  const cwd = join(dir, 'live')
  mkdirSync(cwd)
  const firsts: Round[] = []
  const results: Round[] = []
  // One claude process may be a little faster than another of its kind for all its life: so several pairs.
  for (let pair = 0; pair < (quick ? 2 : 10); pair += 1) {
    const plain = owned.use(new PlainConversation(target, cwd))
    const session = await pool.session(`live-${pair}`, { agent: 'assistant' })
    const first: Round = { ours: [], theirs: [] }
    const result: Round = { ours: [], theirs: [] }
    const note = (side: keyof Round, times: TurnTimes): void => {
      first[side].push(times.first)
      result[side].push(times.result)
    }
    await plain.turn('hello')
    await poolTurn(session, 'hello', 'cold')
    await calm()
    for (let turn = 0; turn < WARM_UP_TURNS + (quick ? 20 : 60); turn += 1) {
      const sides = { theirs: () => plain.turn('ping'), ours: () => poolTurn(session, 'ping', 'live') }
      for (const side of turn % 2 === 0 ? (['theirs', 'ours'] as const) : (['ours', 'theirs'] as const)) {
        await sleep(PAUSE_MS)
        const times = await sides[side]()
        if (turn >= WARM_UP_TURNS) note(side, times)
      }
    }
    firsts.push(first)
    results.push(result)
    await plain.close()
    await session.delete()
  }
  const sides = {
    ours: 'pool',
    theirs: 'plain SDK',
    unit: 'ms',
    compare: 'ours / theirs',
    reach: { atMost: 1.05 },
  } as const
  return [
    { what: 'live turn, first message', rounds: firsts, ...sides },
    { what: 'live turn, result', rounds: results, ...sides },
  ]
})
