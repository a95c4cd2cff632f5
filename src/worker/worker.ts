import type { PermissionAnswer, PermissionQuestion } from '../agents/question.ts'
import type { Clock } from '../clock.ts'
import type {
  AgentProcess,
  ExitFacts,
  Graces,
  SDKMessage,
  SDKUserMessage,
  StartMode,
  TerminateReport,
} from '../driver/driver.ts'
import type { Residency } from '../options/residency.ts'
import { WorkerMemoryError } from '../errors.ts'
import { formatSize } from '../units.ts'
import { nextState } from './lifecycle.ts'
import type { WorkerEvent, WorkerState } from './lifecycle.ts'
import type { SessionOwnership, SessionRef } from '../store/store.ts'
import { Pins } from './pins.ts'
import type { Pin } from './pins.ts'
import type { Warmth, WorkerPurpose } from './warmth.ts'

/** Why a worker closed. */
export type CloseReason =
  | 'idle'
  | 'evicted'
  | 'age'
  | 'turns'
  | 'memory'
  | 'pressure'
  | 'outgrown'
  | 'fingerprint'
  | 'surplus'
  | 'hibernate'
  | 'operator'
  | 'deleted'
  | 'fenced'
  | 'closed'
  | 'exited'
  | 'output'
  | 'start_failed'
  | 'bind_refused'
  | 'limit'
  | 'transcript'
  | 'unresponsive'

/** What listens to a worker while it is busy. */
export interface TurnSink {
  /** Takes one message; true when it was the last of the turn. */
  accept(message: SDKMessage): boolean
  /** The process is about to decide whether a tool call may run. */
  toolCalled?(toolUseId: string): void
  /** A question of the process that its host or user must answer is open (1), or no longer (-1). */
  permissionRequested?(change: 1 | -1): void
  /** What the process says is held back because a reader has stopped, or no longer. */
  heldBack?(heldBack: boolean): void
  permissionAsked?(question: PermissionQuestion): void
  permissionAnswered?(question: PermissionQuestion, answer: PermissionAnswer): void
  /** The process has ended, and everything it said was delivered. */
  workerEnded(exit: ExitFacts, reason: CloseReason, verdict?: Error): void
}

export interface WorkerFacts {
  id: string
  agent: string
  tenant: string
  fingerprint: string
  purpose: WorkerPurpose
  /** Undefined: a spare. */
  owner: WorkerOwner | undefined
  /** Where it runs. `isOwn`: the pool made that directory for it. */
  cwd: { path: string; isOwn: boolean }
  /** Which conversation it holds, and whether that was resumed. */
  conversation: StartMode
}

/** What holds for a process that is there, and changes with its agent's definition. */
export interface WorkerRules {
  /** When it leaves. */
  residency: Residency
  /** What it and all that it starts may use, in bytes. */
  memoryLimitBytes: number
}

/** How a worker closed. */
export interface ClosedWorker {
  reason: CloseReason
  exit: ExitFacts
  report: TerminateReport
}

/** The session that a worker serves: set when it is started for one, or bound to one. */
export interface WorkerOwner {
  readonly ref: SessionRef
  /** This host's claim of the session; undefined if no store is to know the session. */
  readonly ownership: SessionOwnership | undefined
  /** Listens to what the worker says while no turn runs. Undefined: nothing does. */
  unpromptedOf(worker: Worker): TurnSink | undefined
  /** Called with each message, before its turn gets it. */
  said(worker: Worker, message: SDKMessage): void
  /** The process began another conversation (`/clear`). */
  reset(sdkSessionId: string): void
  /** The worker has nothing to do: called when it becomes idle, and then with each round of housekeeping. */
  idle(worker: Worker): void
  closed(worker: Worker, facts: ClosedWorker): void
}

/** What hears of every worker, whether it serves a session or not. */
export interface WorkerListeners {
  changed(worker: Worker, from: WorkerState): void
  /** A turn has begun: its process knows all its tools. */
  initialized(worker: Worker): void
  /** Dealing with its messages threw: the worker leaves. */
  failed(worker: Worker, what: string, error: unknown): void
  closed(worker: Worker, facts: ClosedWorker): void
}

