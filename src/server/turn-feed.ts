import type { CancelTimer, Clock } from '../clock.ts'
import type { SessionRef, Turn, TurnFollower, TurnMessage } from '../index.ts'
import { isAnswer, partOf } from '../message-parts.ts'

type Step = IteratorResult<TurnMessage, undefined>

/** One client's way through a feed. It ends with the turn, or throws what ended that. */
export interface FeedReader extends AsyncIterator<TurnMessage, undefined> {
  /** Leaves. A disconnect may interrupt the turn after its grace; without one, the turn goes on. */
  leave(disconnected: boolean): void
  return(): Promise<Step>
}

/** A turn that goes on whether or not clients read it, and what the server knows of it. */
export class TurnFeed {
  readonly turn: Turn
  readonly session: Pick<SessionRef, 'tenant' | 'key'>
  /** The id of its prompt's event, if the request has chosen it. */
  readonly promptId: string | undefined
  /** Settles when the turn has a process, with its first message, or at its end. Never rejects. */
  readonly begun: Promise<void>
  /** Settles at the turn's end. Never rejects. */
  readonly ended: Promise<void>
  readonly #clock: Clock
  readonly #begun = Promise.withResolvers<void>()
  readonly #readers = new Set<Reader>()
  #cancelGrace: CancelTimer | undefined
  #stopped = false
  #answered = false
  #last = 0
  #over = false
  #failure: Error | undefined

  constructor(turn: Turn, session: Pick<SessionRef, 'tenant' | 'key'>, clock: Clock, promptId?: string) {
    this.turn = turn
    this.promptId = promptId
    this.session = session
    this.#clock = clock
    this.begun = this.#begun.promise
    this.ended = this.#watch(turn.follow())
    // Followers read it: nothing needs to be kept for another reader.
    void turn.return?.()
  }

  /** The turn has a process: from now on it is not refused. */
  noteBegun(): void {
    this.#begun.resolve()
  }

  get over(): boolean {
    return this.#over
  }

  /** What ended the turn instead of a result. */
  get failure(): Error | undefined {
    return this.#failure
  }

  /** The number of the newest message. */
  get last(): number {
    return this.#last
  }

  /** True while its last reader has gone and another may still come, before it is interrupted. */
  get inGrace(): boolean {
    return this.#cancelGrace !== undefined
  }

  /** True once it was interrupted on behalf of a client. */
  get stopped(): boolean {
    return this.#stopped
  }

  /** True once the agent has said something or called a tool. */
  get answered(): boolean {
    return this.#answered
  }

  /**
   * Reads what comes after this number, from the oldest message that is still there. The turn waits for a reader that is
   * behind. `graceMs`: when this reader disconnects as the last one, how long the turn goes on.
   */
  read(after: number, graceMs: number): FeedReader {
    const reader = new Reader(this, this.turn.follow({ after, onSlow: 'wait' }), graceMs)
    this.goOn()
    this.#readers.add(reader)
    return reader
  }

  /** The turn is wanted again: it is not interrupted at the end of its grace. */
  goOn(): void {
    this.#cancelGrace?.()
    this.#cancelGrace = undefined
  }

  /** Interrupts the turn; resolves when its process has taken note. */
  stop(): Promise<void> {
    this.goOn()
    this.#stopped ||= !this.#over
    return this.turn.interrupt()
  }

  /** For readers: one has gone. */
  left(reader: Reader, disconnected: boolean): void {
    this.#readers.delete(reader)
    if (!disconnected || this.#readers.size > 0 || this.#over || reader.graceMs === Infinity) return
    if (reader.graceMs === 0) void this.stop()
    else this.#cancelGrace = this.#clock.after(reader.graceMs, () => void this.stop())
  }

  async #watch(messages: TurnFollower): Promise<void> {
    try {
      for await (const { number, message } of messages) {
        this.#last = number
        this.#answered ||= isAnswer(partOf(message))
        this.#begun.resolve()
      }
    } catch (error) {
      this.#failure = error as Error
    }
    this.#over = true
    this.goOn()
    this.#begun.resolve()
  }
}

class Reader implements FeedReader {
  readonly #feed: TurnFeed
  readonly #messages: TurnFollower
  #left = false
  readonly graceMs: number

  constructor(feed: TurnFeed, messages: TurnFollower, graceMs: number) {
    this.#feed = feed
    this.#messages = messages
    this.graceMs = graceMs
  }

  async next(): Promise<Step> {
    try {
      const step = await this.#messages.next()
      if (step.done === true && !this.#left) await this.#end()
      return step
    } catch (error) {
      await this.#end()
      throw error
    }
  }

  return(): Promise<Step> {
    this.leave(true)
    return Promise.resolve({ done: true, value: undefined })
  }

  leave(disconnected: boolean): void {
    if (this.#left) return
    this.#left = true
    void this.#messages.return()
    this.#feed.left(this, disconnected)
  }

  /** The feed knows of the end before its readers do. */
  async #end(): Promise<void> {
    await this.#feed.ended
    this.leave(false)
  }
}
