import type { SDKMessage } from '../driver/driver.ts'
import type { TurnSubscriber } from './turn-log.ts'

/** What is kept for a reader that may still come, in characters of JSON; the oldest goes first. */
const UNREAD_LIMIT = 1024 * 1024

/** One reader's end of a turn: what it has not read yet, and how the turn ended. */
export class TurnReader implements TurnSubscriber {
  readonly #onCaughtUp: () => void
  #unread: { message: SDKMessage; size: number }[] = []
  #unreadSize = 0
  readonly #waiting: ((result: IteratorResult<SDKMessage, undefined> | Promise<never>) => void)[] = []
  #attached = false
  #mayHold = true
  #left = false
  #ended = false
  #failure: Error | undefined
  dropped = 0

  constructor(onCaughtUp: () => void) {
    this.#onCaughtUp = onCaughtUp
  }

  get left(): boolean {
    return this.#left
  }

  /** True when nothing waits for this reader, or it is not there to be waited for. */
  get caughtUp(): boolean {
    return this.#left || !this.#attached || !this.#mayHold || this.#unread.length === 0
  }

  /** A reader will come: nothing may be dropped. */
  attach(): void {
    this.#attached = true
  }

  push(message: SDKMessage): void {
    if (this.#left) return
    const wake = this.#waiting.shift()
    if (wake !== undefined) {
      wake({ done: false, value: message })
      return
    }
    const size = this.#attached && this.#mayHold ? 0 : JSON.stringify(message).length
    this.#unread.push({ message, size })
    this.#unreadSize += size
    while (this.#unreadSize > UNREAD_LIMIT && this.#unread.length > 1) {
      this.#unreadSize -= this.#unread.shift()?.size ?? 0
      this.dropped += 1
    }
  }

  next(): Promise<IteratorResult<SDKMessage, undefined>> {
    if (!this.#attached) for (const unread of this.#unread) unread.size = 0
    if (!this.#attached) this.#unreadSize = 0
    this.#attached = true
    const waiting = this.#unread.shift()
    if (waiting !== undefined) {
      this.#unreadSize -= waiting.size
      if (this.#unread.length === 0) this.#onCaughtUp()
      return Promise.resolve({ done: false, value: waiting.message })
    }
    if (this.#left || (this.#ended && this.#failure === undefined))
      return Promise.resolve({ done: true, value: undefined })
    if (this.#ended) return this.#fail()
    return new Promise((resolve) => {
      this.#waiting.push(resolve)
    })
  }

  /** Gives up what it has not read: from now on nothing waits for it. */
  leave(): void {
    this.#left = true
    this.#unread = []
    for (const wake of this.#waiting.splice(0)) wake({ done: true, value: undefined })
  }

  /** From now on it may miss messages instead of holding the turn back, also when it reads on. */
  stopHolding(): void {
    this.#mayHold = false
  }

  end(failure: Error | undefined): void {
    this.#ended = true
    this.#failure = failure
    for (const wake of this.#waiting.splice(0)) {
      wake(this.#failure === undefined ? { done: true, value: undefined } : this.#fail())
    }
  }

  /** The failure is thrown once; the next call finds the end. */
  #fail(): Promise<never> {
    const failure = this.#failure
    this.#failure = undefined
    return Promise.reject(failure as Error)
  }
}
