import { randomUUID } from 'node:crypto'
import type { PermissionAnswer, PermissionQuestion } from '../agents/question.ts'
import type { Clock } from '../clock.ts'
import type { ExitFacts, InterruptReceipt, SDKMessage, SDKResultMessage, SDKUserMessage } from '../driver/driver.ts'
import { AuthenticationError, TurnInterruptedError, WorkerExitedError } from '../errors.ts'
import type { TurnTimeoutError } from '../errors.ts'
import type { NumberedEvent } from '../journal/journal.ts'
import type { TurnLimits } from '../options/limits.ts'
import type { Warmth } from '../worker/warmth.ts'
import type { CloseReason, TurnSink, Worker } from '../worker/worker.ts'
import { exitMessage } from './exit-message.ts'
import { MOST_REFUSALS, refusalIn } from './model-refusals.ts'
import { withContext } from './prompt.ts'
import type { TurnJournal } from './turn-journal.ts'
import type { FollowOptions, TurnFollower, TurnLog } from './turn-log.ts'
import { TurnPhases } from './turn-phases.ts'
import { isBegunBy, isOfQueue, takeAnswered } from './turn-prompts.ts'
import type { TurnReader } from './turn-reader.ts'
import { TurnReaders } from './turn-readers.ts'
import { TurnWatch } from './turn-watch.ts'
import type { TurnWorker } from './turn-worker.ts'
import type { OnLeave, Turn } from './turn.ts'

/** After an interrupt or a limit, a process that does not end its turn within this is ended itself. */
const INTERRUPT_GRACE_MS = 5_000

/** A prompt that the process has not begun by then is interrupted all the same. */
const BEGIN_GRACE_MS = 1_000

