/** What it costs a live turn that its events are kept. */
import { join } from 'node:path'
import { bench } from './shared/bench.ts'
import { poolTurn, startPool } from './shared/conversation.ts'
import { liveTurns } from './shared/live-turns.ts'

await bench(async (target) => {
  const { quick, dir } = target
  const kept = await startPool(target, { dataDir: join(dir, 'kept') })
  const forgotten = await startPool(target, { dataDir: join(dir, 'forgotten'), events: false })
  return liveTurns(quick, { ours: 'events kept', theirs: 'not kept' }, async (pair) => {
    const ours = await kept.session(`pair-${pair}`, { agent: 'assistant' })
    const theirs = await forgotten.session(`pair-${pair}`, { agent: 'assistant' })
    for (const session of [ours, theirs]) await poolTurn(session, 'hello', 'cold')
    return {
      ours: (text) => poolTurn(ours, text, 'live'),
      theirs: (text) => poolTurn(theirs, text, 'live'),
      async [Symbol.asyncDispose]() {
        for (const session of [ours, theirs]) await session.delete()
      },
    }
  })
})