/** Before these, the process already had seconds to answer an interrupt or a probe, or there is no time to ask it. */
const NOT_ASKED: ReadonlySet<CloseReason> = new Set(['limit', 'unresponsive', 'outgrown', 'fenced'])

/** An interrupt is answered within milliseconds, or not at all. */
const INTERRUPT_GRACE_MS = 1_000

/** In mid-turn the end of input means nothing to `claude`; with the 5 s of an interrupt this keeps the end within 7 s. */
const LAST_GRACES: Graces = { eofMs: 0, sigtermMs: 1_000 }

/** One process and what it is for. Its state changes through one table; its end is awaited and verified. */
export class Worker {
  readonly id: string
  readonly agent: string
  readonly tenant: string
  readonly fingerprint: string
  readonly purpose: WorkerPurpose
  /** True when its conversation was resumed. */
  readonly resumed: boolean
  readonly process: AgentProcess
  /** Clock readings, in milliseconds. */
  readonly startedAt: number
  readonly ownsCwd: boolean
  #owner: WorkerOwner | undefined
  #cwd: string
  #sdkSessionId: string | undefined
  #lastUsedAt: number
  #turns = 0
  #warmth: Warmth | undefined
  #wasFrozen = false
  /** Uses that are about to begin. */
  #reservations = 0
  #outdated = false
  #pendingServers: readonly string[] = []
  #memoryBytes: number | undefined
  #state: WorkerState = 'starting'
  readonly #pins: Pins
  #sink: TurnSink | undefined
  /** True while its messages belong to its turn. */
  #attended = false
  #closeReason: CloseReason | undefined
  /** What the turn that runs, or that waits for the start, is to end with. */
  #verdict: Error | undefined
  #retire: CloseReason | undefined
  #closed: Promise<void> | undefined
  #listening: Promise<void> | undefined
  #rules: WorkerRules
  readonly #shareOfMaxAge: number
  readonly #clock: Clock
  readonly #graces: Graces
  readonly #listeners: WorkerListeners
  readonly #preparations: readonly ((turn: { id: string }) => Promise<void>)[]

