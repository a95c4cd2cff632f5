/** A host under load, in a memory cgroup. Argument: the load, as JSON. It tells what it has seen every second and at its end. */
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { findClaudeExecutable } from '../src/driver/executable.ts'
import { CapacityError, PoolError } from '../src/index.ts'
import type { Pool } from '../src/index.ts'
import type { Load, Seen } from './shared/box.ts'
import { startPool } from './shared/conversation.ts'
import { seeded } from './shared/seeded.ts'

const SAMPLE_MS = 100
const TELL_MS = 1_000
/** One who is refused for long comes back all the same. */
const LONGEST_RETRY_MS = 10_000

const load = JSON.parse(process.argv[2] ?? '') as Load
const seen: Seen = {
  inFlight: [],
  completed: 0,
  whole: 0,
  shedMs: [],
  shedWithoutRetry: 0,
  lost: {},
  unnamed: 0,
  warmth: {},
}
let measuring = false
let ended = false

// As in a container, the pages of the program are charged to the box: by a copy that nobody else has read.
const executable = join(load.dir, 'claude')
copyFileSync(findClaudeExecutable() ?? '', executable)

async function converse(pool: Pool, index: number): Promise<void> {
  const random = seeded(index + 1)
  const session = await pool.session(`conversation-${index}`, { agent: 'assistant' })
  const [least, most] = load.thinkMs
  let turns = 0
  let whole = true
  const enough = (): boolean => ended || ('turnsEach' in load.until && turns >= load.until.turnsEach)
  await sleep(random() * most)
  while (!enough()) {
    const prompt = load.prompts[Math.floor(random() * load.prompts.length)] ?? ''
    const since = performance.now()
    const turn = session.send(prompt)
    try {
      const message = await turn.result
      const result = message.subtype === 'success' ? message.result : message.subtype
      turns += 1
      if (measuring) seen.completed += 1
      if (measuring) seen.warmth[turn.warmth ?? ''] = (seen.warmth[turn.warmth ?? ''] ?? 0) + 1
      if (!result.startsWith(`[turn ${turns}]`)) throw new Error(`answer to turn ${turns}: ${result.slice(0, 40)}`)
    } catch (error) {
      if (error instanceof CapacityError) {
        if (measuring) seen.shedMs.push(performance.now() - since)
        if (!(error.retryAfterMs > 0)) seen.shedWithoutRetry += 1
        await sleep(Math.min(error.retryAfterMs, LONGEST_RETRY_MS) * (0.5 + random()))
        continue
      }
      if (ended) return
      whole = false
      const name = error instanceof PoolError ? `${error.name} (${error.code})` : (error as Error).message
      if (!(error instanceof PoolError)) seen.unnamed += 1
      seen.lost[name] = (seen.lost[name] ?? 0) + 1
      // What the lost turn left in the conversation is not known: the next one begins anew.
      return converse(pool, index + load.clients)
    }
    await sleep(least + random() * (most - least))
  }
  if (whole) seen.whole += 1
}

const pool = await startPool(
  { dir: load.dir, url: load.url },
  { ...load.options, agent: { pathToClaudeCodeExecutable: executable, allowedTools: ['Bash'] } },
)
// An interrupted benchmark ends this process in order, too.
process.once('disconnect', () => void pool.close().finally(() => process.exit()))
const tell = (phase: 'warm' | 'running' | 'done'): void => void (process.connected && process.send?.({ phase, seen }))
const telling = setInterval(() => tell(measuring ? 'running' : 'warm'), TELL_MS)
const sampling = setInterval(() => {
  if (measuring) seen.inFlight.push(pool.stats().turns.running)
}, SAMPLE_MS)
const talking = Promise.all(Array.from({ length: load.clients }, (_, index) => converse(pool, index)))
await sleep(load.warmUpMs)
measuring = true
if ('ms' in load.until) {
  await sleep(load.until.ms)
  measuring = false
  ended = true
} else await talking
clearInterval(sampling)
clearInterval(telling)
tell('done')
await pool.close()
await talking
process.disconnect()
