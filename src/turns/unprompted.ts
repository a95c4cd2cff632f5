import type { ExitFacts, SDKMessage } from '../driver/driver.ts'
import { WorkerExitedError } from '../errors.ts'
import type { CloseReason, TurnSink } from '../worker/worker.ts'
import type { TurnJournal } from './turn-journal.ts'
import type { PermissionAnswer, PermissionQuestion } from '../agents/question.ts'

export interface UnpromptedContext {
  newRecord: () => TurnJournal
  /** Settles when the last turn has ended: what follows its result comes after its end. */
  lastTurn: () => Promise<void> | undefined
  /** Called when the agent begins to speak, and when it has ended. */
  speaks: (speaks: boolean) => void
  /** Resolves when the transcript has what was said. Throws StoreError. */
  confirm: () => Promise<void>
}

/** Records what an agent says unprompted, for example when its background task has ended: in the events, between two turns. */
export class Unprompted implements TurnSink {
  readonly #context: UnpromptedContext
  #record: TurnJournal | undefined
  /** The last step of a queue in order of arrival. Never rejects. */
  #last: Promise<void> = Promise.resolve()
  #waiting = 0

  constructor(context: UnpromptedContext) {
    this.#context = context
  }

  /** False: the message ends no turn. */
  accept(message: SDKMessage): boolean {
    if (this.active || isSpoken(message)) this.#inOrder(() => this.#take(message))
    return false
  }

  toolCalled(toolUseId: string): void {
    if (this.active) this.#inOrder(() => this.#record?.recordCall(toolUseId))
  }

  permissionAsked(question: PermissionQuestion): void {
    this.#inOrder(() => this.#begun.recordQuestion(question))
  }

  permissionAnswered(question: PermissionQuestion, answer: PermissionAnswer): void {
    if (this.active) this.#inOrder(() => this.#record?.recordAnswer(question, answer))
  }

  workerEnded(exit: ExitFacts, reason: CloseReason, verdict?: Error): void {
    this.stop(verdict ?? new WorkerExitedError(`the agent process ended (${reason}) while it spoke unprompted`, exit))
  }

  /** Ends it with an error. */
  stop(error: Error): void {
    if (this.active) this.#inOrder(() => this.#end(error))
  }

  /** Ends it because a turn begins, which gets the rest. Undefined: it has ended. Otherwise wait, and call it again. */
  end(): Promise<void> | undefined {
    if (this.#waiting > 0) return this.#last
    this.#end(undefined)
    return undefined
  }

  /** True from the first message until the end is handed to the journal. */
  get active(): boolean {
    return this.#record !== undefined || this.#waiting > 0
  }

  get #begun(): TurnJournal {
    if (this.#record === undefined) {
      this.#record = this.#context.newRecord()
      this.#context.speaks(true)
      // A store that fails here fails the next turn, too, which reports it.
      this.#record.begin().catch(ignore)
    }
    return this.#record
  }

  async #take(message: SDKMessage): Promise<void> {
    if (message.type !== 'result') {
      this.#begun.recordMessage(message, false).catch(ignore)
      return
    }
    const record = this.#record
    if (record === undefined) return
    try {
      await this.#context.confirm()
      await record.recordMessage(message, true)
    } catch (error) {
      record.recordEnd(error as Error)
    }
    this.#end(undefined)
  }

  #end(failure: Error | undefined): void {
    if (this.#record === undefined) return
    this.#record.recordEnd(failure)
    this.#record = undefined
    this.#context.speaks(false)
  }

  #inOrder(work: () => Promise<void> | void): void {
    this.#waiting += 1
    this.#last = Promise.all([this.#last, this.#context.lastTurn()])
      .then(work)
      .catch(ignore)
      .finally(() => {
        this.#waiting -= 1
      })
  }
}

/** Whether the agent begins to speak. Messages of subagents do not count. */
const isSpoken = (message: SDKMessage): boolean =>
  (message.type === 'assistant' || message.type === 'stream_event') && message.parent_tool_use_id === null

const ignore = (): void => undefined
