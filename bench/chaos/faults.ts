import { setTimeout as sleep } from 'node:timers/promises'
import type { OwnServer } from '../../test/fixtures/postgres-server.ts'
import type { ChaosHost } from './host.ts'

export const FAULTS = ['kill', 'stop', 'cut from database', 'cut from peers', 'database crash', 'drain'] as const

export type Fault = (typeof FAULTS)[number]

/** One fault, and what the host owned in that moment. */
export interface Happened {
  fault: Fault
  host: string
  /** Milliseconds since the epoch. */
  at: number
  running: readonly string[]
  idle: readonly string[]
}

export interface FaultContext {
  server: OwnServer
  schema: string
  hosts: readonly ChaosHost[]
  random: () => number
  /** Sentinels are stopped with their hosts: the check of overlaps must see that. */
  control: boolean
}

/** A balancer notices within so long that a host is away. */
const NOTICED_MS = 1_000

/** Long enough for the next owner to start a process on a busy machine. */
const CONTROL_MS = 20_000

/** Longer than the lease of 2.5 s. */
const awayMs = (random: () => number): number => 3_500 + 2_500 * random()

/** Has one thing go wrong at one host, and puts it right. */
export async function cause(fault: Fault, host: ChaosHost, context: FaultContext): Promise<Happened> {
  const owned = await ownedBy(host, context)
  const happened = { fault, host: host.name, at: Date.now(), ...owned }
  await WAYS[fault](host, context)
  return happened
}

const WAYS: Record<Fault, (host: ChaosHost, context: FaultContext) => Promise<void>> = {
  async kill(host, { random }) {
    host.send('SIGKILL')
    host.takeOut()
    await host.gone()
    // Some come back at once, at their own place, others after they were declared gone.
    await sleep(random() < 0.3 ? 0 : awayMs(random))
    await host.start()
  },
  async stop(host, { random, control }) {
    const sentinels = control ? host.sentinels : []
    if (control && sentinels.length === 0) throw new Error(`${host.name} has no sentinel that could be stopped`)
    for (const pid of [...sentinels, host.pid]) process.kill(pid, 'SIGSTOP')
    await sleep(NOTICED_MS)
    host.takeOut()
    await sleep(control ? CONTROL_MS : awayMs(random))
    for (const pid of [...sentinels, host.pid]) process.kill(pid, 'SIGCONT')
    await sleep(NOTICED_MS)
    host.isDown = false
  },
  async 'cut from database'(host, { random }) {
    host.database.goDark()
    await sleep(awayMs(random))
    host.database.heal()
  },
  async 'cut from peers'(host, { random }) {
    host.peers.goDark()
    await sleep(awayMs(random))
    host.peers.heal()
  },
  async 'database crash'(_host, { server }) {
    await server.crash()
  },
  async drain(host) {
    host.send('SIGTERM')
    // Its readiness says so at once.
    host.isDown = true
    await host.gone()
    await host.start()
  },
}

async function ownedBy(host: ChaosHost, { server, schema }: FaultContext): Promise<Pick<Happened, 'running' | 'idle'>> {
  const rows = await server.query<{ key: string; open_turn: boolean }>(
    `SELECT s.key, s.open_turn FROM "${schema}".sessions s JOIN "${schema}".hosts h ON h.id = s.owner
     WHERE h.state <> 'gone' AND h.address LIKE $1`,
    [`127.0.0.1:${host.peers.port}%`],
  )
  return {
    running: rows.flatMap(({ key, open_turn: isOpen }) => (isOpen ? key : [])),
    idle: rows.flatMap(({ key, open_turn: isOpen }) => (isOpen ? [] : key)),
  }
}