  constructor(
    facts: WorkerFacts,
    process: AgentProcess,
    context: {
      clock: Clock
      graces: Graces
      rules: WorkerRules
      /** Of `residency.maxAgeMs`: workers of one age need not leave together. */
      shareOfMaxAge: number
      listeners: WorkerListeners
      /** What its agent's in-process tools do before each turn. Default: nothing. */
      preparations?: readonly ((turn: { id: string }) => Promise<void>)[]
    },
  ) {
    this.id = facts.id
    this.agent = facts.agent
    this.tenant = facts.tenant
    this.fingerprint = facts.fingerprint
    this.purpose = facts.purpose
    const { cwd, conversation } = facts
    this.#cwd = cwd.path
    this.ownsCwd = cwd.isOwn
    this.#sdkSessionId = conversation.kind === 'unbound' ? undefined : conversation.sessionId
    this.#owner = facts.owner
    this.resumed = conversation.kind === 'resume' || conversation.kind === 'fork'
    this.process = process
    this.#clock = context.clock
    this.#pins = new Pins(context.clock)
    this.#graces = context.graces
    this.#listeners = context.listeners
    this.#preparations = context.preparations ?? []
    this.#rules = context.rules
    this.#shareOfMaxAge = context.shareOfMaxAge
    this.startedAt = this.#clock.now()
    this.#lastUsedAt = this.startedAt
    process.onHeldBack?.((heldBack) => this.#listener?.heldBack?.(heldBack))
  }

  /** Its agent has another definition for processes that are there. */
  follow(rules: WorkerRules): void {
    this.#rules = rules
  }

  /** Notes whether its agent has another definition by now, or none. It then leaves as soon as it is idle. */
  supersede(outdated: boolean): void {
    this.#outdated = outdated
  }

  get outdated(): boolean {
    return this.#outdated
  }

  /** The session that it serves; undefined while it is a spare. */
  get owner(): WorkerOwner | undefined {
    return this.#owner
  }

  get session(): SessionRef | undefined {
    return this.#owner?.ref
  }

  get cwd(): string {
    return this.#cwd
  }

  /** The conversation that it holds; an unbound one has none yet. */
  get sdkSessionId(): string | undefined {
    return this.#sdkSessionId
  }

  /** Clock reading in milliseconds. */
  get lastUsedAt(): number {
    return this.#lastUsedAt
  }

  get turns(): number {
    return this.#turns
  }

  /** How its last turn found it; undefined before its first. */
  get warmth(): Warmth | undefined {
    return this.#warmth
  }

  recordWarmth(warmth: Warmth): void {
    this.#warmth = warmth
  }

  /** True if it was frozen since its last turn. */
  get wasFrozen(): boolean {
    return this.#wasFrozen
  }

  /** True if it can be frozen. */
  get freezes(): boolean {
    return this.process.freezes === true
  }

  /** What it has paged out, in bytes; undefined unless it is frozen. */
  get swappedBytes(): number | undefined {
    return this.state === 'frozen' ? this.process.swappedBytes : undefined
  }

  /** Stops its process and all it started, and has them paged out, until it is thawed. */
  freeze(): void {
    this.#change('freeze')
    this.#wasFrozen = true
    this.process.freeze?.()
  }

  /** Goes on as an idle one. */
  thaw(): void {
    this.process.thaw?.()
    this.#change('thaw')
  }

  /** True while a use that was asked for is about to begin: the worker must not leave before. */
  get reserved(): boolean {
    return this.#reservations > 0
  }

  /** Keeps the worker from leaving until `unreserve()` has been called as often. */
  reserve(): void {
    this.#reservations += 1
  }

  unreserve(): void {
    this.#reservations -= 1
  }

  get openPermissionRequests(): number {
    return this.#pins.permissionRequests
  }

  /** Clock reading of the last answer to a permission request, in milliseconds. */
  get lastAnswerAt(): number {
    return this.#pins.lastAnswerAt
  }

  /** True while its transcript lacks something in the store: it must not leave meanwhile. */
  get copyFailed(): boolean {
    return this.#pins.transcript
  }

  /** The MCP servers that its process still waits for, by name: its first turn does not begin before. */
  get pendingServers(): readonly string[] {
    return this.#pendingServers
  }

  recordPendingServers(names: readonly string[]): void {
    this.#pendingServers = names
  }

  /** Private memory of its process and all that this started, in bytes, as last measured. */
  get memoryBytes(): number | undefined {
    return this.#memoryBytes
  }

  recordMemory(bytes: number | undefined): void {
    this.#memoryBytes = bytes
  }

  get residency(): Residency {
    return this.#rules.residency
  }

  /** The age at which it leaves, in milliseconds. */
  get maxAgeMs(): number {
    return this.#rules.residency.maxAgeMs * this.#shareOfMaxAge
  }

  get memoryLimitBytes(): number {
    return this.#rules.memoryLimitBytes
  }

  get state(): WorkerState {
    return this.#state
  }

  /** Set when it is to leave as soon as it is idle. */
  get retiring(): CloseReason | undefined {
    return this.#retire
  }

  /** Why it leaves or has left: the first reason. */
  get closeReason(): CloseReason | undefined {
    return this.#closeReason
  }

  /** Settles when it is closed; only to be asked of one that was told to leave. */
  get closed(): Promise<void> {
    return this.#closed ?? Promise.resolve()
  }

  /** What keeps it from leaving, and since when there is anything. */
  get pin(): Pin | undefined {
    return this.#pins.now
  }

  /** Waits for the process and starts to listen to it. Rejects as the process's `ready` does; it has left then. */
  async open(): Promise<void> {
    void this.#watchExit()
    try {
      await this.process.ready
    } catch (error) {
      await this.close('start_failed')
      throw this.#verdict ?? error
    }
    if (this.#state !== 'starting') {
      await this.closed
      throw this.#verdict ?? new Error(`worker ${this.id} left while it started`)
    }
    this.#change('ready')
    this.#lastUsedAt = this.#clock.now()
    this.#listening = this.#listen()
  }

  /** Makes a spare the session's. `cwd`: of an unbound one, which moves there. */
  async bind(owner: WorkerOwner, cwd?: string): Promise<void> {
    this.#owner = owner
    if (cwd === undefined) return
    this.#sdkSessionId = await this.process.bind(cwd)
    this.#cwd = cwd
  }

  /** Claims the worker for a turn, which gets its messages from here on. */
  begin(sink: TurnSink): void {
    this.claim(sink)
    this.attend()
  }

  /** Claims the worker for a turn: nothing else can take it from here on. */
  claim(sink: TurnSink): void {
    this.#change('begin')
    this.#sink = sink
  }

  /** From here on its messages go to the turn that has claimed it. */
  attend(): void {
    this.#attended = true
  }

  /** Resolves when the in-process tools of its agent are ready for this turn; rejects as they do. */
  async prepare(turn: { id: string }): Promise<void> {
    for (const prepare of this.#preparations) await prepare(turn)
  }

  /** Hands a prompt to the process: it may run from then on. False: it was not handed over. */
  send(message: SDKUserMessage): Promise<boolean> {
    return this.process.send(message)
  }

  /** The turn is over. */
  finish(): void {
    if (this.#state !== 'busy') return
    this.#turns += 1
    this.#wasFrozen = false
    this.#lastUsedAt = this.#clock.now()
    this.release()
  }

  /** Gives back a worker that was begun with, without counting a turn. */
  release(): void {
    this.#forgetTurn()
    if (this.#state !== 'busy') return
    this.#change('finish')
    if (this.#retire !== undefined) void this.close(this.#retire)
  }

  /** The turn has no reader any more: its remaining messages are discarded. */
  mute(): void {
    this.#forgetTurn()
    this.process.consumed()
  }

  /** Leaves when idle: at once, or after the turn that runs. */
  retire(reason: CloseReason): void {
    if (this.#state === 'busy' || this.#state === 'starting') this.#retire ??= reason
    else void this.close(reason)
  }

  /** Ends the process and all it started; resolves when that is verified. The first reason counts. */
  close(reason: CloseReason): Promise<void> {
    this.#closed ??= this.#close(reason)
    return this.#closed
  }

  /** Ends the process because of what `verdict` says, and the turn that uses it with that. */
  end(verdict: Error): Promise<void> {
    this.#verdict ??= verdict
    return this.close('outgrown')
  }

  recordBackgroundTasks(ids: readonly string[]): void {
    this.#pins.recordTasks(new Set(ids).size)
  }

  recordPermissionRequest(change: 1 | -1, of: PermissionQuestion['asks'] = 'permission'): void {
    this.#pins.recordPermissionRequest(change)
    // A tool that the client executes is a call that runs.
    if (of === 'permission') this.#listener?.permissionRequested?.(change)
  }

  called(toolUseId: string): void {
    this.#listener?.toolCalled?.(toolUseId)
  }

  permissionAsked(question: PermissionQuestion): void {
    this.#listener?.permissionAsked?.(question)
  }

  permissionAnswered(question: PermissionQuestion, answer: PermissionAnswer): void {
    this.#listener?.permissionAnswered?.(question, answer)
  }

  /** Whether it speaks unprompted: it must not leave meanwhile. */
  recordUnprompted(speaks: boolean): void {
    this.#pins.recordUnprompted(speaks)
    if (!speaks) this.#lastUsedAt = this.#clock.now()
  }

  /** Whether what it has said could not be copied yet. */
  recordCopy({ failed }: { failed: boolean }): void {
    this.#pins.recordCopy(failed)
  }

  async #close(reason: CloseReason): Promise<void> {
    this.#closeReason = reason
    const wasBusy = this.#state === 'busy'
    this.#change('leave')
    if (wasBusy && this.process.alive && !NOT_ASKED.has(reason)) await this.#stopTurn()
    const report = await this.process.terminate(NOT_ASKED.has(reason) ? LAST_GRACES : this.#graces)
    const exit = await this.process.exited
    await this.#listening
    // Its driver ends by itself what breaks the protocol; here it only looks as if it had exited.
    if (reason === 'exited' && exit.violation !== undefined) this.#closeReason = 'output'
    this.#verdict ??= killedByItsLimit(exit)
    this.#unprompted?.workerEnded(exit, this.#closeReason, this.#verdict)
    this.#sink?.workerEnded(exit, this.#closeReason, this.#verdict)
    this.#forgetTurn()
    this.#change('gone')
    this.#listeners.closed(this, { reason: this.#closeReason, exit, report })
  }

  /** In mid-turn a process does not heed the end of its input; one that was interrupted does. */
  async #stopTurn(): Promise<void> {
    const waited = Promise.withResolvers<void>()
    const cancel = this.#clock.after(INTERRUPT_GRACE_MS, waited.resolve, { keepAlive: true })
    await Promise.race([this.process.interrupt().catch(() => undefined), this.process.exited, waited.promise])
    cancel()
  }

  async #watchExit(): Promise<void> {
    await this.process.exited
    if (this.#state === 'starting') return
    void this.close('exited')
  }

  async #listen(): Promise<void> {
    let hearing: SDKMessage['type'] | undefined
    try {
      for await (const message of this.process.messages) {
        hearing = message.type
        this.#hear(message)
        hearing = undefined
      }
    } catch (error) {
      // How the process ended is known from its exit, which says more than the SDK's error; what failed here is ours to tell.
      if (hearing !== undefined) this.#listeners.failed(this, `a message "${hearing}" could not be dealt with`, error)
    }
    void this.close('exited')
  }

  #hear(message: SDKMessage): void {
    this.#note(message)
    if (this.#sink !== undefined && this.#attended) {
      if (this.#sink.accept(message)) this.finish()
      return
    }
    this.#unprompted?.accept(message)
    this.process.consumed()
  }

  /** What a message says of the process itself, whichever turn it belongs to. */
  #note(message: SDKMessage): void {
    if (message.type === 'system' && message.subtype === 'background_tasks_changed') {
      this.recordBackgroundTasks(message.tasks.filter(({ ambient }) => ambient !== true).map(({ task_id }) => task_id))
    }
    this.#owner?.said(this, message)
    if (message.type !== 'system' || message.subtype !== 'init') return
    this.#listeners.initialized(this)
    // `/clear` begins another conversation in the same process; its id comes with the first message of it.
    if (this.#sdkSessionId === undefined || message.session_id === this.#sdkSessionId) return
    this.#sdkSessionId = message.session_id
    this.#owner?.reset(message.session_id)
  }

  get #listener(): TurnSink | undefined {
    return this.#attended ? this.#sink : this.#unprompted
  }

  get #unprompted(): TurnSink | undefined {
    return this.#owner?.unpromptedOf(this)
  }

  #forgetTurn(): void {
    this.#sink = undefined
    this.#attended = false
  }

  #change(event: WorkerEvent): void {
    const from = this.#state
    const to = nextState(from, event)
    if (to === undefined) throw new Error(`worker ${this.id}: "${event}" is not possible while ${from}`)
    this.#state = to
    this.#listeners.changed(this, from)
  }
}

/** The kernel has held the process to `isolation.memory`. */
function killedByItsLimit({ memoryLimitBytes: limit }: ExitFacts): WorkerMemoryError | undefined {
  if (limit === undefined) return undefined
  const what = `the agent process and what it started reached the ${formatSize(limit)} of isolation.memory, and the kernel killed the process`
  const after = "the prompt may have run, and the session's next turn resumes"
  return new WorkerMemoryError('worker', limit, limit, `${what}; ${after}`)
}
