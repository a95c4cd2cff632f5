import { randomUUID } from 'node:crypto'
import type { SDKMessage, SDKResultMessage, SDKUserMessage } from '../driver/driver.ts'
import { TurnInterruptedError } from '../errors.ts'
import type { Reader } from './reader.ts'
import type { RunningTurn, Turn, Warmth } from './turn.ts'

/** A prompt that was added to a turn that runs: it shares that turn's messages from now on, its result and its end. */
export class SteeringTurn implements Turn {
  readonly id: string = randomUUID()
  readonly result: Promise<SDKResultMessage>
  readonly #turn: RunningTurn
  readonly #reader: Reader

  constructor(turn: RunningTurn, message: SDKUserMessage) {
    this.#turn = turn
    this.#reader = turn.follow()
    this.result = this.#steer(message)
    this.result.catch(() => undefined)
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

  interrupt(): Promise<void> {
    return this.#turn.interrupt()
  }

  async #steer(message: SDKUserMessage): Promise<SDKResultMessage> {
    if (await this.#turn.steer(message)) return this.#turn.result
    const error = new TurnInterruptedError('the turn ended before it could be steered; nothing was sent')
    this.#reader.end(error)
    throw error
  }
}
