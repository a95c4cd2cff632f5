import { randomBytes, randomUUID } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { EventType } from '@ag-ui/core'
import type { AGUIEvent, RunAgentInput } from '@ag-ui/core'
import { ConfigError } from '../../errors.ts'
import { readPostgres } from '../../options/store.ts'
import { thisHost } from '../../process/marker.ts'
import { startTimeOf } from '../../process/start-time.ts'
import { ProcessTable } from '../../process/table.ts'
import { hostTree } from '../../process/tree.ts'
import { startSimulator } from '../../simulator/server.ts'
import { PostgresStore } from '../../store/postgres/postgres.ts'
import { EXIT } from '../shared/exit.ts'
import { RequestProblem } from '../shared/request-problem.ts'
import { PASSWORD_ON_COMMAND_LINE, showsPassword } from '../shared/store-flag.ts'
import { listenForStop, stopped } from '../shared/stop.ts'
import { ClusterHost } from './cluster-host.ts'
import { printClusterSummary } from './cluster-words.ts'
import type { ClusterReport } from './cluster-words.ts'
import { silent, storyteller } from './words.ts'
import type { Audience } from './story.ts'

export interface ClusterDemoFlags {
  json?: true
  keep?: true
  store?: string
}

const HOSTS = 3
const AGENT = 'assistant'
const SESSION = 'ada'

/** A turn that is at work when its host is killed. */
const ENDLESS = '@sim say I am working on it.\n@sim delay 600000'

/** The others hold a host for gone after 2.5 s, and processes of a host that was killed end within 7 s. */
const PATIENCE_MS = 60_000

/** Between two tries of a client whose host has gone. */
const RETRY_MS = 100

/** Runs hosts on one database, kills one in the middle of a turn, and resolves with the exit code. */
export async function demoCluster({ json, keep, store }: ClusterDemoFlags): Promise<number> {
  using stop = listenForStop(['SIGINT', 'SIGTERM', 'SIGHUP'])
  const url = store ?? process.env['CLAUDE_AGENT_POOL_STORE'] ?? ''
  if (url === '')
    throw new ConfigError(
      '--store',
      'is needed: the address of a PostgreSQL database, postgres://user@host:5432/database',
    )
  if (store !== undefined && showsPassword({ store })) console.error(`Warning: ${PASSWORD_ON_COMMAND_LINE}`)
  const folder = await mkdtemp(join(tmpdir(), 'claude-agent-pool-demo-'))
  const address = new URL(url)
  // Its own tables, which go with the demo.
  address.searchParams.set('schema', `demo_${randomBytes(4).toString('hex')}`)
  const demo = new ClusterDemo({ folder, store: address.href, audience: json ? silent : storyteller() })
  try {
    const running = demo.run()
    running.catch(() => undefined)
    await Promise.race([running, stopped(stop.signal)])
    if (stop.signal.aborted) {
      await demo.end()
      console.error('Stopped: the hosts have ended.')
      return stop.signal.reason as number
    }
    const report = await running
    if (json) console.log(JSON.stringify(report))
    else printClusterSummary(report)
    return report.broken.length === 0 ? EXIT.done : EXIT.failed
  } finally {
    await demo.end()
    if (keep) console.error(`The data directories stay: ${folder}`)
    else await rm(folder, { recursive: true, force: true, maxRetries: 3 })
  }
}

interface DemoParts {
  folder: string
  store: string
  audience: Audience
}

class ClusterDemo {
  readonly #parts: DemoParts
  readonly #hosts: ClusterHost[] = []
  readonly #stopping = new AbortController()
  readonly #broken: string[] = []
  #opened: Promise<PostgresStore> | undefined
  #ended: Promise<void> | undefined

  constructor(parts: DemoParts) {
    this.#parts = parts
  }

  async run(): Promise<ClusterReport> {
    const { folder, store, audience } = this.#parts
    await using simulator = await startSimulator({ recordLimit: 0 })
    // Also says at once what is wrong with the address.
    this.#opened = PostgresStore.open(readPostgres({ postgres: store }))
    const database = await this.#opened
    const config = join(folder, 'claude-agent-pool.config.yaml')
    await writeFile(config, configOf(simulator.url))
    audience.chapter(
      'Three hosts on one database',
      'Each has processes and a data directory of its own, and shares the sessions.',
    )
    for (let number = 1; number <= HOSTS; number += 1) {
      const dataDir = join(folder, `host-${number}`)
      const host = await ClusterHost.start({ name: `host ${number}`, dataDir, config, store })
      this.#hosts.push(host)
      audience.note(`${host.name} serves at ${host.client.url.origin}, pid ${host.pid}.`)
    }
    const [first, second, third] = this.#hosts as [ClusterHost, ClusterHost, ClusterHost]

    audience.chapter(
      'One conversation, through any host',
      'The host that has the session runs the turn; another one passes the request on.',
    )
    const prompts = ['My name is Ada.', 'Do you still know me?', ENDLESS, 'Are you still there?']
    const [hello = '', again = '', , after = ''] = prompts
    for (const [host, prompt] of [
      [first, hello],
      [second, again],
    ] as const) {
      const { text } = await this.#say(host, prompt)
      audience.note(`${host.name}: “${text}”`)
    }

    audience.chapter(
      'A host is killed in the middle of a turn',
      'SIGKILL, as if its machine had gone. The others take over what it ran.',
    )
    await this.#begin(first)
    const dead = { ...thisHost, pid: first.pid, startTime: startTimeOf(first.pid) ?? '0' }
    await first.kill()
    const killedAt = performance.now()
    audience.note(`${first.name} is gone. The client asks ${third.name} at once, and again until it answers.`)
    const { text, firstAt } = await this.#sayAgain(third, after)
    const silenceMs = firstAt - killedAt
    audience.note(`${third.name}: “${text}”`)

    audience.chapter(
      'What was lost',
      'All prompts and answers are in the database, each once; the turn that was cut says so.',
    )
    const { missing, doubled, note } = await this.#check(database, prompts)
    if (missing > 0) this.#broken.push(`${missing} prompts were lost`)
    if (doubled > 0) this.#broken.push(`${doubled} events were stored twice`)
    if (note === undefined) this.#broken.push('the turn that was cut does not say so')
    else audience.note(`The cut turn says: “${note}”`)
    const left = await processesLeft(dead)
    if (left > 0) this.#broken.push(`${left} processes of the killed host were left`)
    await this.#drain()
    return {
      hosts: HOSTS,
      silenceMs: Math.round(silenceMs),
      prompts: prompts.length,
      missing,
      doubled,
      left,
      broken: this.#broken,
    }
  }

