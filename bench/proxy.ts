/**
 * The credential proxy, as it is built: what it adds to a call of the model, and what its memory does under many streams and readers
 * that stop. What it and the sandbox add to turns. After `npm run build`; needs bubblewrap.
 */
import { once } from 'node:events'
import { Agent, createServer, request } from 'node:http'
import type { IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { systemClock } from '../src/clock.ts'
import type { CredentialProxy } from '../src/credentials/credential-proxy.ts'
import { readBudgets } from '../src/options/budgets.ts'
import { MemoryStore } from '../src/store/memory.ts'
import { createPool } from '../src/index.ts'
import type { Pool, Session } from '../src/index.ts'
import { bench } from './shared/bench.ts'
import type { Bench } from './shared/bench.ts'
import type { Row } from './shared/report.ts'

/** From the sources, the process would hold the compiler of their types, too. */
const BUILT = new URL('../dist/credentials/credential-proxy.js', import.meta.url).href

const MIB = 2 ** 20
const STREAMS = 200
const STREAM_BYTES = 4 * MIB
const CALLS = 200
const BODY = JSON.stringify({ model: 'claude-sonnet-5', messages: [{ role: 'user', content: 'x'.repeat(80_000) }] })
const EVENT = `event: content_block_delta\ndata: ${JSON.stringify({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'hello, hello ' } })}\n\n`
const CHUNK = Buffer.from(EVENT.repeat(500))

/** A model that answers at once, or streams as fast as it is read. */
async function startModel(): Promise<{ url: string; close(): void }> {
  const server = createServer((incoming, response) => {
    incoming.resume().once('end', () => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      if (incoming.headers['anthropic-beta'] !== 'long') return void response.end(EVENT)
      let left = STREAM_BYTES
      const more = (): void => {
        while (left > 0) {
          left -= CHUNK.length
          if (!response.write(CHUNK)) return void response.once('drain', more)
        }
        response.end()
      }
      more()
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const close = (): void => {
    server.closeAllConnections()
    server.close()
  }
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close }
}

/** A proxy with so many workers. */
async function startProxy(dir: string, url: string, workers: number) {
  const built = (await import(BUILT)) as { CredentialProxy: typeof CredentialProxy }
  const proxy = new built.CredentialProxy({
    clock: systemClock,
    store: new MemoryStore(),
    budgets: readBudgets({ tenant: { costUsd: 1e9 } }),
    socketDir: join(dir, 'sockets'),
    claudeVersion: '2.1.332',
    environment: {},
  })
  await proxy.open()
  const grants = Array.from({ length: workers }, (_, worker) =>
    proxy.grant({ id: `w-${worker}`, agent: 'a', tenant: 't', session: `s${worker}`, executable: undefined }, () => ({
      ANTHROPIC_BASE_URL: url,
      ANTHROPIC_API_KEY: 'real',
    })),
  )
  await Promise.all(grants.map(({ ready }) => ready))
  const ways = grants.map(({ env }) => ({
    socketPath: env['ANTHROPIC_UNIX_SOCKET'] ?? '',
    token: env['ANTHROPIC_API_KEY'] ?? '',
  }))
  return { proxy, ways }
}

interface Way {
  socketPath?: string
  port?: number
  token: string
}

/** Calls, and resolves with the answer as soon as its first bytes are there; it has to be read. */
function call({ token, ...where }: Way, agent: Agent, beta = 'short'): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const headers = { 'x-api-key': token, 'content-type': 'application/json', 'anthropic-beta': beta }
    const outgoing = request({ ...where, method: 'POST', path: '/v1/messages?beta=true', headers, agent })
    outgoing.once('error', reject)
    outgoing.once('response', (answer) => {
      answer.on('error', () => undefined)
      answer.once('readable', () => resolve(answer))
    })
    outgoing.end(BODY)
  })
}

async function firstBytes(way: Way, agent: Agent, calls: number): Promise<number[]> {
  const times: number[] = []
  for (let made = 0; made < calls; made += 1) {
    const begun = performance.now()
    const answer = await call(way, agent)
    times.push(performance.now() - begun)
    await once(answer.resume(), 'end')
  }
  return times
}

async function addedTime({ dir, quick }: Bench): Promise<Row> {
  const model = await startModel()
  const { proxy, ways } = await startProxy(dir, model.url, 1)
  const agent = new Agent({ keepAlive: true })
  const [through = { token: '' }] = ways
  const direct = { port: Number(new URL(model.url).port), token: 'real' }
  await firstBytes(through, agent, CALLS)
  await firstBytes(direct, agent, CALLS)
  const rounds: Row['rounds'][number][] = []
  for (let round = 0; round < (quick ? 2 : 10); round += 1) {
    const theirs = await firstBytes(direct, agent, CALLS / 10)
    rounds.push({ ours: await firstBytes(through, agent, CALLS / 10), theirs })
  }
  agent.destroy()
  await proxy.close()
  model.close()
  return {
    what: 'first byte of an answer, a request of 80 kB',
    rounds,
    ours: 'through the proxy',
    theirs: 'without',
    unit: 'ms',
    compare: 'ours - theirs',
    reach: { atMost: 1 },
  }
}