/** What a query asks of its turn. */
export interface QueryTurn {
  /** The agent whose options it is to run with; undefined: the session's. */
  agent: string | undefined
  /** Called with the worker before it has the prompt, which waits for it. */
  onWorker: (worker: Worker) => Promise<void>
}

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
  readonly #limits: TurnLimits
  readonly #onLeave: OnLeave
  readonly #result = Promise.withResolvers<SDKResultMessage>()
  readonly #kept = Promise.withResolvers<NumberedEvent | undefined>()
  #promptStored: Promise<NumberedEvent | undefined> | undefined
  readonly #ended = Promise.withResolvers<void>()
  readonly #handed = Promise.withResolvers<void>()
  readonly #underway = Promise.withResolvers<void>()
  readonly #readers = new TurnReaders({
    caughtUp: () => this.#readersCaughtUp(),
    left: (all) => this.#readerLeft(all),
  })
  /** Prompts whose result has not come. A steered turn has several. */
  readonly #pending = new Set<string>()
  /** Results that have come. */
  #results = 0
  /** Prompts that the process has, or may have. */
  #handedOver = 0
  readonly #watch: TurnWatch
  #refusals = 0
  #state: TurnState = 'waiting'
  #worker: TurnWorker | undefined
  #warmth: Warmth | undefined
  #lastResult: SDKResultMessage | undefined
  #failure: Error | undefined
  #interrupting: Promise<void> | undefined
  #firstMessageMs: number | undefined
  #leaveQueue: (() => void) | undefined
  #confirm: (() => Promise<void>) | undefined
  #release: (() => void) | undefined
  #query: QueryTurn | undefined
  #receipt: InterruptReceipt | undefined
  #record: TurnJournal | undefined
  /** True once its result has come and is on its way to the disk: nothing else can end it. */
  #concluding = false

  constructor(
    message: SDKUserMessage,
    context: { clock: Clock; limits: TurnLimits; onLeave: OnLeave; traceparent?: string | undefined },
  ) {
    this.message = { ...message, uuid: message.uuid ?? randomUUID() }
    this.#watch = new TurnWatch(context.clock)
    this.phases = new TurnPhases(context.clock)
    this.#limits = context.limits
    this.#onLeave = context.onLeave
    this.traceparent = context.traceparent
    this.result = this.#result.promise
    this.result.catch(() => undefined)
    this.#kept.promise.catch(() => undefined)
  }

  /** For a query: what it runs with. */
  runFor(query: QueryTurn): void {
    this.#query = query
  }

  /** `leave` is called if the turn is interrupted before it has a worker. Undefined: it waits no more. */
  waitIn(leave: (() => void) | undefined): void {
    this.#leaveQueue = leave
  }

  /** `confirm` is called with the last result, before readers see it. If it rejects, the turn ends with that error instead. */
  confirmWith(confirm: () => Promise<void>): void {
    this.#confirm = confirm
  }

  /** `release` is called as the turn ends, before anything shows that it has. */
  releaseWith(release: () => void): void {
    this.#release = release
  }

  /** The agent whose options it is to run with; undefined: the session's. */
  get agent(): string | undefined {
    return this.#query?.agent
  }

  /** What the process said to the interrupt. */
  get receipt(): InterruptReceipt | undefined {
    return this.#receipt
  }

  /** Resolves when the worker that will have the prompt is as its query wants it. */
  async prepare(worker: Worker): Promise<void> {
    await this.#query?.onWorker(worker)
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
    return this.#readers.main.dropped
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  next(): Promise<IteratorResult<SDKMessage, undefined>> {
    return this.#readers.main.next()
  }

  async return(): Promise<IteratorResult<SDKMessage, undefined>> {
    await this.leave(this.#readers.main)
    return { done: true, value: undefined }
  }

  /** A reader has stopped. The last one to go interrupts the turn, unless it was to detach. */
  leave(reader: TurnReader): Promise<void> {
    return this.#readers.leave(reader)
  }

  async #readerLeft(all: boolean): Promise<void> {
    if (this.#onLeave === 'detach' || !all) return
    void this.interrupt()
    await this.ended
  }

  /** Its reader is going to come: what is said until then is kept, or held back. */
  awaitReader(): void {
    this.#readers.main.attach()
  }

  follow(options: FollowOptions = {}): TurnFollower {
    return this.#readers.follow(options)
  }

  /** A log of what the turn says from now on. `last`: the number of messages before. */
  openLog(last: number): TurnLog {
    return this.#readers.openLog(last)
  }

  /** Another reader of the same turn, from now on. */
  join(): TurnReader {
    return this.#readers.join()
  }

  /** Gives the turn its worker and hands over the prompt. `notices`: system reminders for the agent beside it. */
  async run(worker: TurnWorker, warmth: Warmth, notices: readonly string[] = []): Promise<void> {
    if (this.#state !== 'waiting') return
    this.#state = 'running'
    this.#worker = worker
    this.#warmth = warmth
    this.phases.enter('prompt', () => awaitedServers(worker))
    this.phases.holdBack(worker.process.heldBack)
    this.#watch.begin(worker, this.#limits, (error) => this.#limitReached(error))
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
    const worker = this.#worker
    if (message.uuid !== undefined) this.#pending.add(message.uuid)
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
      this.#readers.stopHolding()
      void this.interrupt()
    }
  }

  /** Ends the turn with an error without asking the process. */
  fail(error: Error): void {
    this.#end(error)
  }

  accept(message: SDKMessage): boolean {
    this.phases.hear(message)
    if (isBegunBy(message, this.#pending)) this.#underway.resolve()
    if (isOfQueue(message)) return false
    if (message.type === 'assistant') this.#firstMessageMs ??= this.phases.totalMs
    // What the CLI says of a credential is for its own users: the turn's error says what to do here.
    const refusal = refusalIn(message)
    if (refusal !== undefined) this.#refused(refusal)
    if (refusal?.error instanceof AuthenticationError && message.type === 'assistant') return false
    if (message.type === 'result' && this.#isLast(message)) {
      void this.#conclude(message)
      return true
    }
    this.#record?.recordMessage(message, false).catch((error: unknown) => this.abort(error as Error))
    this.#readers.tell(message)
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

  #refused({ count, error }: { count: number; error: Error }): void {
    this.#refusals += count
    if (this.#refusals >= MOST_REFUSALS) this.abort(error)
  }

  /** A result is told once it cannot be lost any more. */
  async #conclude(result: SDKResultMessage): Promise<void> {
    if (this.#state === 'ended') return
    this.#concluding = true
    this.phases.enter('saving')
    let failure: Error | undefined
    try {
      if (this.#confirm !== undefined) await this.#confirm()
      if (this.#record !== undefined) await this.#record.recordMessage(result, true)
      if (!(this.#failure instanceof AuthenticationError)) this.#readers.tell(result)
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
    if (!takeAnswered(message, this.#pending)) return false
    this.#results += 1
    // What follows may be interrupted, too.
    this.#interrupting = undefined
    return this.#pending.size === 0
  }

  #readersCaughtUp(): void {
    const process = this.#worker?.process
    if (process === undefined) return
    if (process.heldBack) this.#watch.noteReader()
    process.consumed()
  }

  async #interrupt(): Promise<void> {
    if (this.#state === 'waiting') {
      this.#leaveQueue?.()
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
    this.#watch.after(INTERRUPT_GRACE_MS, () => {
      // It has stopped what ran, and goes on with the next prompt.
      if (this.#results > before) return
      if (!worker.process.heldBack) void worker.close('unresponsive')
    })
    const receipt = await Promise.race([worker.process.interrupt().catch(() => undefined), this.ended])
    this.#receipt = receipt ?? undefined
  }

  #isEnded(): boolean {
    return this.#state === 'ended'
  }

  #limitReached(error: TurnTimeoutError): void {
    this.abort(error)
    this.#watch.after(INTERRUPT_GRACE_MS, () => void this.#worker?.close('limit'))
  }

  #elapsed(ms: number): Promise<void> {
    return new Promise((resolve) => this.#watch.after(ms, resolve))
  }

  #end(error: Error | undefined): void {
    if (this.#state === 'ended' || this.#concluding) return
    this.#state = 'ended'
    this.phases.end()
    this.#failure ??= error
    this.#failure = this.#record?.recordEnd(this.#failure) ?? this.#failure
    if (this.#failure !== undefined) this.#kept.reject(this.#failure)
    this.#watch.end()
    this.#release?.()
    this.#underway.resolve()
    this.#readers.end(this.#failure)
    if (this.#failure !== undefined) this.#result.reject(this.#failure)
    else this.#result.resolve(this.#lastResult as SDKResultMessage)
    this.#ended.resolve()
  }
}

/** What keeps a process from beginning its first turn. */
const awaitedServers = ({ pendingServers = [] }: TurnWorker): string | undefined =>
  pendingServers.length === 0 ? undefined : `MCP: ${pendingServers.join(', ')}`
