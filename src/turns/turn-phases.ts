import type { Clock } from '../clock.ts'
import type { PermissionQuestion } from '../agents/question.ts'
import type { SDKMessage } from '../driver/driver.ts'
import type { PhaseTimes, TurnPhase, TurnPhaseName, TurnStep } from '../store/store.ts'
import { ModelRequests } from './model-requests.ts'
import { OpenCalls } from './open-calls.ts'
import { PhaseClock } from './phase-clock.ts'
import type { Detail } from './phase-clock.ts'
import { TurnSteps } from './turn-steps.ts'

/** What the pool itself does for a turn. What its process does follows from what that says. */
type Stage = Extract<TurnPhaseName, 'queued' | 'starting' | 'prompt' | 'model' | 'saving'>

/**
 * In which phase a turn is, from `send()` to its end: exactly one at each moment. While its process works, the first of
 * these that holds: a question waits for its answer (`permission`), a reader holds the turn back (`reader`), the model's
 * answer comes in (`model`), calls run (`tool`, by the longest), else the model is waited for.
 */
export class TurnPhases {
  readonly #clock: PhaseClock
  readonly #steps = new TurnSteps()
  readonly #calls = new OpenCalls((step) => this.#steps.add(step))
  readonly #requests = new ModelRequests((step) => this.#steps.add(step))
  /** The tools that questions without an answer ask about, by the id of the call. */
  readonly #questions = new Map<string, string>()
  #stage: Stage = 'queued'
  #detail: Detail
  #openQuestions = 0
  #heldBack = false
  /** True while the model's answer comes in piece by piece. */
  #answering = false
  /** What the CLI does about the model beside waiting for it. */
  #note: string | undefined

  constructor(clock: Clock) {
    this.#clock = new PhaseClock(clock, this.#steps)
  }

  get name(): TurnPhaseName {
    return this.#clock.name
  }

  get now(): TurnPhase {
    return this.#clock.now
  }

  /** Milliseconds spent in each phase so far. Their sum is `totalMs`. */
  get times(): PhaseTimes {
    return this.#clock.times
  }

  /** Milliseconds in the phase `tool`, by tool. */
  get tools(): Record<string, number> {
    return this.#clock.tools
  }

  /** Milliseconds from `send()` until now, or until the end. */
  get totalMs(): number {
    return this.#clock.totalMs
  }

  /** What the turn did so far. A step is there once it has ended. */
  get steps(): readonly TurnStep[] {
    return this.#steps.all
  }

  enter(stage: Stage, detail?: Detail): void {
    this.#stage = stage
    this.#detail = detail
    this.#judge()
  }

  /** A message of the turn's process. */
  hear(message: SDKMessage): void {
    this.#requests.hear(message, this.totalMs)
    if (message.type === 'stream_event') this.#hearPiece(message)
    else if (message.type === 'assistant') this.#hearAnswer(message)
    else if (message.type === 'user') this.#hearResults(message)
    else if (message.type === 'system') this.#hearSystem(message)
    else if (message.type === 'result') this.#hearEnd()
  }

  /** A permission request or another question of the process waits for its answer (1), or does no longer (-1). */
  questions(change: 1 | -1): void {
    this.#openQuestions = Math.max(0, this.#openQuestions + change)
    this.#judge()
  }

  asked({ asks, toolUseId, name }: PermissionQuestion): void {
    if (asks === 'permission') this.#questions.set(toolUseId, name)
    this.#judge()
  }

  answered({ toolUseId }: PermissionQuestion): void {
    this.#questions.delete(toolUseId)
    this.#judge()
  }

  /** Whether what the process says waits because a reader has stopped. */
  holdBack(heldBack: boolean): void {
    this.#heldBack = heldBack
    this.#judge()
  }

  end(): void {
    this.#clock.end()
    this.#calls.clear(this.totalMs)
    this.#requests.end(this.totalMs)
  }

  #hearPiece({ event, parent_tool_use_id: parent }: Extract<SDKMessage, { type: 'stream_event' }>): void {
    // Nearly all pieces are parts of a text: they change nothing.
    if (parent !== null || (event.type !== 'message_start' && event.type !== 'message_stop')) return
    this.#answering = event.type === 'message_start'
    this.#modelSpeaks()
  }

  #hearAnswer(message: Extract<SDKMessage, { type: 'assistant' }>): void {
    this.#calls.begin(message, this.totalMs)
    if (message.parent_tool_use_id === null) this.#modelSpeaks()
    else this.#judge()
  }

  #hearResults(message: Extract<SDKMessage, { type: 'user' }>): void {
    this.#calls.end(message, this.totalMs)
    if (message.parent_tool_use_id === null) this.#answering = false
    this.#judge()
  }

  #hearSystem(message: Extract<SDKMessage, { type: 'system' }>): void {
    // Hooks have run and MCP servers are there when the CLI says this.
    if (message.subtype === 'init') this.#modelSpeaks()
    else if (message.subtype === 'status') {
      this.#note = message.status === 'compacting' ? 'compaction' : undefined
      this.#judge()
    } else if (message.subtype === 'api_retry') {
      this.#answering = false
      this.#note = `retry: ${message.error}`
      this.#judge()
    }
  }

  /** A result that does not end the turn: another prompt follows. */
  #hearEnd(): void {
    this.#calls.clear(this.totalMs)
    this.#answering = false
    this.#note = undefined
    this.#judge()
  }

  #modelSpeaks(): void {
    this.#note = undefined
    if (this.#stage === 'prompt') this.enter('model')
    else this.#judge()
  }

  #judge(): void {
    const isAtWork = this.#stage === 'prompt' || this.#stage === 'model'
    if (!isAtWork) this.#clock.enter(this.#stage, this.#detail)
    else if (this.#openQuestions > 0) this.#clock.enter('permission', first(this.#questions.values()))
    else if (this.#heldBack) this.#clock.enter('reader', undefined)
    else if (this.#stage === 'prompt' || this.#answering) this.#clock.enter(this.#stage, this.#detail)
    else this.#work()
  }

  #work(): void {
    const call = this.#calls.longest
    if (call === undefined) this.#clock.enter('model', this.#note)
    else this.#clock.enter('tool', call)
  }
}

const first = <T>(values: Iterable<T>): T | undefined => {
  for (const value of values) return value
  return undefined
}
