import { randomUUID } from 'node:crypto'
import type { CancelTimer, Clock } from '../clock.ts'
import type { ExitFacts, InterruptReceipt, SDKMessage, SDKResultMessage, SDKUserMessage } from '../driver/driver.ts'
import {
  AuthenticationError,
  BudgetError,
  TurnInterruptedError,
  TurnTimeoutError,
  WorkerExitedError,
} from '../errors.ts'
import { formatDuration } from '../units.ts'
import type { CloseReason, TurnSink, Worker } from '../worker/worker.ts'
import { withContext } from './prompt.ts'
import type { NumberedEvent } from '../journal/journal.ts'
import { TurnReader } from './turn-reader.ts'
import type { TurnJournal } from './turn-journal.ts'
import type { PermissionAnswer, PermissionQuestion } from '../agents/question.ts'
import type { TurnLimits } from '../options/limits.ts'
import type { Warmth } from '../worker/warmth.ts'
import { TurnLog } from './turn-log.ts'
import { TurnPhases } from './turn-phases.ts'
import type { FollowOptions, TurnFollower, TurnSubscriber } from './turn-log.ts'

/** What a reader that stops iterating does to the turn. */
export type OnLeave = 'interrupt' | 'detach'

/** One user input until its result. Iterate it for the SDK's messages, or await `result` alone. */
export interface Turn extends AsyncIterableIterator<SDKMessage, undefined, undefined> {
  readonly id: string
  /** The turn's `result` message. Rejects with what ended the turn instead; that is never an unhandled rejection. */
  readonly result: Promise<SDKResultMessage>
  /**
   * The event of the prompt, once it is durable: from then on it is not lost, whatever happens. Undefined where events are
   * not kept. Rejects with what ended the turn before; that is never an unhandled rejection.
   */
  readonly promptStored: Promise<NumberedEvent | undefined>
  /** How the turn found its process; undefined while it waits for one. */
  readonly warmth: Warmth | undefined
  /** Messages that were dropped without a reader: no reader ever came, or it had stopped at the end of the turn. */
  readonly droppedMessages: number
  /**
   * Another reader of this turn, with numbered messages. Any number of followers may come at any time; each reads at its own
   * pace, and a slow one holds neither the turn nor the others unless it asks for that (`onSlow: 'wait'`). From the first call
   * on, the newest 1 MiB of JSON is kept for followers that come later, also after the end of the turn. So call it right after
   * `send()` to keep a turn from its beginning. Throws ConfigError.
   */
  follow(options?: FollowOptions): TurnFollower
  /** Stops the turn and resolves when the process has taken note. The turn then ends with a result, as in the SDK. */
  interrupt(): Promise<void>
}

/** What a turn needs of the worker that runs it. */
export interface TurnWorker {
  readonly id: string
  readonly process: {
    readonly lastOutputAt: number
    readonly heldBack: boolean
    interrupt(): Promise<InterruptReceipt | void>
    consumed(): void
  }
  readonly openPermissionRequests: number
  /** MCP servers that the process still waits for. */
  readonly pendingServers?: readonly string[]
  /** Clock reading of the last answer to a permission request. */
  readonly lastAnswerAt: number
  send(message: SDKUserMessage): Promise<boolean>
  /** Ends the process; the turn then hears of it. */
  close(reason: 'limit' | 'unresponsive' | 'exited'): Promise<void>
}

/** After an interrupt or a limit, a process that does not end its turn within this is ended itself. */
const INTERRUPT_GRACE_MS = 5_000

/** A prompt that the process has not begun by then is interrupted all the same. */
const BEGIN_GRACE_MS = 1_000

/** The CLI retries a refused credential ten times, for minutes. Once more than the first is enough to rule out a rotation. */
const CREDENTIAL_REFUSALS = 2

const REFUSED_CREDENTIAL =
  'the model API refuses the credential of this pool; check api.key, or ANTHROPIC_API_KEY if that is left out'

