/** What it costs a live turn that its events are kept. */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { bench, calm } from './shared/bench.ts'
import { poolTurn, startPool } from './shared/conversation.ts'
import type { Round } from './shared/report.ts'

const WARM_UP_TURNS = 10
const PAUSE_MS = 5

await bench(async (target) => {
  const { quick, dir } = target
  const kept = await startPool(target, { dataDir: join(dir, 'kept') })
  const forgotten = await startPool(target, { dataDir: join(dir, 'forgotten'), events: false })
  const firsts: Round[] = []
  const results: Round[] = []
  for (let pair = 0; pair < (quick ? 2 : 10); pair += 1) {
    const sessions = {
      ours: await kept.session(`pair-${pair}`, { agent: 'assistant' }),
      theirs: await forgotten.session(`pair-${pair}`, { agent: 'assistant' }),
    }
    const first: Round = { ours: [], theirs: [] }
    const result: Round = { ours: [], theirs: [] }
    for (const session of Object.values(sessions)) await poolTurn(session, 'hello', 'cold')
    await calm()
    for (let turn = 0; turn < WARM_UP_TURNS + (quick ? 20 : 60); turn += 1) {
      for (const side of turn % 2 === 0 ? (['theirs', 'ours'] as const) : (['ours', 'theirs'] as const)) {
        await sleep(PAUSE_MS)
        const times = await poolTurn(sessions[side], 'ping', 'live')
        if (turn < WARM_UP_TURNS) continue
        first[side].push(times.first)
        result[side].push(times.result)
      }
    }
    firsts.push(first)
    results.push(result)
    for (const session of Object.values(sessions)) await session.delete()
  }
  const sides = {
    ours: 'events kept',
    theirs: 'not kept',
    unit: 'ms',
    compare: 'ours / theirs',
    reach: { atMost: 1.05 },
  } as const
  return [
    { what: 'live turn, first message', rounds: firsts, ...sides },
    { what: 'live turn, result', rounds: results, ...sides },
  ]
})
