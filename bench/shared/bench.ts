import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { availableParallelism, cpus, loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { resultOf, table } from './report.ts'
import type { Row } from './report.ts'

/** Every process of a benchmark inherits it, so that none is left behind. */
export const MARK = 'CLAUDE_AGENT_POOL_BENCH'

const QUIET_SHARE = 0.85
const LEAVE_MS = 8_000

/** What a benchmark is given. */
export interface Bench {
  /** A directory of its own, removed at the end. */
  readonly dir: string
  /** Where the simulated model listens. */
  readonly url: string
  /** Fewer rounds: to see that it works, not to measure. */
  readonly quick: boolean
  /** What ends before the benchmark does, newest first. */
  readonly owned: AsyncDisposableStack
  /** Requests that the model is answering now. */
  readonly openRequests: () => Promise<number>
}

interface Cores {
  idle: number
  total: number
}

function coreTimes(): Cores {
  let idle = 0
  let total = 0
  for (const { times } of cpus()) {
    idle += times.idle
    total += Object.values(times).reduce((sum, time) => sum + time, 0)
  }
  return { idle, total }
}

/** Waits until the cores are mostly idle over `windowMs`, or `limitMs` are over. False: they never were. */
export async function calm(windowMs = 100, limitMs = 3_000): Promise<boolean> {
  const deadline = performance.now() + limitMs
  for (;;) {
    const before = coreTimes()
    await sleep(windowMs)
    const after = coreTimes()
    if (after.idle - before.idle >= QUIET_SHARE * (after.total - before.total)) return true
    if (performance.now() >= deadline) return false
  }
}

/** Pids of processes whose environment has a value of the mark that begins so. */
export function left(mark: string): number[] {
  return readdirSync('/proc').flatMap((entry) => {
    const pid = Number(entry)
    if (!Number.isInteger(pid) || pid === process.pid) return []
    try {
      return `\0${readFileSync(`/proc/${pid}/environ`, 'latin1')}`.includes(`\0${MARK}=${mark}`) ? [pid] : []
    } catch {
      return []
    }
  })
}

/** Waits until no process has this mark; what is left after `limitMs` is killed. */
export async function gone(mark: string, limitMs: number = LEAVE_MS): Promise<void> {
  const deadline = performance.now() + limitMs
  for (let pids = left(mark); pids.length > 0; pids = left(mark)) {
    if (performance.now() > deadline) {
      for (const pid of pids) process.kill(pid, 'SIGKILL')
    }
    await sleep(10)
  }
}

/**
 * A wrapper for hosts whose memory is compared, as `deploy/` runs them. V8 keeps the pages of a young generation that grew
 * once, 100 MiB with its own bounds, and whether it grows is a matter of moments.
 */
export const SMALL_YOUNG_GENERATION: readonly string[] = ['env', 'NODE_OPTIONS=--max-semi-space-size=2']

/** Starts a file of bench/ with a channel to it; it ends when this process does. `wrapper`: the words before its command line. */
export function startRole(
  file: string,
  args: readonly string[],
  mark: string,
  wrapper: readonly string[] = [],
): ChildProcess {
  const [execPath = '', ...words] = wrapper.concat(process.execPath)
  return fork(join(import.meta.dirname, '..', file), [...args], {
    execPath,
    execArgv: [...words, '--disable-warning=ExperimentalWarning', '--expose-gc'],
    env: { ...process.env, [MARK]: mark },
    serialization: 'advanced',
  })
}

/** The next message of a child. Rejects when it ends instead. */
export async function reply<T>(child: ChildProcess): Promise<T> {
  const stop = new AbortController()
  try {
    const ended = once(child, 'exit', { signal: stop.signal }).then(([code]) => {
      throw new Error(`${child.spawnargs.join(' ')} ended with ${String(code)}`)
    })
    const [message] = (await Promise.race([once(child, 'message', { signal: stop.signal }), ended])) as [T]
    return message
  } finally {
    stop.abort()
  }
}

async function startSimulator(dir: string, owned: AsyncDisposableStack): Promise<Pick<Bench, 'url' | 'openRequests'>> {
  const child = startRole('simulated-model.ts', [], dir)
  owned.defer(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.disconnect()
    await exited
  })
  const { url } = await reply<{ url: string }>(child)
  const openRequests = async (): Promise<number> => {
    child.send('open')
    return (await reply<{ open: number }>(child)).open
  }
  return { url, openRequests }
}

function endOnSignals(end: () => Promise<void>): void {
  for (const [signal, code] of [['SIGINT', 130] as const, ['SIGTERM', 143] as const]) {
    process.on(signal, () => {
      void end().finally(() => process.exit(code))
    })
  }
}

/** Runs one benchmark: a table or JSON on stdout, and exit code 1 when a reach is missed. */
export async function bench(measure: (bench: Bench) => Promise<Row[]>): Promise<void> {
  const flags = process.argv.slice(2)
  const quick = flags.includes('--quick')
  const dir = mkdtempSync(join(tmpdir(), 'pool-bench-'))
  const owned = new AsyncDisposableStack()
  let ending: Promise<void> | undefined
  const end = (): Promise<void> =>
    (ending ??= (async () => {
      await owned.disposeAsync()
      await gone(dir)
      rmSync(dir, { recursive: true, force: true, maxRetries: 5 })
    })())
  endOnSignals(end)
  try {
    const simulator = await startSimulator(dir, owned)
    const quiet = await calm(1_000, quick ? 1_000 : 60_000)
    if (!quiet) console.error(`the machine is busy (load ${loadavg()[0]?.toFixed(2)}): expect a wide spread`)
    const results = (await measure({ dir, quick, owned, ...simulator })).map(resultOf)
    if (flags.includes('--json')) console.log(JSON.stringify({ cores: availableParallelism(), quick, quiet, results }))
    else console.log(`${table(results)}\n`)
    if (results.some(({ ok }) => ok === false)) process.exitCode = 1
  } catch (error) {
    // What an interrupt tore down on purpose is not reported.
    if (ending === undefined) {
      console.error(error)
      process.exitCode = 2
    }
  } finally {
    await end()
  }
  process.exit()
}
