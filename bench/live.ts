/** Turns of a process that lives: what the pool adds to the plain SDK. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { bench } from './shared/bench.ts'
import { PlainConversation, poolTurn, startPool } from './shared/conversation.ts'
import { liveTurns } from './shared/live-turns.ts'

await bench(async (target) => {
  const { quick, owned, dir } = target
  const pool = await startPool(target)
  const cwd = join(dir, 'live')
  mkdirSync(cwd)
  return liveTurns(quick, { ours: 'pool', theirs: 'plain SDK' }, async (pair) => {
    const plain = owned.use(new PlainConversation(target, cwd))
    // The same directory for both: the CLI looks for files in each one above it.
    const session = await pool.session(`live-${pair}`, { agent: 'assistant', cwd })
    await plain.turn('hello')
    await poolTurn(session, 'hello', 'cold')
    return {
      ours: (text) => poolTurn(session, text, 'live'),
      theirs: (text) => plain.turn(text),
      async [Symbol.asyncDispose]() {
        await plain.close()
        await session.delete()
      },
    }
  })
})
