import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { CancelTimer, Clock } from '../clock.ts'
import { MARKER_VARIABLE, PROXY_ID, markerOf } from '../process/marker.ts'
import { settlesWithin } from '../process/sweep.ts'
import { line } from './protocol.ts'
import type { News, Order } from './protocol.ts'

/** The first restart is quick, for turns that wait; then not in a loop. */
const FIRST_DELAY_MS = 50
const LONGEST_DELAY_MS = 5_000
/** One that has lived so long has not failed at its start. */
const SETTLED_MS = 10_000

const LEAVE_MS = 2_000
const STDERR_TAIL = 4_096

/** Of the host's environment: whom to trust, and the compile cache. Nothing secret. */
const PASSED_ON = /^(?:node_compile_cache|node_extra_ca_certs|ssl_cert_file|ssl_cert_dir|systemroot)$/i

/** Runs as TypeScript from the sources, as JavaScript from the package. */
const script = fileURLToPath(new URL(`./proxy${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url))

interface ChildContext {
  clock: Clock
  environment: NodeJS.ProcessEnv
  /** Where it runs: so `ps` shows whose it is. */
  cwd: string
  /** All that a new process has to know. */
  orders: () => Iterable<Order>
  news: (news: News) => void
  trouble: (message: string, error: unknown) => void
}

/** A process that can be made to open a debugger by a signal gives its memory to all processes of its user. */
function flagsOf(environment: NodeJS.ProcessEnv): string[] {
  const quiet = '--disable-sigusr1'
  return [
    '--disable-warning=ExperimentalWarning',
    ...(process.allowedNodeEnvironmentFlags.has(quiet) ? [quiet] : []),
    ...(environment['SSL_CERT_FILE'] === undefined && environment['SSL_CERT_DIR'] === undefined
      ? []
      : ['--use-openssl-ca']),
  ]
}

/** The process of the proxy: started when it is needed, started again when it dies, gone with its host. */
export class ProxyChild {
  readonly #context: ChildContext
  #child: ChildProcess | undefined
  #exited: Promise<void> = Promise.resolve()
  #startedAt = 0
  #failures = 0
  #cancelRestart: CancelTimer | undefined
  #closed = false

  constructor(context: ChildContext) {
    this.#context = context
  }

  get pid(): number | undefined {
    return this.#child?.pid
  }

  /** Starts it, unless it runs. */
  start(): void {
    if (this.#child !== undefined || this.#closed || this.#cancelRestart !== undefined) return
    const { clock, environment, cwd } = this.#context
    const passed = Object.entries(environment).filter(([name]) => PASSED_ON.test(name))
    const child = spawn(process.execPath, [...flagsOf(environment), script], {
      cwd,
      // Buffers of many streams are spread over fewer heaps, which glibc would keep each (126 MiB with 200 streams, not 149).
      env: { ...Object.fromEntries(passed), MALLOC_ARENA_MAX: '2', [MARKER_VARIABLE]: markerOf(PROXY_ID) },
      stdio: ['pipe', 'pipe', 'pipe'],
      // A signal to the host's terminal is for the host.
      detached: true,
      windowsHide: true,
    })
    this.#child = child
    this.#startedAt = clock.now()
    let complaint = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      complaint = (complaint + text).slice(-STDERR_TAIL)
    })
    child.stdin.on('error', () => undefined)
    createInterface({ input: child.stdout }).on('line', (text) => this.#context.news(JSON.parse(text) as News))
    // It lives as long as its host, and keeps no host alive.
    child.unref()
    for (const stream of [child.stdin, child.stdout, child.stderr]) (stream as unknown as { unref(): void }).unref()
    const ended = (error?: Error): void => {
      if (this.#child === child) this.#replace(error ?? endOf(child, complaint))
    }
    child.once('error', ended)
    child.once('exit', () => ended())
    this.#exited = once(child, 'close').then(
      () => undefined,
      () => undefined,
    )
    for (const order of this.#context.orders()) this.tell(order)
  }

  /** Tells it something. A process that is started later is told all there is to know then. */
  tell(order: Order): void {
    this.#child?.stdin?.write(line(order))
  }

  /** Ends it; resolves when it is gone. */
  async close(): Promise<void> {
    this.#closed = true
    this.#cancelRestart?.()
    const child = this.#child
    this.#child = undefined
    if (child === undefined) return
    child.ref()
    child.stdin?.end()
    if (!(await settlesWithin(this.#exited, LEAVE_MS, this.#context.clock))) child.kill('SIGKILL')
    await this.#exited
  }

  #replace(error: Error): void {
    this.#child = undefined
    if (this.#closed) return
    const { clock, trouble } = this.#context
    this.#failures = clock.now() - this.#startedAt > SETTLED_MS ? 0 : this.#failures + 1
    trouble('the credential proxy has ended; another one follows', error)
    const delay = Math.min(FIRST_DELAY_MS * 2 ** Math.max(0, this.#failures - 1), LONGEST_DELAY_MS)
    this.#cancelRestart = clock.after(delay, () => {
      this.#cancelRestart = undefined
      this.start()
    })
  }
}

function endOf({ exitCode, signalCode }: ChildProcess, complaint: string): Error {
  const how = signalCode === null ? `exited with code ${exitCode}` : `was ended by ${signalCode}`
  return new Error(`the credential proxy ${how}${complaint === '' ? '' : `; stderr: ${complaint.trim()}`}`)
}
