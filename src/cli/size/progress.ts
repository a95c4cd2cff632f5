import type { WriteStream } from 'node:tty'

/** What a command is doing: one line that changes on a terminal, else a line each time. */
export class Progress {
  readonly #stream: Pick<WriteStream, 'isTTY' | 'write'>
  #shown = false

  constructor(stream: Pick<WriteStream, 'isTTY' | 'write'>) {
    this.#stream = stream
  }

  say(what: string): void {
    if (this.#stream.isTTY) this.#stream.write(`\r\u001b[K${what} …`)
    else this.#stream.write(`${what}\n`)
    this.#shown = true
  }

  /** Leaves the line empty for what is printed next. */
  clear(): void {
    if (this.#shown && this.#stream.isTTY) this.#stream.write('\r\u001b[K')
    this.#shown = false
  }
}
