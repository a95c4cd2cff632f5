import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { startOwnPostgres } from '../../test/fixtures/postgres-server.ts'
import { left } from '../shared/bench.ts'
import { seeded } from '../shared/seeded.ts'
import { FAULTS, cause } from './faults.ts'
import type { Fault, FaultContext, Happened } from './faults.ts'
import { ChaosHost } from './host.ts'
import { Talker } from './talker.ts'
import { judge } from './verdict.ts'
import type { Silences, Verdict } from './verdict.ts'

export interface ChaosOptions {
  /** An empty folder. */
  dir: string
  modelUrl: string
  hosts: number
  sessions: number
  faults: number
  /** Ends the faults, in milliseconds. Default: never. */
  maxMs?: number
  seed: number
  /** Which faults. Default: all in turns. */
  kinds?: readonly Fault[]
  /** See {@link FaultContext.control}. */
  control?: boolean
  /** Ends what the run has started, if it is cut off. */
  owned?: AsyncDisposableStack
  /** Told what happens. */
  say?: (line: string) => void
}

export interface ChaosReport {
  verdict: Verdict
  silences: Silences
  happened: Happened[]
  /** Answers that were no success, by their form. */
  refused: Map<string, number>
}

const SCHEMA = 'chaos'

/** Sessions start their processes one after the other. */
const APART_MS = 150

/** Processes end within this time of their host. */
const ENDED_MS = 20_000

/** Hosts that share a database, clients that talk, and one fault after the other. */
export async function chaos(options: ChaosOptions): Promise<ChaosReport> {
  const { dir, modelUrl, control = false, say = () => undefined } = options
  const random = seeded(options.seed)
  // The next owner has to start a process before both can act.
  const longest = control ? 40 : 3
  const mark = `${dir}:chaos:`
  await using owned = new AsyncDisposableStack()
  options.owned?.defer(() => owned.disposeAsync())
  const server = owned.use(await startOwnPostgres({ parent: dir }))
  const databaseUrl = (port: number): string => server.url(SCHEMA).replace(/:\d+\//, `:${port}/`)
  const hosts: ChaosHost[] = []
  for (let number = 1; number <= options.hosts; number += 1) {
    const name = `host ${number}`
    const folder = join(dir, `host-${number}`)
    const host = await ChaosHost.make({ name, folder, mark, modelUrl, databasePort: server.port, databaseUrl })
    hosts.push(owned.use(host))
    await host.start()
  }
  const talkers = Array.from(
    { length: options.sessions },
    (_, index) => new Talker(`s${index + 1}`, { hosts, random: seeded(options.seed + index + 1), longest }),
  )
  const context: FaultContext = { server, schema: SCHEMA, hosts, random, control }
  const stop = new AbortController()
  const talking = talkers.map(async (talker, index) => {
    await sleep(index * APART_MS)
    await talker.begin()
    await talker.talk(() => !stop.signal.aborted)
  })
  await sleep(options.sessions * APART_MS + 3_000)
  const happened = await causeAll(options, context, say)
  stop.abort()
  say('the last turns end')
  await Promise.all(talking)
  for (const host of hosts) host.send('SIGTERM')
  await Promise.all(hosts.map((host) => host.gone()))
  const processesLeft = await stillLeft(mark)
  const judged = await judge({ server, schema: SCHEMA, talkers, happened, dir, processesLeft })
  const refused = new Map<string, number>()
  for (const talker of talkers)
    for (const [form, times] of talker.refused) refused.set(form, (refused.get(form) ?? 0) + times)
  return { ...judged, happened, refused }
}

async function causeAll(
  { faults, kinds = FAULTS, maxMs = Infinity }: ChaosOptions,
  context: FaultContext,
  say: (line: string) => void,
): Promise<Happened[]> {
  const { hosts, random } = context
  const happened: Happened[] = []
  const until = performance.now() + maxMs
  while (happened.length < faults && performance.now() < until) {
    const fault = kinds[happened.length % kinds.length] as Fault
    const host = hosts[Math.floor(random() * hosts.length)] as ChaosHost
    const since = performance.now()
    const what = await cause(fault, host, context)
    happened.push(what)
    const tookS = ((performance.now() - since) / 1_000).toFixed(1)
    say(
      `${happened.length}. ${fault}, ${host.name}: ${what.running.length} running, ${what.idle.length} idle; ${tookS} s`,
    )
    await sleep(1_000 + 1_500 * random())
  }
  return happened
}

async function stillLeft(mark: string): Promise<number> {
  const deadline = performance.now() + ENDED_MS
  let pids = left(mark)
  while (pids.length > 0 && performance.now() < deadline) {
    await sleep(100)
    pids = left(mark)
  }
  return pids.length
}