  /** Ends what is left: the hosts, and the tables of the demo. */
  end(): Promise<void> {
    this.#ended ??= this.#end()
    return this.#ended
  }

  async #end(): Promise<void> {
    this.#stopping.abort()
    await this.#drain()
    const database = await this.#opened?.catch(() => undefined)
    await database?.dropSchema()
    await database?.close()
  }

  async #drain(): Promise<void> {
    await Promise.all(this.#hosts.splice(0).map((host) => host.drain()))
  }

  /** One turn. Throws RequestProblem. */
  async #say(host: ClusterHost, prompt: string, id: string = randomUUID()): Promise<{ text: string; firstAt: number }> {
    let [text, firstAt] = ['', 0]
    for await (const event of this.#run(host, prompt, id)) {
      if (event.type === EventType.RUN_ERROR) throw new RequestProblem(event.message)
      if (event.type !== EventType.TEXT_MESSAGE_CONTENT) continue
      firstAt ||= performance.now()
      text += event.delta
    }
    return { text, firstAt }
  }

  /** The same by a client that does not give up. Its message has one id: it runs once. */
  async #sayAgain(host: ClusterHost, prompt: string): Promise<{ text: string; firstAt: number }> {
    const giveUpAt = performance.now() + PATIENCE_MS
    const id = randomUUID()
    for (;;) {
      try {
        return await this.#say(host, prompt, id)
      } catch (error) {
        if (!(error instanceof RequestProblem) || performance.now() > giveUpAt) throw error
        await sleep(RETRY_MS)
      }
    }
  }

  /** Begins the endless turn, and resolves when it is at work. */
  async #begin(host: ClusterHost): Promise<void> {
    const events = this.#run(host, ENDLESS)
    for (;;) {
      const { value, done } = await events.next()
      if (done) throw new RequestProblem('the turn ended before its host was killed')
      if (value.type !== EventType.TEXT_MESSAGE_CONTENT) continue
      // Its connection breaks with the host.
      void readOut(events)
      return
    }
  }

  #run(host: ClusterHost, prompt: string, id: string = randomUUID()): AsyncGenerator<AGUIEvent, void> {
    const input = {
      protocolVersion: '1.0',
      threadId: SESSION,
      runId: randomUUID(),
      messages: [{ id, role: 'user', content: prompt }],
      tools: [],
      context: [],
    } as RunAgentInput
    return host.client.run(AGENT, input, this.#stopping.signal)
  }

  async #check(
    database: PostgresStore,
    prompts: readonly string[],
  ): Promise<{ missing: number; doubled: number; note: string | undefined }> {
    const record = await database.get('default', SESSION)
    const events = record === undefined ? [] : await database.readEvents(record.uid, { limit: 1_000 })
    const told = events.map(({ type, json }) => ({ type, json }))
    const said = (prompt: string): number =>
      told.filter(({ type, json }) => type === 'user.message' && json.includes(JSON.stringify(prompt))).length
    const counts = prompts.map(said)
    const error = told.find(({ type }) => type === 'session.error')
    const { error: cut } = JSON.parse(error?.json ?? '{}') as { error?: { message?: string } }
    return {
      missing: counts.filter((count) => count === 0).length,
      doubled: counts.filter((count) => count > 1).length + events.length - new Set(events.map(({ id }) => id)).size,
      note: cut?.message,
    }
  }
}

const configOf = (model: string): string => `agents:
  ${AGENT}: { model: claude-sonnet-5, permissionMode: dontAsk, spares: { max: 0 }, unboundSpares: { max: 0 } }
api: { baseUrl: '${model}', key: simulated }
isolation: { mode: none }
`

/** Discards the rest of a stream until its connection breaks. */
async function readOut(events: AsyncIterator<AGUIEvent>): Promise<void> {
  let isOver = false
  while (!isOver)
    isOver = await events.next().then(
      ({ done }) => done === true,
      () => true,
    )
}

/** Processes of a host that are still there, when they have had their time to end. Where there is no /proc, none is seen. */
async function processesLeft(host: Parameters<typeof hostTree>[0]): Promise<number> {
  const tree = hostTree(host, new ProcessTable(), undefined)
  const giveUpAt = performance.now() + PATIENCE_MS
  for (;;) {
    const { length } = tree.look()
    if (length === 0 || performance.now() > giveUpAt) return length
    await sleep(RETRY_MS)
  }
}
