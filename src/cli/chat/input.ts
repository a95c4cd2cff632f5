import { type Interface, createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import { printable } from '../shared/style.ts'

/** What readline shows of the typing. Silent while a turn writes to the same screen. */
class Echo extends Writable {
  silent = false

  get columns(): number {
    return process.stdout.columns
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    if (!this.silent) process.stdout.write(chunk)
    done()
  }
}

/** Lines from a person or from a pipe. What is typed ahead, or pasted, waits for its turn. */
export class ChatInput implements Disposable {
  readonly #echo = new Echo()
  readonly #readline: Interface
  readonly #interactive: boolean
  readonly #lines: string[] = []
  #waiting: ((line: string | undefined) => void) | undefined
  #refuse: (() => void) | undefined
  #closed = false

  /** `onInterrupt`: Ctrl-C was pressed. */
  constructor(interactive: boolean, onInterrupt: () => void) {
    this.#interactive = interactive
    this.#echo.silent = true
    this.#readline = interactive
      ? createInterface({ input: process.stdin, output: this.#echo, terminal: true })
      : createInterface({ input: process.stdin, terminal: false })
    this.#readline.on('line', (line) => this.#take(line))
    this.#readline.on('close', () => this.#end())
    this.#readline.on('SIGINT', () => {
      if (this.#clearLine()) return
      onInterrupt()
    })
    process.stdout.on('resize', () => this.#echo.emit('resize'))
  }

  /** The next input; undefined at its end. A line that ends with a backslash goes on in the next one. */
  async read(): Promise<string | undefined> {
    const parts: string[] = []
    for (;;) {
      const line = await this.#line(parts.length === 0 ? '> ' : '… ')
      if (line === undefined) return parts.length === 0 ? undefined : parts.join('\n')
      if (!line.endsWith('\\')) return [...parts, line].join('\n')
      parts.push(line.slice(0, -1))
    }
  }

  /** Asks for a yes. Everything else is a no, and so is the end of the input or of `signal`. */
  async confirm(question: string, signal: AbortSignal): Promise<boolean> {
    return /^y(es)?$/i.test((await this.ask(question, signal))?.trim() ?? '')
  }

  /** The answer to a question; undefined at the end of the input or of `signal`. */
  async ask(question: string, signal: AbortSignal): Promise<string | undefined> {
    if (this.#closed || signal.aborted) return undefined
    // What was typed ahead is no answer to a question that was not there.
    this.#readline.write(null, { ctrl: true, name: 'u' })
    this.#echo.silent = false
    const { promise, resolve } = Promise.withResolvers<string | undefined>()
    this.#refuse = () => resolve(undefined)
    signal.addEventListener('abort', this.#refuse, { once: true })
    this.#readline.question(printable(question), { signal }, resolve)
    const answer = await promise
    signal.removeEventListener('abort', this.#refuse)
    this.#refuse = undefined
    this.#echo.silent = true
    return answer
  }

  close(): void {
    this.#readline.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  #line(prompt: string): Promise<string | undefined> {
    const ready = this.#lines.shift()
    if (ready !== undefined) {
      if (this.#interactive) process.stdout.write(`${prompt}${ready}\n`)
      return Promise.resolve(ready)
    }
    if (this.#closed) return Promise.resolve(undefined)
    if (this.#interactive) {
      this.#echo.silent = false
      this.#readline.setPrompt(prompt)
      this.#readline.prompt(true)
    }
    return new Promise((resolve) => {
      this.#waiting = resolve
    })
  }

  #take(line: string): void {
    const waiting = this.#waiting
    if (waiting === undefined) {
      this.#lines.push(line)
      return
    }
    this.#waiting = undefined
    this.#echo.silent = true
    waiting(line)
  }

  #end(): void {
    this.#closed = true
    this.#refuse?.()
    this.#waiting?.(undefined)
    this.#waiting = undefined
  }

  /** True when there was something typed at the prompt, which is now gone. */
  #clearLine(): boolean {
    if (this.#waiting === undefined || this.#readline.line === '') return false
    this.#readline.write(null, { ctrl: true, name: 'e' })
    this.#readline.write(null, { ctrl: true, name: 'u' })
    return true
  }
}
