import { randomUUID } from 'node:crypto'
import type { SDKMessage, SDKResultMessage, SDKUserMessage } from '../driver/driver.ts'
import { TurnInterruptedError } from '../errors.ts'
import { toUserMessage } from './prompt.ts'
import type { TurnInput } from './prompt.ts'
import type { NumberedEvent } from '../journal/journal.ts'
import type { TurnReader } from './turn-reader.ts'
import { checkSendOptions } from './send.ts'
import type { RunningTurn } from './running-turn.ts'
import type { Turn } from './turn.ts'
import type { SendOptions } from './send.ts'
import type { FollowOptions, TurnFollower, TurnLog } from './turn-log.ts'
import type { Warmth } from '../worker/warmth.ts'

/** Throws ConfigError. */
function promptOf(input: TurnInput, options: SendOptions): SDKUserMessage {
  checkSendOptions(options)
  return toUserMessage(input, options)
}

/** Adds a prompt to a turn that runs. Never throws: what goes wrong ends the turn that this returns. */
export const steer = (turn: RunningTurn, input: TurnInput, options: SendOptions): Turn =>
  new SteeringTurn(turn, input, options)

/** A prompt that was added to a turn that runs: it shares that turn's messages from now on, its result and its end. */
export class SteeringTurn implements Turn {
  readonly id: string = randomUUID()
  readonly result: Promise<SDKResultMessage>
  readonly #turn: RunningTurn
  readonly #reader: TurnReader
  /** What kept the prompt from being sent. */
  #failure: Error | undefined
  #log: TurnLog | undefined
  readonly #promptStored = Promise.withResolvers<NumberedEvent | undefined>()

  constructor(turn: RunningTurn, input: TurnInput, options: SendOptions = {}) {
    this.#turn = turn
    this.#reader = turn.join()
    this.#promptStored.promise.catch(() => undefined)
    this.result = this.#steer(() => promptOf(input, options))
    this.result.catch(() => undefined)
    if (typeof options.signal?.addEventListener === 'function') this.#listenTo(options.signal)
  }

  get promptStored(): Promise<NumberedEvent | undefined> {
    return this.#promptStored.promise
  }

  get warmth(): Warmth | undefined {
    return this.#turn.warmth
  }

  get droppedMessages(): number {
    return this.#reader.dropped
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  next(): Promise<IteratorResult<SDKMessage, undefined>> {
    return this.#reader.next()
  }

  async return(): Promise<IteratorResult<SDKMessage, undefined>> {
    await this.#turn.leave(this.#reader)
    return { done: true, value: undefined }
  }

  /** Its messages are those of the turn that it was added to, counted from its first call on. */
  follow(options: FollowOptions = {}): TurnFollower {
    if (this.#log === undefined) {
      this.#log = this.#turn.openLog(0)
      if (this.#failure !== undefined) this.#log.end(this.#failure)
    }
    return this.#log.follow(options)
  }

  interrupt(): Promise<void> {
    return this.#turn.interrupt()
  }

  async #steer(prompt: () => SDKUserMessage): Promise<SDKResultMessage> {
    const error = await this.#hand(prompt)
    if (error === undefined) return this.#turn.result
    this.#failure = error
    this.#promptStored.reject(error)
    this.#reader.end(error)
    this.#log?.end(error)
    throw error
  }

  /** What kept the prompt from being sent; undefined when it was. */
  async #hand(prompt: () => SDKUserMessage): Promise<Error | undefined> {
    try {
      if (await this.#turn.steer(prompt(), this.#promptStored.resolve)) return undefined
    } catch (error) {
      return error as Error
    }
    return new TurnInterruptedError('the turn ended before it could be steered; nothing was sent')
  }

  #listenTo(signal: AbortSignal): void {
    const aborted = (): void => void this.interrupt()
    if (signal.aborted) aborted()
    signal.addEventListener('abort', aborted, { once: true })
    void this.#turn.ended.then(() => signal.removeEventListener('abort', aborted))
  }
}
