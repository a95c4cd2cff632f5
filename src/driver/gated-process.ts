import { EventEmitter } from 'node:events'
import type { Clock } from '../clock.ts'
import type { ExitCause } from '../errors.ts'
import type { OomCount, OomWatch } from '../memory/oom.ts'
import type { HostCgroup } from '../process/cgroup.ts'
import { spawnOwned } from '../process/spawn.ts'
import type { OwnedExit, OwnedProcess, SpawnRequest } from '../process/spawn.ts'
import { terminate } from '../process/terminate.ts'
import { ConversationGate } from './conversation-gate.ts'
import type { SpawnedProcess, Graces, TerminateReport } from './driver.ts'
import { FrozenTree } from './frozen-tree.ts'
import type { Freezing } from './freezing.ts'
import type { Spool } from './spool.ts'
import { StartupOutput } from './startup-output.ts'

/** A process that has exited may leave its stdout open to a grandchild; its last lines are waited for this long. */
const STDOUT_DRAIN_MS = 500

/** A process that exits closes its stdout a moment before; one that lives on after this has fallen silent for ever. */
const STDOUT_CLOSED_GRACE_MS = 1_000

export interface GatedContext {
  clock: Clock
  oom: OomWatch
  cgroup: HostCgroup | undefined
  freezing: Freezing
  spool: Spool
  /** Its output is over or cannot be understood, although it lives: it is to be ended. */
  onBroken: () => void
  /** Its reader has stopped and its conversation waits, or does no longer. */
  onHeldBack: (heldBack: boolean) => void
  /** A message was too long, and its end was dropped. */
  onCut: (problem: string) => void
}

/** How a child ended, and why. */
export interface GatedExit extends OwnedExit {
  cause: ExitCause
}

/** A child whose stdout passes through the gate: what the SDK may see of it, and what the driver does with it. */
export class GatedProcess extends EventEmitter implements SpawnedProcess {
  readonly stdin: SpawnedProcess['stdin']
  readonly stdout: ConversationGate
  readonly startup: StartupOutput
  /** Undefined: it cannot be frozen. */
  readonly frozen: FrozenTree | undefined
  /** Settles when the child is gone. Never rejects. */
  readonly gone: Promise<GatedExit>
  readonly #owned: OwnedProcess
  readonly #clock: Clock
  readonly #oom: OomWatch
  readonly #onBroken: () => void
  /** What the kernel has killed in its cgroup. */
  readonly #ownKills: OomCount | undefined
  readonly #memoryLimitBytes: number | undefined
  #lastOutputAt: number
  #violation = ''
  #endedByUs = false

  constructor(
    request: SpawnRequest,
    { clock, oom, cgroup, freezing, spool, onBroken, onHeldBack, onCut }: GatedContext,
  ) {
    super()
    this.#clock = clock
    this.#oom = oom
    this.#onBroken = onBroken
    this.#lastOutputAt = clock.now()
    this.#owned = spawnOwned(request, clock, cgroup)
    this.#memoryLimitBytes = request.limits?.memory
    const enclosure = this.#owned.cgroup
    this.#ownKills = enclosure && oom.count(() => enclosure.oomKills)
    this.frozen = enclosure && new FrozenTree(enclosure, freezing, clock)
    this.stdin = this.#owned.child.stdin
    this.startup = new StartupOutput(this.#owned.child.stdout)
    this.stdout = new ConversationGate(this.#owned.child.stdout, spool, {
      onOutput: () => {
        this.#lastOutputAt = clock.now()
      },
      onViolation: (problem) => this.#breakOff(problem),
      onHolding: onHeldBack,
      onCut,
    })
    this.stdout.once('end', () => clock.after(STDOUT_CLOSED_GRACE_MS, () => this.#noteClosedStdout()))
    // What is wrong with its output shows in its exit.
    this.stdout.on('error', () => undefined)
    this.gone = this.#watch()
  }

  get pid(): number | undefined {
    return this.#owned.child.pid
  }

  get alive(): boolean {
    const { exitCode, signalCode, stdin } = this.#owned.child
    return exitCode === null && signalCode === null && stdin.writable
  }

  get lastOutputAt(): number {
    return this.#lastOutputAt
  }

  get killed(): boolean {
    return this.#owned.child.killed
  }

  /** For the SDK, which must not think that it has ended while there is something to read. */
  get exitCode(): number | null {
    return this.stdout.readableEnded ? this.#owned.child.exitCode : null
  }

  get signalCode(): NodeJS.Signals | null {
    return this.stdout.readableEnded ? this.#owned.child.signalCode : null
  }

  /** The SDK's own signals go nowhere: ending the process is ours. */
  kill(): boolean {
    return true
  }

  onStderr(listener: (text: string) => void): void {
    this.#owned.onStderr(listener)
  }

  terminate(graces: Graces): Promise<TerminateReport> {
    this.#endedByUs ||= this.#runs
    this.frozen?.thaw()
    return terminate(this.#owned, graces, this.#clock)
  }

  #noteClosedStdout(): void {
    if (this.#runs) this.#breakOff('it closed its stdout')
  }

  get #runs(): boolean {
    const { pid, exitCode, signalCode } = this.#owned.child
    return pid !== undefined && exitCode === null && signalCode === null
  }

  #breakOff(problem: string): void {
    if (this.#endedByUs) return
    this.#violation ||= problem
    this.#onBroken()
  }

  /** Tells the SDK of the exit only when it has read the last line. */
  async #watch(): Promise<GatedExit> {
    const exit = await this.#owned.exited
    this.stdout.sourceExited()
    this.#clock.after(STDOUT_DRAIN_MS, () => this.stdout.endOfSource(), { keepAlive: true })
    if (this.stdout.readableEnded || this.stdout.destroyed) this.#announce(exit)
    else this.stdout.once('close', () => this.#announce(exit))
    const cause = this.#causeOf(exit)
    this.#ownKills?.stop()
    const limit =
      cause === 'out_of_memory' && this.#owned.cgroup?.reachedMemoryLimit ? this.#memoryLimitBytes : undefined
    return {
      ...exit,
      cause,
      ...(limit === undefined ? {} : { memoryLimitBytes: limit }),
      ...(this.#violation === '' ? {} : { violation: this.#violation }),
    }
  }

  #causeOf({ spawnError, exitCode, signal }: OwnedExit): ExitCause {
    if (spawnError !== undefined) return 'not_started'
    if (this.#endedByUs) return 'ended'
    if (signal !== null) return signal === 'SIGKILL' && this.#wasShortOfMemory ? 'out_of_memory' : 'signal'
    return exitCode === 0 ? 'normal' : 'crash'
  }

  get #wasShortOfMemory(): boolean {
    return this.#ownKills?.killedJustNow() === true || this.#oom.killedJustNow()
  }

  #announce({ spawnError, exitCode, signal }: OwnedExit): void {
    // The SDK would read on from an output that was cut off, unless it is told of an error.
    const error = spawnError ?? (this.#violation === '' ? undefined : new Error(this.#violation))
    if (error !== undefined && this.listenerCount('error') > 0) this.emit('error', error)
    else this.emit('exit', exitCode, signal)
  }
}
