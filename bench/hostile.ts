/** One client or tenant attacks a server of 1,024 descriptors and 400 MiB of heap: what another tenant notices. */
import { fork, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { Agent, request } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { MARK, bench, calm } from './shared/bench.ts'
import type { Bench } from './shared/bench.ts'
import { ATTACKS } from './shared/attacks.ts'
import { quantile } from './shared/report.ts'
import type { Round, Row } from './shared/report.ts'
import { Victim } from './shared/victim.ts'

const main = join(import.meta.dirname, '..', 'dist', 'cli', 'main.js')
const KEYS = { acme: 'key-of-acme-0123456789abcdef', evil: 'key-of-evil-0123456789abcdef' }

/** Turns before the first that counts. */
const WARM_UP_TURNS = 10

const PROBE_EVERY_MS = 20

interface Host {
  url: string
  child: ChildProcess
}

async function serve(target: Bench): Promise<Host> {
  const folder = join(target.dir, 'hostile')
  mkdirSync(folder)
  const keys = Object.entries(KEYS).map(
    ([tenant, key]) => `{ tenant: ${tenant}, sha256: ${createHash('sha256').update(key).digest('hex')} }`,
  )
  writeFileSync(
    join(folder, 'claude-agent-pool.config.yaml'),
    `agents: { assistant: { spares: { max: 0 }, unboundSpares: { max: 0 }, model: claude-sonnet-5, env: { ${MARK}: "${target.dir}" } } }
api: { baseUrl: "${target.url}", key: simulated }
isolation: { mode: none }
server: { managedAgents: { define: true }, grace: 2s, keys: [${keys.join(', ')}] }
`,
  )
  const node = [
    process.execPath,
    '--max-old-space-size=400',
    main,
    'serve',
    '--port',
    '0',
    '--json',
    '--log-level',
    'error',
  ]
  const child = spawn('sh', ['-c', 'ulimit -n 1024 && exec "$@"', 'sh', ...node], {
    cwd: folder,
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], [MARK]: target.dir },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  target.owned.defer(() => void child.kill('SIGKILL'))
  const [line] = (await once(child.stdout, 'data')) as [Buffer]
  const { url } = JSON.parse(String(line)) as { url: string }
  while (!(await fetch(`${url}/readyz`)).ok) await sleep(10)
  return { url, child }
}

/** Asks for `/livez` again and again, from an address of its own: how long each answer took. */
async function probe(url: string, stop: AbortSignal): Promise<number[]> {
  const agent = new Agent({ keepAlive: true, localAddress: '127.0.0.3' })
  const took: number[] = []
  while (!stop.aborted) {
    const since = performance.now()
    const sent = request(`${url}/livez`, { agent })
    sent.end()
    const [response] = (await once(sent, 'response')) as [IncomingMessage]
    response.resume()
    await once(response, 'end')
    took.push(performance.now() - since)
    await sleep(PROBE_EVERY_MS)
  }
  agent.destroy()
  return took
}

interface Heard {
  turns: number[]
  livez: number[]
}

/** Listens while something goes on. */
async function during(host: Host, victim: Victim, work: Promise<unknown>): Promise<Heard> {
  const stop = new AbortController()
  const [turns, livez] = [victim.talk(stop.signal), probe(host.url, stop.signal)]
  await work
  stop.abort()
  return { turns: await turns, livez: await livez }
}

await bench(async (target) => {
  const host = await serve(target)
  const attacker = fork(join(import.meta.dirname, 'hostile-attacker.ts'), [], {
    execArgv: ['--disable-warning=ExperimentalWarning'],
  })
  target.owned.defer(() => void attacker.kill('SIGKILL'))
  const victim = new Victim({ url: host.url, key: KEYS.acme, session: 'victim', address: '127.0.0.2' })
  for (let turn = 0; turn < WARM_UP_TURNS; turn += 1) await victim.turn()
  const turns: Round[] = []
  const worst: Round[] = []
  for (const name of Object.keys(ATTACKS)) {
    await calm()
    const quiet = await during(host, victim, sleep(target.quick ? 500 : 3_000))
    const over = once(attacker, 'message')
    attacker.send({ name, target: { url: host.url, key: KEYS.evil, scale: target.quick ? 0.1 : 1 } })
    const attacked = await during(host, victim, over)
    turns.push({ ours: [quantile(attacked.turns, 0.95)], theirs: [quantile(quiet.turns, 0.95)] })
    worst.push({ ours: [Math.max(...attacked.livez)], theirs: [Math.max(...quiet.livez)] })
    console.error(
      `${name}: turns p95 ${turns.at(-1)?.ours[0]?.toFixed(0)} ms (quiet ${turns.at(-1)?.theirs[0]?.toFixed(0)}), /livez at most ${worst.at(-1)?.ours[0]?.toFixed(0)} ms`,
    )
  }
  victim.leave()
  const ended = host.child.exitCode === null && host.child.signalCode === null ? 0 : 1
  const exited = once(host.child, 'exit')
  if (host.child.kill('SIGTERM')) await exited
  const rest = { unit: 'ms', compare: 'ours / theirs' } as const
  const most = (rounds: readonly Round[]): Round[] => [
    { ours: [Math.max(...rounds.flatMap(({ ours }) => ours))], theirs: [] },
  ]
  const rows: Row[] = [
    {
      what: 'turns of another tenant, 95th percentile',
      ours: 'attacked',
      theirs: 'quiet',
      rounds: turns,
      ...rest,
      reach: { atMost: 2 },
    },
    { what: '/livez, the slowest answer of each attack', ours: 'attacked', theirs: 'quiet', rounds: worst, ...rest },
    {
      what: '/livez, the slowest answer of all',
      ours: 'attacked',
      theirs: '',
      rounds: most(worst),
      unit: 'ms',
      compare: 'ours',
      reach: { atMost: 300 },
    },
    {
      what: 'servers that ended before they were told to',
      ours: 'attacked',
      theirs: '',
      rounds: [{ ours: [ended], theirs: [] }],
      unit: 'kills',
      compare: 'ours',
      reach: { atMost: 0 },
    },
  ]
  return rows
})
