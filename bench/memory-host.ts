/**
 * A host with hibernated sessions says what memory it holds. Arguments: directory, sessions, and the model's address, if each
 * session is to have a real process.
 */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { systemClock } from '../src/clock.ts'
import { FakeDriver } from '../src/testing/driver.ts'
import { startPool } from './shared/conversation.ts'

const [dir = '', sessions = '0', url] = process.argv.slice(2)
const AT_ONCE = 4

// With a model there is a real process for each session; ten thousand of those would take hours.
const driver = url === undefined ? new FakeDriver(systemClock) : undefined
const dataDir = join(dir, 'memory')
rmSync(dataDir, { recursive: true, force: true })
const pool = await startPool(
  { dir, url: url ?? 'http://127.0.0.1:9' },
  { dataDir, ...(driver === undefined ? {} : { driver }) },
)

async function use(key: string): Promise<void> {
  const session = await pool.session(key, { agent: 'assistant' })
  await session.send('hello').result
  await session.hibernate()
  if (driver === undefined) return
  // What the fake remembers for its tests is not the pool's.
  driver.processes.length = 0
  driver.conversations.clear()
}

async function run(prefix: string, count: number): Promise<void> {
  let next = 0
  const worker = async (): Promise<void> => {
    for (let index = next++; index < count; index = next++) await use(`${prefix}-${index}`)
  }
  await Promise.all(Array.from({ length: url === undefined ? AT_ONCE : 1 }, worker))
}

async function memory(): Promise<{ rss: number; used: number }> {
  for (let turn = 0; turn < 4; turn += 1) {
    globalThis.gc?.()
    await sleep(250)
  }
  const { rss, heapUsed, external } = process.memoryUsage()
  return { rss, used: heapUsed + external }
}

// The first ones load code and fill caches, in a host with many sessions and in one with none.
await run('first', url === undefined ? 100 : 30)
const before = await memory()
await run('session', Number(sessions))
const after = await memory()
await pool.close()
process.send?.({ before, after })
process.disconnect()
