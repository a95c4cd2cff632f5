import type { SDKUserMessage } from './driver.ts'

interface Waiting {
  message: SDKUserMessage
  written: () => void
}

/** The open end of a process's input: a stream of prompts that lasts as long as the process. */
export class PromptInput implements AsyncIterable<SDKUserMessage> {
  #queue: Waiting[] = []
  #handedOut: Waiting | undefined
  #wake: (() => void) | undefined
  #ended = false

  /** Resolves when the message was taken from here and the next one is asked for: it is then on the process's stdin. */
  send(message: SDKUserMessage): Promise<void> {
    if (this.#ended) return Promise.resolve()
    return new Promise((resolve) => {
      this.#queue.push({ message, written: resolve })
      this.#wake?.()
    })
  }

  /** Ends the stream. What was not handed out is dropped; nobody is left waiting. */
  end(): void {
    this.#ended = true
    this.#handedOut?.written()
    for (const { written } of this.#queue.splice(0)) written()
    this.#wake?.()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<SDKUserMessage> {
    for (;;) {
      this.#handedOut?.written()
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