const memoryOf = (pid: number): number =>
  (Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? Number.NaN) * 1024) / MIB

/** Samples the memory of a process until `done`; resolves with the largest. */
async function largest(pid: number, done: Promise<unknown>): Promise<number> {
  let over = false
  void done.finally(() => {
    over = true
  })
  let most = 0
  while (!over) {
    most = Math.max(most, memoryOf(pid))
    await sleep(20)
  }
  return most
}

/** Memory of the proxy while all streams run, and while no reader reads. */
async function streams({ dir, quick }: Bench): Promise<Row[]> {
  const running: number[] = []
  const [early, late]: [number[], number[]] = [[], []]
  for (let round = 0; round < (quick ? 1 : 3); round += 1) {
    const model = await startModel()
    const { proxy, ways } = await startProxy(dir, model.url, STREAMS)
    const agent = new Agent()
    const pid = proxy.pid ?? 0
    const read = async (way: Way): Promise<void> => void (await once((await call(way, agent, 'long')).resume(), 'end'))
    running.push(await largest(pid, Promise.all(ways.map(read))))
    const stopped = await Promise.all(ways.map((way) => call(way, agent, 'long')))
    await sleep(2_000)
    early.push(memoryOf(pid))
    await sleep(quick ? 2_000 : 5_000)
    late.push(memoryOf(pid))
    for (const answer of stopped) answer.destroy()
    await proxy.close()
    model.close()
  }
  const about = { theirs: 'none', unit: 'MiB', compare: 'ours' } as const
  return [
    {
      ...about,
      what: `memory of the proxy, ${STREAMS} streams of 4 MiB at once, the largest`,
      ours: 'RSS',
      rounds: running.map((value) => ({ ours: [value], theirs: [] })),
      reach: { atMost: 150 },
    },
    {
      ...about,
      what: `${STREAMS} streams with stopped readers, from 2 s to 7 s`,
      rounds: late.map((value, round) => ({ ours: [value], theirs: [early[round] ?? Number.NaN] })),
      ours: 'RSS later',
      theirs: 'RSS before',
      compare: 'ours / theirs',
      reach: { atMost: 1.05 },
    },
  ]
}

/** What stands between an agent and the host. */
const SIDES = {
  neither: { mode: 'none', credentials: 'environment' },
  proxy: { mode: 'none', credentials: 'proxy' },
  both: { mode: 'bubblewrap', credentials: 'proxy' },
} as const

type Side = keyof typeof SIDES

const NAMES = Object.keys(SIDES) as Side[]

/** Milliseconds to the result of a turn. */
async function turn(session: Session): Promise<number> {
  const begun = performance.now()
  await session.send('hello').result
  return performance.now() - begun
}

/** Whole turns of real processes on all sides, in turns: the first of a process, and later ones. */
async function turns({ dir, url, quick, owned }: Bench): Promise<Row[]> {
  const open = async (side: Side): Promise<Pool> => {
    const agents = { a: { model: 'claude-sonnet-5', spares: { max: 0 }, unboundSpares: { max: 0 } } }
    const dataDir = join(dir, `turns-${side}`)
    return owned.use(await createPool({ dataDir, agents, isolation: SIDES[side], api: { baseUrl: url, key: 'k' } }))
  }
  const pools = { neither: await open('neither'), proxy: await open('proxy'), both: await open('both') }
  const cold: Record<Side, number>[] = []
  const live: Record<Side, number[]>[] = []
  for (let round = 0; round < (quick ? 2 : 31); round += 1) {
    const first = { neither: 0, proxy: 0, both: 0 }
    const later: Record<Side, number[]> = { neither: [], proxy: [], both: [] }
    const sessions = new Map<Side, Session>()
    for (const place of NAMES.keys()) {
      const side = NAMES[(place + round) % NAMES.length] as Side
      const session = await pools[side].session(`s${round}`, { agent: 'a' })
      sessions.set(side, session)
      first[side] = await turn(session)
    }
    for (let count = 0; count < 6; count += 1)
      for (const [side, session] of sessions) later[side].push(await turn(session))
    await Promise.all([...sessions.values()].map((session) => session.delete()))
    // The first of all loads code, also that of the proxy.
    if (round === 0) continue
    cold.push(first)
    live.push({ neither: later.neither.slice(1), proxy: later.proxy.slice(1), both: later.both.slice(1) })
  }
  const sides = { theirs: 'neither', unit: 'ms', compare: 'ours / theirs' } as const
  return (['both', 'proxy'] as const).flatMap((side) => {
    const ours = side === 'both' ? 'bubblewrap and proxy' : 'proxy alone'
    return [
      {
        ...sides,
        ours,
        what: 'first turn of a new process, to its result',
        rounds: cold.map((first) => ({ ours: [first[side]], theirs: [first.neither] })),
        reach: { atMost: 1.25 },
      },
      {
        ...sides,
        ours,
        what: 'live turn, to its result',
        rounds: live.map((later) => ({ ours: later[side], theirs: later.neither })),
        reach: { atMost: 1.03 },
      },
    ]
  })
}

await bench(async (target) => [await addedTime(target), ...(await streams(target)), ...(await turns(target))])
