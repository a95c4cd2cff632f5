import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { constants, getPriority, setPriority } from 'node:os'
import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import type { Writable } from 'node:stream'
import { systemClock } from '../clock.ts'
import type { Clock } from '../clock.ts'
import { StartError } from '../errors.ts'
import type { ExitFacts } from '../errors.ts'
import { readSmallFile } from '../small-file.ts'
import type { HostCgroup, WorkerCgroup } from './cgroup.ts'
import type { WorkerLimits } from '../options/cgroup-limits.ts'
import { MARKER_VARIABLE, markerOf, thisHost } from './marker.ts'
import { register } from './registered.ts'
import { ProcessTable } from './table.ts'
import { workerTree } from './tree.ts'
import type { RememberedTree } from './tree.ts'
import { windowsCommand } from './windows-command.ts'

/** The last this many bytes of stderr are kept for error messages. */
const STDERR_TAIL_BYTES = 8 * 1024

/** Of −1000…1000: well above the host's, below what is meant to die first. */
const OOM_SCORE_ADJ = '500'

/** Added to the host's niceness. A third of its weight: what all workers wait for is the host, and it needs little. */
const NICER_BY = 5

/** After the exit, stderr may still hold lines; a grandchild that inherited it may keep it open for ever. */
const STDERR_DRAIN_MS = 200

/** One for the host: what was read for one worker serves the others. */
const table = new ProcessTable()

/** A child process that this host started, and everything that carries its marker. */
export interface OwnedProcess {
  readonly child: ChildProcessWithoutNullStreams
  /** The child and everything it starts. */
  readonly tree: RememberedTree
  /** Its cgroup, where it could be given one. */
  readonly cgroup: WorkerCgroup | undefined
  /** The child is a sandbox, and the process itself lives in it. */
  readonly isSandbox: boolean
  /** Calls the listener with its stderr: the last 8 KiB so far, and everything that follows. */
  onStderr(listener: (text: string) => void): void
  /** Settles when the child is gone. `spawnError` is set when it never existed. Never rejects. */
  readonly exited: Promise<OwnedExit>
}

/** How a child ended, as the kernel tells it. */
export interface OwnedExit extends Omit<ExitFacts, 'cause'> {
  spawnError?: Error
}

export interface SpawnRequest {
  workerId: string
  command: string
  args: readonly string[]
  cwd: string
  env: Readonly<Record<string, string | undefined>>
  /** The command makes a sandbox: its signals and exits are those of the process inside. */
  isSandbox?: boolean
  /** What its cgroup limits: without that it does not start. */
  limits?: WorkerLimits | undefined
}

/** What has children at once, or limits, starts when it is in its cgroup. Without a host it does not start. */
const GATED = 'read -r go <&3 && exec 3<&- && exec "$@"'

/** Exit codes of a sandbox from here on tell of a signal to the process inside. */
const SIGNALLED = 128

const signalOf = (code: number): NodeJS.Signals | undefined =>
  (Object.entries(constants.signals) as [NodeJS.Signals, number][]).find(
    ([, number]) => number === code - SIGNALLED,
  )?.[0]

function ownSessionNiceness(): number {
  return Number(/ nice (-?\d+)/.exec(readSmallFile('/proc/self/autogroup'))?.[1] ?? 0)
}

/** Makes the kernel prefer the host: for a core that both want, and to stay when memory runs out. Needs no privilege. */
function preferHostTo(pid: number): void {
  const nicer = (own: number): number => Math.min(own + NICER_BY, constants.priority.PRIORITY_LOW)
  const wishes = [() => setPriority(pid, nicer(getPriority()))]
  if (process.platform === 'linux') {
    const write = (file: string, value: string): void => writeFileSync(`/proc/${pid}/${file}`, value)
    wishes.push(() => write('oom_score_adj', OOM_SCORE_ADJ))
    // Outside of containers the scheduler weighs sessions first, and a child has its own.
    wishes.push(() => write('autogroup', String(nicer(ownSessionNiceness()))))
  }
  for (const wish of wishes) {
    try {
      wish()
    } catch {
      // It may be gone already, or the kernel may be without: these are preferences, not needs.
    }
  }
}

