import type { Delta, Hello } from '../../src/server/page/wire.ts'

/** What the page hears of the server. */
export interface StreamListener {
  hello(hello: Hello): void
  delta(delta: Delta): void
  /** The connection ended; it is tried again in so many milliseconds. */
  lost(retryMs: number): void
  /** The server wants an operator's key. */
  refused(message: string): void
}

const FIRST_RETRY_MS = 500
const LAST_RETRY_MS = 8_000

/** The one connection of the page. It comes back by itself. */
export class LiveStream {
  readonly #listener: StreamListener
  readonly #view: () => string
  readonly #headers: () => Record<string, string>
  #abort: AbortController | undefined
  #retryMs = FIRST_RETRY_MS
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(listener: StreamListener, view: () => string, headers: () => Record<string, string>) {
    this.#listener = listener
    this.#view = view
    this.#headers = headers
  }

  open(): void {
    this.close()
    this.#abort = new AbortController()
    void this.#run(this.#abort.signal)
  }

  close(): void {
    clearTimeout(this.#timer)
    this.#abort?.abort()
    this.#abort = undefined
  }

  async #run(signal: AbortSignal): Promise<void> {
    try {
      const response = await fetch(`page/stream?view=${encodeURIComponent(this.#view())}`, {
        headers: this.#headers(),
        signal,
        cache: 'no-store',
      })
      if (response.status === 401) return this.#listener.refused(await messageOf(response))
      if (!response.ok || response.body === null) throw new Error(await messageOf(response))
      await this.#read(response.body)
    } catch {
      // It is tried again below.
    }
    if (signal.aborted) return
    this.#listener.lost(this.#retryMs)
    this.#timer = setTimeout(() => this.open(), this.#retryMs)
    this.#retryMs = Math.min(this.#retryMs * 2, LAST_RETRY_MS)
  }

  async #read(body: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder()
    let text = ''
    for await (const chunk of body as unknown as AsyncIterable<Uint8Array>) {
      text += decoder.decode(chunk, { stream: true })
      const frames = text.split('\n\n')
      text = frames.pop() ?? ''
      for (const frame of frames) this.#hear(frame)
    }
  }

  #hear(frame: string): void {
    const [, event, data] = /^event: (\w+)\ndata: (.*)$/.exec(frame) ?? []
    if (event === undefined || data === undefined) return
    if (event === 'hello') {
      this.#retryMs = FIRST_RETRY_MS
      this.#listener.hello(JSON.parse(data) as Hello)
    } else if (event === 'delta') this.#listener.delta(JSON.parse(data) as Delta)
  }
}

/** What the server said went wrong. */
export async function messageOf(response: Response): Promise<string> {
  try {
    const { error } = (await response.json()) as { error: { message: string } }
    return error.message
  } catch {
    return `the server answered ${response.status}`
  }
}