const NO_CREDENTIAL =
  'there is no credential for the model; set ANTHROPIC_API_KEY or api.key, or try the simulated model: npx claude-agent-pool simulate'

/** Whether the CLI says that it has no credential at all. */
const isLoggedOut = (message: SDKMessage): boolean =>
  message.type === 'assistant' && JSON.stringify(message.message.content).includes('Not logged in')

type TurnState = 'waiting' | 'running' | 'ended'

/** The inside of a turn. All its endings meet in `#end`, and the first one counts. */
export class RunningTurn implements Turn, TurnSink {
  readonly id: string = randomUUID()
  readonly result: Promise<SDKResultMessage>
  readonly message: SDKUserMessage
  /** The caller's trace. */
  readonly traceparent: string | undefined
  /** What it does or waits for, and for how long it did. */
  readonly phases: TurnPhases
  readonly #clock: Clock
  readonly #limits: TurnLimits
  readonly #onLeave: OnLeave
  readonly #result = Promise.withResolvers<SDKResultMessage>()
  readonly #kept = Promise.withResolvers<NumberedEvent | undefined>()
  #promptStored: Promise<NumberedEvent | undefined> | undefined
  readonly #ended = Promise.withResolvers<void>()
  readonly #handed = Promise.withResolvers<void>()
  readonly #underway = Promise.withResolvers<void>()
  readonly #mainReader = new TurnReader(() => this.#readerCaughtUp())
  readonly #readers: TurnSubscriber[] = [this.#mainReader]
  #log: TurnLog | undefined
  /** Messages that its readers were given. */
  #delivered = 0
  /** Prompts whose result has not come. A steered turn has several. */
  readonly #pending = new Set<string>()
  /** Results that have come. */
  #results = 0
  /** Prompts that the process has, or may have. */
  #handedOver = 0
  readonly #timers = new Set<CancelTimer>()
  #state: TurnState = 'waiting'
  #worker: TurnWorker | undefined
  #warmth: Warmth | undefined
  #lastResult: SDKResultMessage | undefined
  #failure: Error | undefined
  #interrupting: Promise<void> | undefined
  #credentialRefusals = 0
  #firstMessageMs: number | undefined
  /** Silence counts from here at the earliest. */
  #quietSince = 0
  /** Called when the turn is interrupted before it has a worker. */
  onCancel: (() => void) | undefined
  /** Called with the last result, before readers see it. If it rejects, the turn ends with that error instead. */
  onResult: (() => Promise<void>) | undefined
  /** Called with the worker before it has the prompt, which waits for it. */
  onWorker: ((worker: Worker) => Promise<void>) | undefined
  /** The agent whose options it is to run with; undefined: the session's. */
  agent: string | undefined
  /** What the process said to the interrupt. */
  receipt: InterruptReceipt | undefined
  /** Called as the turn ends, before anybody can see that it has. */
  onEnd: (() => void) | undefined
  #record: TurnJournal | undefined
  /** True once its result has come and is on its way to the disk: nothing else can end it. */
  #concluding = false

  constructor(
    message: SDKUserMessage,
    context: { clock: Clock; limits: TurnLimits; onLeave: OnLeave; traceparent?: string | undefined },
  ) {
    this.message = { ...message, uuid: message.uuid ?? randomUUID() }
    this.#clock = context.clock
    this.phases = new TurnPhases(context.clock)
    this.#limits = context.limits
    this.#onLeave = context.onLeave
    this.traceparent = context.traceparent
    this.result = this.#result.promise
    this.result.catch(() => undefined)
    this.#kept.promise.catch(() => undefined)
  }

  get warmth(): Warmth | undefined {
    return this.#warmth
  }

  /** What it leaves in its session's journal, if that keeps any. */
  get record(): TurnJournal | undefined {
    return this.#record
  }