/** The worker's cgroup. Without one that limits what is to be limited, nothing is started. */
function encloses({ workerId, limits }: SpawnRequest, cgroup: HostCgroup | undefined): WorkerCgroup | undefined {
  try {
    if (limits !== undefined && cgroup === undefined) throw new Error('this host has no cgroup')
    return cgroup?.enclose(workerId, limits)
  } catch (cause) {
    throw new StartError(
      'isolation',
      `the limits of isolation could not be set: ${(cause as Error).message}`,
      undefined,
      {
        cause,
      },
    )
  }
}

/** Starts a child in a process group of its own, marked, with its stderr always drained. Throws StartError if its limits cannot be set. */
export function spawnOwned(request: SpawnRequest, clock: Clock, cgroup?: HostCgroup): OwnedProcess {
  const { command, args, verbatim } =
    process.platform === 'win32'
      ? windowsCommand(request.command, request.args)
      : { command: request.command, args: [...request.args], verbatim: false }
  const { isSandbox = false, limits } = request
  const isGated = isSandbox || limits !== undefined
  const gated = isGated ? ['sh', '-c', GATED, 'sh', command, ...args] : [command, ...args]
  const enclosure = encloses(request, cgroup)
  const child = spawn(gated[0] as string, gated.slice(1), {
    cwd: request.cwd,
    env: { ...request.env, [MARKER_VARIABLE]: markerOf(request.workerId) },
    stdio: ['pipe', 'pipe', 'pipe', ...(isGated ? (['pipe'] as const) : [])],
    detached: true,
    windowsHide: true,
    windowsVerbatimArguments: verbatim,
  }) as ChildProcessWithoutNullStreams
  let tail = ''
  child.stderr.setEncoding('utf8')
  child.stderr.on('data', (text: string) => {
    tail = (tail + text).slice(-STDERR_TAIL_BYTES)
  })
  if (child.pid !== undefined) {
    register({ pid: child.pid, startTime: String(systemClock.wall()) }, { host: thisHost, workerId: request.workerId })
    preferHostTo(child.pid)
  }
  const gate = child.stdio[3] as Writable | undefined
  gate?.on('error', () => undefined)
  let problem: Error | undefined
  const admitted = child.pid === undefined ? undefined : enclosure?.admit(child.pid)
  if (admitted === undefined) gate?.end('\n')
  admitted?.then(
    () => gate?.end('\n'),
    (error: Error) => {
      if (limits === undefined) {
        enclosure?.remove()
        gate?.end('\n')
        return
      }
      problem = new Error(`it could not be put into its cgroup: ${error.message}`, { cause: error })
      // Its gate stays closed: it ends by itself.
      gate?.end()
    },
  )
  // A child that is gone answers writes with EPIPE; without listeners that would end the host.
  const ignore = (): void => undefined
  for (const stream of [child.stdin, child.stdout, child.stderr]) stream.on('error', ignore)
  const exited = new Promise<OwnedExit>((resolve) => {
    child.once('error', (spawnError) => {
      if (child.pid === undefined) resolve({ exitCode: null, signal: null, stderr: tail, spawnError })
    })
    child.once('exit', (code, ownSignal) => {
      const signal = ownSignal ?? (isSandbox && code !== null && code > SIGNALLED ? (signalOf(code) ?? null) : null)
      const exitCode = signal === null ? code : null
      const done = (): void => {
        cancel()
        resolve({ exitCode, signal, stderr: tail, ...(problem === undefined ? {} : { spawnError: problem }) })
      }
      const cancel = clock.after(STDERR_DRAIN_MS, done, { keepAlive: true })
      if (child.stderr.readableEnded) done()
      else child.stderr.once('end', done)
    })
  })
  return {
    child,
    onStderr(listener) {
      if (tail !== '') listener(tail)
      child.stderr.on('data', listener)
    },
    cgroup: enclosure,
    isSandbox,
    tree: workerTree(request.workerId, table, enclosure?.path),
    exited,
  }
}
