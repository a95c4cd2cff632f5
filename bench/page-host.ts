/**
 * A host for the operator's page: many sessions, and steady turns of fake processes, so that what is measured is the server's own work.
 * Arguments: data directory, sessions, turns in a second. It says where it listens, then how much CPU time it has used when asked.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type * as Clocks from '../src/clock.ts'
import type * as Pools from '../src/index.ts'
import type * as Servers from '../src/server/index.ts'
import type * as Drivers from '../src/testing/driver.ts'

/** As users run it: compiled. */
const built = (path: string): Promise<unknown> => import(new URL(`../dist/${path}`, import.meta.url).href)

const { systemClock } = (await built('clock.js')) as typeof Clocks
const { createPool } = (await built('index.js')) as typeof Pools
const { createServer, listen } = (await built('server/index.js')) as typeof Servers
const { FakeDriver } = (await built('testing/driver.js')) as typeof Drivers

/** Sessions that are talked in: as many have a process. */
const BUSY = 40

const [dataDir = '', sessions = '', turns = ''] = process.argv.slice(2)

const pool = await createPool({
  dataDir,
  api: { baseUrl: 'http://127.0.0.1:9', key: 'simulated' },
  agents: { assistant: { model: 'claude-sonnet-5', spares: { max: 0 }, unboundSpares: { max: 0 } } },
  driver: new FakeDriver(systemClock),
})
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
