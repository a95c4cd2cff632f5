import type { SDKUserMessage } from './driver.ts'

interface Waiting {
  message: SDKUserMessage
  settle: (handedOut: boolean) => void
}

/** The open end of a process's input: a stream of prompts that lasts as long as the process. */
export class PromptInput implements AsyncIterable<SDKUserMessage> {
  #queue: Waiting[] = []
  #handedOut: Waiting | undefined
  #wake: (() => void) | undefined
  #ended = false

  /**
   * Resolves when the message was taken from here and the next one is asked for: it is then on the process's stdin. False:
   * the stream has ended, and it was never taken.
   */
  send(message: SDKUserMessage): Promise<boolean> {
    if (this.#ended) return Promise.resolve(false)
    return new Promise((resolve) => {
      this.#queue.push({ message, settle: resolve })
      this.#wake?.()
    })
  }

  /** Ends the stream. Input that was not handed out is dropped, and no reader is left waiting. */
  end(): void {
    this.#ended = true
    this.#handedOut?.settle(true)
    for (const { settle } of this.#queue.splice(0)) settle(false)
    this.#wake?.()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<SDKUserMessage> {
    for (;;) {
      this.#handedOut?.settle(true)
      this.#handedOut = undefined
      const next = this.#queue.shift()
      if (next !== undefined) {
        this.#handedOut = next
        yield next.message
        continue
      }
      if (this.#ended) return
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      this.#wake = undefined
    }
  }
}
