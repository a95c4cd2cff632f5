import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { CancelTimer, Clock } from '../clock.ts'
import { thisHost } from './marker.ts'
import { settlesWithin } from './sweep.ts'

/** A sentinel that dies is replaced, but not in a loop. */
const RESTART_DELAY_MS = 1_000

/** A sentinel that was told farewell exits at once; one that does not is ended. */
const FAREWELL_GRACE_MS = 2_000

const FAREWELL = 'farewell'

/** Begins a line that says how long processes may run. */
const LEASE = 'lease '

/** Runs as TypeScript from the sources, as JavaScript from the package. */
const script = fileURLToPath(new URL(`./sentinel${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url))

/** Deno gives a program no rights unless it is told to. */
const RUNTIME_WORDS: readonly string[] = 'deno' in process.versions ? ['run', '--allow-all'] : []

/** Keeps a sentinel beside this host, so that its processes do not outlive it. */
export class Guard {
  readonly #clock: Clock
  readonly #cgroups: readonly string[]
  readonly #compileCache: string | undefined
  readonly #runDir: string
  readonly #onTrouble: (message: string, error: unknown) => void
  #sentinel: ChildProcess | undefined
  #gone: Promise<void> = Promise.resolve()
  #cancelRestart: CancelTimer | undefined
  #dismissed = false
  #lease: number | 'lost' | undefined

  constructor(
    clock: Clock,
    {
      runDir,
      cgroups = [],
      compileCache,
    }: { runDir: string; cgroups?: readonly string[] | undefined; compileCache?: string | undefined },
    onTrouble: (message: string, error: unknown) => void,
  ) {
    this.#clock = clock
    this.#cgroups = cgroups
    this.#compileCache = compileCache
    this.#runDir = runDir
    this.#onTrouble = onTrouble
  }

  get pid(): number | undefined {
    return this.#sentinel?.pid
  }

  /** Posts the sentinel, once; before the first process that it is to guard. */
  post(): void {
    if (this.#sentinel !== undefined || this.#dismissed) return
    const { pid, startTime, bootId } = thisHost
    const sentinel = spawn(
      process.execPath,
      [...RUNTIME_WORDS, script, String(pid), startTime, bootId, this.#runDir, ...this.#cgroups],
      {
        stdio: ['pipe', 'ignore', 'ignore'],
        detached: true,
        env: this.#compileCache === undefined ? {} : { NODE_COMPILE_CACHE: this.#compileCache },
      },
    )
    this.#sentinel = sentinel
    sentinel.stdin?.on('error', () => undefined)
    this.#sendLease()
    // It waits for us; we do not wait for it.
    sentinel.unref()
    ;(sentinel.stdin as unknown as { unref?: () => void } | null)?.unref?.()
    this.#gone = new Promise((resolve) => {
      const ended = (error?: Error): void => {
        resolve()
        if (this.#sentinel === sentinel) this.#replace(error)
      }
      sentinel.once('error', ended)
      sentinel.once('exit', () => ended())
    })
  }

  /** Processes may run until this reading of `Clock.uptime`. `"lost"`: they end at once. */
  lease(until: number | 'lost'): void {
    this.#lease = until
    this.#sendLease()
  }

  #sendLease(): void {
    if (this.#lease !== undefined) this.#sentinel?.stdin?.write(`${LEASE}${this.#lease}\n`)
  }

  /** Lets the sentinel go; resolves when it has. */
  async dismiss(): Promise<void> {
    this.#dismissed = true
    this.#cancelRestart?.()
    const sentinel = this.#sentinel
    this.#sentinel = undefined
    if (sentinel === undefined) return
    sentinel.ref()
    sentinel.stdin?.end(FAREWELL)
    if (!(await settlesWithin(this.#gone, FAREWELL_GRACE_MS, this.#clock))) sentinel.kill('SIGKILL')
    await this.#gone
  }

  #replace(error: Error | undefined): void {
    this.#sentinel = undefined
    if (this.#dismissed) return
    this.#onTrouble('the sentinel that guards against orphans has ended; another one follows', error)
    this.#cancelRestart = this.#clock.after(RESTART_DELAY_MS, () => this.post())
  }
}