  keepIn(record: TurnJournal): void {
    this.#record = record
    record.kept.then(this.#kept.resolve, this.#kept.reject)
  }

  get promptStored(): Promise<NumberedEvent | undefined> {
    if (this.#promptStored === undefined) {
      this.#promptStored = this.#acknowledge()
      this.#promptStored.catch(() => undefined)
    }
    return this.#promptStored
  }

  /** The turn does not wait for the disk; `promptStored` does. */
  async #acknowledge(): Promise<NumberedEvent | undefined> {
    const prompt = await this.#kept.promise
    try {
      await this.#record?.flush()
    } catch (error) {
      this.abort(error as Error)
      throw error
    }
    return prompt
  }

  get state(): TurnState {
    return this.#state
  }

  /** Settles when the turn has ended, however. Never rejects. */
  get ended(): Promise<void> {
    return this.#ended.promise
  }

  get failure(): Error | undefined {
    return this.#failure
  }

  get resultMessage(): SDKResultMessage | undefined {
    return this.#lastResult
  }

  /** The worker that had the prompt. */
  get workerId(): string | undefined {
    return this.#worker?.id
  }

  /** Milliseconds from `send()` to the first assistant message. */
  get firstMessageMs(): number | undefined {
    return this.#firstMessageMs
  }

