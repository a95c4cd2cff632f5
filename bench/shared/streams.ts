import { request } from 'node:http'
import type { ClientRequest, IncomingMessage } from 'node:http'
import { once } from 'node:events'

const FRAME_END = '\n\n'
const STAMP = /@(\d+)@/g

/** A heartbeat comes every 15 s: a stream that is silent for longer will not go on. */
const SILENCE_MS = 60_000

const microseconds = (): number => Number(process.hrtime.bigint() / 1_000n)

/** Text of so many characters that says when it was made, on the clock that all processes share. */
export const eventText = (length: number): string => `@${microseconds()}@`.padEnd(length, 'x')

/** A client of an event stream that counts its frames. */
export class StreamReader {
  readonly #request: ClientRequest
  readonly #response: IncomingMessage
  readonly #times: number[] = []
  #frames = 0
  #tail = ''
  #awaited: { frames: number; settle: PromiseWithResolvers<void> } | undefined
  #closed = false

  private constructor(sent: ClientRequest, response: IncomingMessage) {
    this.#request = sent
    this.#response = response
  }

  /** `reads`: false opens it and never takes a byte. `times`: notes how old each event was when it came. */
  static async open(
    url: string,
    {
      headers = {},
      reads = true,
      times = false,
    }: { headers?: Record<string, string>; reads?: boolean; times?: boolean } = {},
  ): Promise<StreamReader> {
    const sent = request(url, { headers, agent: false })
    sent.end()
    const [response] = (await once(sent, 'response')) as [IncomingMessage]
    if (response.statusCode !== 200) throw new Error(`${url} answered ${response.statusCode}`)
    const reader = new StreamReader(sent, response)
    sent.on('error', () => undefined)
    response.on('error', () => undefined).on('close', () => reader.#end())
    if (reads) {
      sent.setTimeout(SILENCE_MS, () => reader.close())
      response.setEncoding('latin1').on('data', (text: string) => reader.#take(text, times))
    }
    return reader
  }

  get frames(): number {
    return this.#frames
  }

  /** Milliseconds between the making of each event and its arrival; forgets them. */
  takeTimes(): number[] {
    return this.#times.splice(0)
  }

  /** Resolves when so many frames have come. Rejects when the stream ends before, or nothing of it came for a minute. */
  received(frames: number): Promise<void> {
    if (this.#frames >= frames) return Promise.resolve()
    if (this.#closed) return Promise.reject(this.#tooFew(frames))
    const settle = Promise.withResolvers<void>()
    this.#awaited = { frames, settle }
    return settle.promise
  }

  close(): void {
    this.#request.destroy()
    this.#response.destroy()
  }

  #take(text: string, times: boolean): void {
    const all = this.#tail + text
    let at = 0
    for (let end = all.indexOf(FRAME_END); end !== -1; end = all.indexOf(FRAME_END, at)) {
      this.#frames += 1
      at = end + FRAME_END.length
    }
    if (times) {
      const now = microseconds()
      for (const [, made] of all.slice(0, at).matchAll(STAMP)) this.#times.push((now - Number(made)) / 1_000)
    }
    this.#tail = all.slice(at)
    if (this.#awaited === undefined || this.#frames < this.#awaited.frames) return
    this.#awaited.settle.resolve()
    this.#awaited = undefined
  }

  #end(): void {
    this.#closed = true
    this.#awaited?.settle.reject(this.#tooFew(this.#awaited.frames))
    this.#awaited = undefined
  }

  #tooFew(frames: number): Error {
    return new Error(`a stream ended after ${this.#frames} of ${frames} frames`)
  }
}
