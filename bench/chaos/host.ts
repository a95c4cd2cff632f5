import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { TcpProxy } from '../../test/fixtures/tcp-proxy.ts'
import { MARK } from '../shared/bench.ts'
import { freePort } from '../shared/serving.ts'

const main = join(import.meta.dirname, '..', '..', 'dist', 'cli', 'main.js')

const READY_MS = 120_000

export interface HostPlan {
  name: string
  folder: string
  /** All processes of the run have it. It is the same at all hosts: it counts for the form of their agent. */
  mark: string
  modelUrl: string
  databasePort: number
  /** The address of the database through this port. */
  databaseUrl: (port: number) => string
}

/** `claude-agent-pool serve` that can be killed, stopped, cut off, drained and started again. */
export class ChaosHost {
  readonly name: string
  readonly url: string
  /** Between the host and its database. */
  readonly database: TcpProxy
  /** Between the other hosts and this one. */
  readonly peers: TcpProxy
  /** A balancer sends nothing there. */
  isDown = false
  readonly #plan: HostPlan
  readonly #port: number
  #child: ChildProcess | undefined
  #ended: Promise<unknown> = Promise.resolve()
  #requests = new AbortController()

  private constructor(plan: HostPlan, port: number, { database, peers }: { database: TcpProxy; peers: TcpProxy }) {
    this.#plan = plan
    this.name = plan.name
    this.#port = port
    this.url = `http://127.0.0.1:${port}`
    this.database = database
    this.peers = peers
  }

  static async make(plan: HostPlan): Promise<ChaosHost> {
    const peerPort = await freePort()
    const database = await TcpProxy.to(plan.databasePort)
    const peers = await TcpProxy.to(peerPort)
    mkdirSync(plan.folder)
    writeFileSync(
      join(plan.folder, 'claude-agent-pool.config.yaml'),
      `agents: { a: { spares: { max: 0 }, unboundSpares: { max: 0 }, model: claude-sonnet-5, allowedTools: [Bash], env: { ${MARK}: "${plan.mark}" } } }
api: { baseUrl: "${plan.modelUrl}", key: simulated }
server: { grace: 20s }
cluster: { listen: "127.0.0.1:${peerPort}", advertise: "127.0.0.1:${peers.port}", secret: "a secret of the hosts of this benchmark" }
`,
    )
    return new ChaosHost(plan, await freePort(), { database, peers })
  }

  /** Resolves when it is ready. */
  async start(): Promise<void> {
    const { folder, mark, databaseUrl } = this.#plan
    const words = [main, 'serve', '--port', String(this.#port), '--log-level', 'error']
    this.#child = spawn(process.execPath, words, {
      cwd: folder,
      env: {
        PATH: process.env['PATH'],
        HOME: process.env['HOME'],
        [MARK]: mark,
        CLAUDE_AGENT_POOL_STORE: databaseUrl(this.database.port),
      },
      stdio: ['ignore', 'ignore', process.env['CHAOS_LOG'] === undefined ? 'ignore' : 'inherit'],
    })
    this.#ended = once(this.#child, 'exit')
    const deadline = performance.now() + READY_MS
    while (!(await this.#isReady())) {
      if (performance.now() > deadline || this.#child.exitCode !== null)
        throw new Error(`${this.name} does not start (exit code ${this.#child.exitCode})`)
      await sleep(50)
    }
    this.isDown = false
  }

  get pid(): number {
    return this.#child?.pid ?? 0
  }

  /** Ends requests that the balancer gives up. */
  get signal(): AbortSignal {
    return this.#requests.signal
  }

  /** The balancer has noticed that the host is away. */
  takeOut(): void {
    this.isDown = true
    this.#requests.abort()
    this.#requests = new AbortController()
  }

  send(signal: NodeJS.Signals): void {
    this.#child?.kill(signal)
  }

  /** Resolves when the process is gone. */
  async gone(): Promise<void> {
    await this.#ended
  }

  /** The watchdog of the host's processes. */
  get sentinels(): number[] {
    const children = readFileSync(`/proc/${this.pid}/task/${this.pid}/children`, 'utf8').trim().split(' ')
    return children.flatMap((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('process/sentinel') ? Number(pid) : []
      } catch {
        return []
      }
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.send('SIGCONT')
    this.send('SIGKILL')
    await this.#ended
    await this.database[Symbol.asyncDispose]()
    await this.peers[Symbol.asyncDispose]()
  }

  async #isReady(): Promise<boolean> {
    return fetch(`${this.url}/readyz`, { signal: AbortSignal.timeout(2_000) }).then(
      ({ ok }) => ok,
      () => false,
    )
  }
}
