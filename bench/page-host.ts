/**
 * A host for the operator's page: many sessions, and steady turns of fake processes, so that what is measured is the server's own work.
 * Arguments: directory, data directory, sessions, turns in a second. It says where it listens, then how much CPU time it has used when asked.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { systemClock } from '../src/clock.ts'
import { createServer, listen } from '../src/server/index.ts'
import { FakeDriver } from '../src/testing/driver.ts'
import { startPool } from './shared/conversation.ts'

/** Sessions that are talked in: as many have a process. */
const BUSY = 40

const [dir = '', dataDir = '', sessions = '', turns = ''] = process.argv.slice(2)

const pool = await startPool({ dir, url: 'http://127.0.0.1:9' }, { dataDir, driver: new FakeDriver(systemClock) })
const known = await pool.sessions({ limit: 1 })
if (known.length === 0) {
  const keys = Array.from({ length: Number(sessions) }, (_, index) => `session-${String(index).padStart(6, '0')}`)
  for (let at = 0; at < keys.length; at += 500)
    await Promise.all(keys.slice(at, at + 500).map((key) => pool.session(key, { agent: 'assistant' })))
}
const server = createServer(pool)
const { url } = await listen(server, { port: 0 })

let goesOn = true
process.on('message', (message) => {
  if (message !== 'cpu') return
  const { user, system } = process.cpuUsage()
  process.send?.((user + system) / 1_000)
})
process.on('disconnect', () => {
  goesOn = false
  void pool.close().then(() => process.exit(0))
})
process.send?.(url)

/** Each turn is two events: it starts, and it ends. */
for (let turn = 0; goesOn; turn += 1) {
  const session = await pool.session(`session-${String(turn % BUSY).padStart(6, '0')}`)
  void session.send('go').result.catch(() => undefined)
  await sleep(1_000 / Number(turns))
}
