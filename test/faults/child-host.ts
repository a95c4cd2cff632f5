import { fork, spawnSync } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'
import type { AgentOptions, PoolOptions, PoolStats, WorkerInfo } from '../../src/index.ts'
import type { Site } from '../fixtures/real-pool.ts'
import { realAgent } from './agents.ts'
import { identify } from './procfs.ts'
import type { Identity } from './procfs.ts'
import { Witness } from './witness.ts'

const fixture = fileURLToPath(new URL('../fixtures/fault-host.ts', import.meta.url))

const hiding = fileURLToPath(new URL('../fixtures/fault-node-without-cgroups.sh', import.meta.url))

/** Hiding cgroups from a host takes a mount namespace of its own, which only root may make. */
export const CAN_HIDE_CGROUPS: boolean = spawnSync(hiding, ['--version']).status === 0

interface Answer {
  id?: number
  value?: unknown
  error?: object
  event?: string
  payload?: unknown
}

/** What a test may set of the host's pool: it crosses a process border. */
export interface HostOptions extends Omit<PoolOptions, 'agents' | 'clock' | 'driver' | 'logger' | 'store'> {
  agent?: Omit<AgentOptions, 'canUseTool' | 'hooks'>
  /** False: the host finds no cgroups, as on a machine without; see {@link CAN_HIDE_CGROUPS}. */
  cgroups?: boolean
}

/** What a leak in a host would show in. */
export interface Footprint {
  rss: number
  heldBytes: number
  resources: Record<string, number>
  listeners: Record<string, number>
}

/** A pool in a process of its own, which may be killed. */
export class ChildHost implements Identity {
  readonly pid: number
  readonly startTime: string
  readonly witness: Witness
  readonly #child: ChildProcess
  readonly #exited: Promise<unknown>
  readonly #pending = new Map<number, PromiseWithResolvers<unknown>>()
  readonly #listeners = new Set<(answer: Answer) => void>()
  #calls = 0

  constructor(child: ChildProcess, root: string) {
    this.#child = child
    this.pid = child.pid ?? 0
    this.startTime = identify(this.pid).startTime
    this.witness = new Witness(root, this)
    this.#exited = once(child, 'exit')
    void this.#exited.then(() => {
      for (const { reject } of this.#pending.values()) reject(new Error('the host has ended'))
    })
    child.on('message', (answer: Answer) => this.#hear(answer))
    onTestFinished(() => this.close())
  }

  say(key: string, text: string): Promise<{ text: string; warmth: string; messages: number }> {
    return this.call('say', key, text)
  }

  stats(): Promise<PoolStats> {
    return this.call('stats')
  }

  workers(): Promise<WorkerInfo[]> {
    return this.call('workers')
  }

  call<Value>(name: string, ...args: string[]): Promise<Value> {
    this.#calls += 1
    const pending = Promise.withResolvers<unknown>()
    pending.promise.catch(() => undefined)
    this.#pending.set(this.#calls, pending)
    this.#child.send({ id: this.#calls, name, args })
    return pending.promise as Promise<Value>
  }

  /** The next event of this name. */
  event<Payload = unknown>(name: string): Promise<Payload> {
    return new Promise((resolve) => {
      const listener = ({ event, payload }: Answer): void => {
        if (event !== name) return
        this.#listeners.delete(listener)
        resolve(payload as Payload)
      }
      this.#listeners.add(listener)
    })
  }

  /** SIGKILL. Resolves when the kernel has buried it. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#exited
  }

  /** Closes the pool and ends the host. One that never answers fails its test, and ends with the process that runs that. */
  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    if (this.#child.connected) await this.call('close').catch(() => undefined)
    if (this.#child.connected) this.#child.disconnect()
    await this.#exited
  }

  /** The most memory it has ever had, in bytes, since `resetPeak()`. */
  get peakBytes(): number {
    const match = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${this.pid}/status`, 'latin1'))
    return Number(match?.[1]) * 1024
  }

  resetPeak(): void {
    writeFileSync(`/proc/${this.pid}/clear_refs`, '5')
  }

  #hear(answer: Answer): void {
    for (const listener of this.#listeners) listener(answer)
    const pending = answer.id === undefined ? undefined : this.#pending.get(answer.id)
    if (answer.id === undefined || pending === undefined) return
    this.#pending.delete(answer.id)
    if (answer.error === undefined) pending.resolve(answer.value)
    else pending.reject(Object.assign(new Error(), answer.error))
  }
}

/** Starts a host on the site's data directory. `beforeOpen`: with the process there and no pool in it yet. */
export async function startHost(
  site: Site,
  { agent, cgroups = true, ...options }: HostOptions = {},
  beforeOpen: (host: ChildHost) => void = () => undefined,
): Promise<ChildHost> {
  const child = fork(fixture, [], {
    execArgv: ['--expose-gc', '--disable-warning=ExperimentalWarning'],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    ...(cgroups ? {} : { execPath: hiding }),
  })
  const host = new ChildHost(child, site.root)
  beforeOpen(host)
  const whole: PoolOptions = {
    dataDir: site.dataDir,
    api: { baseUrl: site.simulator.url, key: 'simulated' },
    agents: { a: agent ?? realAgent() },
    ...options,
  }
  await host.call('open', JSON.stringify(whole))
  return host
}
