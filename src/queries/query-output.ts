import type { SDKMessage } from '../driver/driver.ts'
import { RunningTurn } from '../turns/running-turn.ts'

/** Messages outside of turns that wait for a reader; the oldest goes first. */
const MAX_ASIDES = 1_000

/** What a query gives, in order: its turns, and what its process says between them. */
export class QueryOutput {
  #items: (RunningTurn | SDKMessage)[] = []
  #asides = 0
  #wake: (() => void) | undefined
  #ended = false
  #failure: unknown

  addTurn(turn: RunningTurn): void {
    if (this.#ended) return
    this.#items.push(turn)
    this.#wake?.()
  }

  addAside(message: SDKMessage): void {
    if (this.#ended) return
    if (this.#asides === MAX_ASIDES)
      this.#items.splice(
        this.#items.findIndex((item) => !isTurn(item)),
        1,
      )
    else this.#asides += 1
    this.#items.push(message)
    this.#wake?.()
  }

  /** No more will come. What waits is still given, unless there is something to throw. */
  end(failure?: unknown): void {
    if (this.#ended) return
    this.#ended = true
    this.#failure = failure
    if (failure !== undefined) this.#items = []
    this.#wake?.()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<RunningTurn | SDKMessage, void> {
    for (;;) {
      const item = this.#items.shift()
      if (item !== undefined) {
        if (!isTurn(item)) this.#asides -= 1
        yield item
        continue
      }
      if (this.#failure !== undefined) throw this.#failure
      if (this.#ended) return
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }
}

export const isTurn = (item: RunningTurn | SDKMessage): item is RunningTurn => item instanceof RunningTurn
