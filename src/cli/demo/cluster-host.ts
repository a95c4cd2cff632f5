import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdir } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { RequestProblem } from '../shared/request-problem.ts'
import { ServerClient, readServer } from '../shared/server-client.ts'

/** What it takes to start a host of the demo. */
export interface HostPlan {
  name: string
  dataDir: string
  config: string
  /** The database. */
  store: string
}

const LAST_LINES = 5

/** `claude-agent-pool serve` in a process of its own. */
export class ClusterHost {
  readonly name: string
  readonly client: ServerClient
  readonly #child: ChildProcess
  readonly #exited: Promise<unknown>

  private constructor(name: string, url: string, child: ChildProcess, exited: Promise<unknown>) {
    this.name = name
    this.client = new ServerClient(readServer(url), undefined)
    this.#child = child
    this.#exited = exited
  }

  /** Resolves when it serves. Rejects with RequestProblem if it ends before. */
  static async start({ name, dataDir, config, store }: HostPlan): Promise<ClusterHost> {
    await mkdir(dataDir, { recursive: true })
    const [, main = ''] = process.argv
    const words = [main, 'serve', '--config', config, '--data-dir', dataDir, '--port', '0', '--json']
    const child = spawn(process.execPath, [...process.execArgv, ...words], {
      cwd: dataDir,
      env: { ...process.env, CLAUDE_AGENT_POOL_STORE: store },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const exited = once(child, 'close')
    exited.catch(() => undefined)
    const said: string[] = []
    createInterface({ input: child.stderr }).on('line', (line) => {
      said.push(line)
      if (said.length > LAST_LINES) said.shift()
    })
    const lines = createInterface({ input: child.stdout })
    const url = await new Promise<string>((resolve, reject) => {
      lines.on('line', (line) => {
        const { url: at } = JSON.parse(line) as { url?: string }
        if (at !== undefined) resolve(at)
      })
      void exited.then(() => reject(new RequestProblem(`${name} has ended: ${said.join(' | ')}`)), reject)
    })
    return new ClusterHost(name, url, child, exited)
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  /** As a machine that goes away: nothing is asked, nothing is said. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#exited
  }

  /** Resolves when it has ended in order. */
  async drain(): Promise<void> {
    this.#child.kill('SIGTERM')
    await this.#exited
  }
}