  get droppedMessages(): number {
    return this.#mainReader.dropped
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  next(): Promise<IteratorResult<SDKMessage, undefined>> {
    return this.#mainReader.next()
  }

  async return(): Promise<IteratorResult<SDKMessage, undefined>> {
    await this.leave(this.#mainReader)
    return { done: true, value: undefined }
  }

  /** A reader has stopped. The last one to go interrupts the turn, unless it was to detach. */
  async leave(reader: TurnReader): Promise<void> {
    reader.leave()
    await this.#readerLeft()
  }

  async #readerLeft(): Promise<void> {
    if (this.#state === 'ended') return
    this.#readerCaughtUp()
    if (this.#onLeave === 'detach' || this.#readers.some((other) => !other.left)) return
    void this.interrupt()
    await this.ended
  }

  /** Its reader is going to come: what is said until then is kept, or held back. */
  awaitReader(): void {
    this.#mainReader.attach()
  }

  follow(options: FollowOptions = {}): TurnFollower {
    this.#log ??= this.openLog(this.#delivered)
    return this.#log.follow(options)
  }

  /** A log of what the turn says from now on. `last`: the number of messages before. */
  openLog(last: number): TurnLog {
    const log = new TurnLog(last, {
      onCaughtUp: () => this.#readerCaughtUp(),
      onLeft: () => this.#readerLeft(),
    })
    this.#subscribe(log)
    return log
  }

  /** Another reader of the same turn, from now on. */
  join(): TurnReader {
    const reader = new TurnReader(() => this.#readerCaughtUp())
    this.#subscribe(reader)
    return reader
  }

  #subscribe(reader: TurnSubscriber): void {
    if (this.#failure !== undefined) reader.stopHolding()
    if (this.#state === 'ended') reader.end(this.#failure)
    this.#readers.push(reader)
  }

  /** Gives the turn its worker and hands over the prompt. `notices`: system reminders for the agent beside it. */
  async run(worker: TurnWorker, warmth: Warmth, notices: readonly string[] = []): Promise<void> {
    if (this.#state !== 'waiting') return
    this.#state = 'running'
    this.#worker = worker
    this.#warmth = warmth
    this.phases.enter('prompt', () => awaitedServers(worker))
    this.phases.holdBack(worker.process.heldBack)
    this.#watchLimits(worker)
    const handed = this.#hand(withContext(this.message, notices))
    this.#handed.resolve()
    if (this.#record === undefined) this.#kept.resolve(undefined)
    await handed
  }

  /** Adds a prompt to the turn that runs, which ends when all its prompts have results. False: it had ended before. `kept`: its event is durable. */
  async steer(message: SDKUserMessage, kept: (event: NumberedEvent | undefined) => void): Promise<boolean> {
    await Promise.race([this.#handed.promise, this.ended])
    if (this.#isEnded()) return false
    kept(await this.#record?.steer(message))
    if (this.#isEnded()) return false
    await this.#hand({ ...message, uuid: message.uuid ?? randomUUID() })
    return true
  }

  async #hand(message: SDKUserMessage): Promise<void> {
    if (message.uuid !== undefined) this.#pending.add(message.uuid)
    const worker = this.#worker
    this.#handedOver += 1
    if (worker === undefined || (await worker.send(message))) return
    this.#handedOver -= 1
    // A process that takes no prompt has ended, or is about to.
    void worker.close('exited')
  }

  interrupt(): Promise<void> {
    this.#interrupting ??= this.#interrupt()
    return this.#interrupting
  }

  /** Ends the turn with an error, now; a process that still works on it is interrupted. */
  abort(error: Error): void {
    if (this.#state === 'waiting') this.#end(error)
    else if (this.#state === 'running' && !this.#concluding) {
      this.#failure ??= error
      // A reader that has stopped must not keep a turn whose end it will be told anyway.
      for (const reader of this.#readers) reader.stopHolding()
      this.#readerCaughtUp()
      void this.interrupt()
    }
  }

  /** Ends the turn with an error without asking the process. */
  fail(error: Error): void {
    this.#end(error)
  }

  accept(message: SDKMessage): boolean {
    this.phases.hear(message)
    if (this.#isUnderway(message)) this.#underway.resolve()
    // Only our own prompt ids make the CLI tell of its queue; a plain query never shows it.
    if (lifecycleOf(message) !== undefined) return false
    if (message.type === 'assistant') this.#firstMessageMs ??= this.phases.totalMs
    // What the CLI says of a credential is for its own users: the turn's error says what to do here.
    if (this.#recordCredential(message) && message.type === 'assistant') return false
    if (message.type === 'result' && this.#isLast(message)) {
      void this.#conclude(message)
      return true
    }
    this.#record?.recordMessage(message, false).catch((error: unknown) => this.abort(error as Error))
    this.#deliver(message)
    return false
  }

  toolCalled(toolUseId: string): void {
    this.#record?.recordCall(toolUseId)
  }

  permissionRequested(change: 1 | -1): void {
    this.phases.questions(change)
  }

  heldBack(heldBack: boolean): void {
    this.phases.holdBack(heldBack)
  }

  permissionAsked(question: PermissionQuestion): void {
    this.phases.asked(question)
    this.#record?.recordQuestion(question)
  }

  permissionAnswered(question: PermissionQuestion, answer: PermissionAnswer): void {
    this.phases.answered(question)
    this.#record?.recordAnswer(question, answer)
  }

  #deliver(message: SDKMessage): void {
    this.#delivered += 1
    for (const reader of this.#readers) reader.push(message)
    this.#readerCaughtUp()
  }

  /** A result is told once it cannot be lost any more. */
  async #conclude(result: SDKResultMessage): Promise<void> {
    if (this.#state === 'ended') return
    this.#concluding = true
    this.phases.enter('saving')
    let failure: Error | undefined
    try {
      if (this.onResult !== undefined) await this.onResult()
      if (this.#record !== undefined) await this.#record.recordMessage(result, true)
      if (!(this.#failure instanceof AuthenticationError)) this.#deliver(result)
      this.#lastResult = result
    } catch (error) {
      failure = error as Error
    }
    this.#concluding = false
    this.#end(failure)
  }

  workerEnded(exit: ExitFacts, reason: CloseReason, verdict?: Error): void {
    this.#end(verdict ?? new WorkerExitedError(exitMessage(exit, reason, this.#handedOver > 0), exit))
  }

  #isLast(message: SDKResultMessage): boolean {
    const answered =
      message.user_message_uuids ?? (message.user_message_uuid === undefined ? [] : [message.user_message_uuid])
    // A result without a prompt belongs to work that the process began by itself.
    if (answered.length === 0 && message.origin !== undefined && message.origin.kind !== 'human') return false
    for (const uuid of answered) this.#pending.delete(uuid)
    if (answered.length === 0) this.#pending.clear()
    this.#results += 1
    // What follows may be interrupted, too.
    this.#interrupting = undefined
    return this.#pending.size === 0
  }

  /** An interrupt before this would be lost: the process has the prompt in its queue, or still tells of the last turn. */
  #isUnderway(message: SDKMessage): boolean {
    const lifecycle = lifecycleOf(message)
    if (lifecycle !== undefined) return lifecycle.state === 'started' && this.#pending.has(lifecycle.command_uuid)
    return message.type !== 'system' || message.subtype === 'init'
  }

  /** True for a message that tells of a credential which is missing or refused. */
  #recordCredential(message: SDKMessage): boolean {
    const error =
      message.type === 'assistant' || (message.type === 'system' && message.subtype === 'api_retry')
        ? message.error
        : undefined
    if (error !== undefined && message.type === 'assistant') this.#noteBudget(message)
    if (error !== 'authentication_failed') return false
    this.#credentialRefusals += message.type === 'assistant' ? CREDENTIAL_REFUSALS : 1
    if (this.#credentialRefusals >= CREDENTIAL_REFUSALS)
      this.abort(new AuthenticationError(isLoggedOut(message) ? NO_CREDENTIAL : REFUSED_CREDENTIAL))
    return true
  }

  /** The credential proxy says why it refuses; what else is about bills is the result's to tell. */
  #noteBudget({ message }: Extract<SDKMessage, { type: 'assistant' }>): void {
    const text = message.content.map((block) => (block.type === 'text' ? block.text : '')).join('')
    const reason = /^API Error: 402 (the budget of .*)$/s.exec(text)?.[1]
    if (reason !== undefined) this.abort(new BudgetError(reason))
  }

  #readerCaughtUp(): void {
    const process = this.#worker?.process
    if (process === undefined || !this.#readers.every((reader) => reader.caughtUp)) return
    if (process.heldBack) this.#quietSince = this.#clock.now()
    process.consumed()
  }

  async #interrupt(): Promise<void> {
    if (this.#state === 'waiting') {
      this.onCancel?.()
      this.#end(new TurnInterruptedError('the turn was interrupted before it had a worker; nothing was sent'))
      return
    }
    const worker = this.#worker
    if (this.#state === 'ended' || this.#concluding || worker === undefined) return
    if (this.#failure === undefined) this.#record?.recordInterrupt()
    // An interrupt that overtakes its prompt would stop nothing.
    await Promise.race([this.#underway.promise, this.ended, this.#elapsed(BEGIN_GRACE_MS)])
    if (this.#isEnded()) return
    const before = this.#results
    this.#after(INTERRUPT_GRACE_MS, () => {
      // It has stopped what ran, and goes on with the next prompt.
      if (this.#results > before) return
      if (!worker.process.heldBack) void worker.close('unresponsive')
    })
    const receipt = await Promise.race([worker.process.interrupt().catch(() => undefined), this.ended])
    this.receipt = receipt ?? undefined
  }

  #isEnded(): boolean {
    return this.#state === 'ended'
  }

  #watchLimits(worker: TurnWorker): void {
    const { turnTimeoutMs, inactivityTimeoutMs } = this.#limits
    if (Number.isFinite(turnTimeoutMs))
      this.#after(turnTimeoutMs, () => this.#limitReached('turnTimeout', turnTimeoutMs))
    this.#quietSince = this.#clock.now()
    if (Number.isFinite(inactivityTimeoutMs)) this.#watchSilence(worker, inactivityTimeoutMs)
  }

  /** Waiting for a slow reader, or for an answer to a permission request, is not silence. */
  #watchSilence(worker: TurnWorker, inactivityTimeoutMs: number): void {
    const limitAt = (): number =>
      Math.max(this.#quietSince, worker.process.lastOutputAt, worker.lastAnswerAt) + inactivityTimeoutMs
    this.#after(limitAt() - this.#clock.now(), () => {
      const now = this.#clock.now()
      if (worker.process.heldBack || worker.openPermissionRequests > 0) this.#quietSince = now
      if (now < limitAt()) this.#watchSilence(worker, inactivityTimeoutMs)
      else this.#limitReached('inactivityTimeout', inactivityTimeoutMs)
    })
  }

  #limitReached(limit: 'turnTimeout' | 'inactivityTimeout', limitMs: number): void {
    const time = formatDuration(limitMs)
    const what = limit === 'turnTimeout' ? `it ran for ${time}` : `its process gave no sign of life for ${time}`
    const hint = waitingFor(this.#worker?.pendingServers ?? [])
    this.abort(new TurnTimeoutError(limit, limitMs, `the turn was ended because ${what} (limits.${limit})${hint}`))
    this.#after(INTERRUPT_GRACE_MS, () => void this.#worker?.close('limit'))
  }

  #after(delayMs: number, callback: () => void): void {
    if (this.#state === 'ended') return
    const cancel = this.#clock.after(delayMs, () => {
      this.#timers.delete(cancel)
      callback()
    })
    this.#timers.add(cancel)
  }

  #elapsed(ms: number): Promise<void> {
    return new Promise((resolve) => this.#after(ms, resolve))
  }

  #end(error: Error | undefined): void {
    if (this.#state === 'ended' || this.#concluding) return
    this.#state = 'ended'
    this.phases.end()
    this.#failure ??= error
    this.#record?.recordEnd(this.#failure)
    if (this.#failure !== undefined) this.#kept.reject(this.#failure)
    for (const cancel of this.#timers) cancel()
    this.#timers.clear()
    this.onEnd?.()
    this.#underway.resolve()
    for (const reader of this.#readers) reader.end(this.#failure)
    if (this.#failure !== undefined) this.#result.reject(this.#failure)
    else this.#result.resolve(this.#lastResult as SDKResultMessage)
    this.#ended.resolve()
  }
}

/** What the CLI tells of the prompts in its queue; the SDK has no type for it. */
interface PromptLifecycle {
  type: 'command_lifecycle'
  command_uuid: string
  state: string
}

const lifecycleOf = (message: { type: string }): PromptLifecycle | undefined =>
  message.type === 'command_lifecycle' ? (message as PromptLifecycle) : undefined

/** What keeps a process from beginning its first turn. */
const awaitedServers = ({ pendingServers = [] }: TurnWorker): string | undefined =>
  pendingServers.length === 0 ? undefined : `MCP: ${pendingServers.join(', ')}`

function waitingFor(servers: readonly string[]): string {
  if (servers.length === 0) return ''
  const names = servers.map((name) => `"${name}"`).join(', ')
  return `; its process still waited for the MCP ${servers.length === 1 ? 'server' : 'servers'} ${names} to start (starts.mcpTimeout)`
}

function exitMessage(
  { cause, exitCode, signal, violation, stderr }: ExitFacts,
  reason: CloseReason,
  handedOver: boolean,
): string {
  const kernel = signal === null ? `with exit code ${exitCode}` : `by ${signal}`
  const how = {
    normal: kernel,
    crash: kernel,
    signal: kernel,
    out_of_memory: 'because the kernel killed it for memory',
    ended: `because the pool ended it (${violation ?? reason})`,
    not_started: 'before it was started',
  }[cause]
  const said = stderr.trim() === '' ? '' : `; stderr: ${stderr.trim()}`
  const turn = handedOver
    ? "during the turn; the prompt may have run, and the session's next turn resumes"
    : 'before it was handed the prompt; nothing was sent, so send it again'
  return `the agent process ended ${how} ${turn}${said}`
}
