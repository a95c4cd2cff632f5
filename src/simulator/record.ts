import type { IncomingHttpHeaders } from 'node:http'

/** How a request ended: answered (errors too), cut by a directive, left by the client, or ended by the simulator's close. */
export type Outcome = 'open' | 'answered' | 'cut' | 'left' | 'closed'

/** One request that reached the simulator. It is live: status and outcome follow. */
export interface RecordedRequest {
  /** Also the `request-id` header of its answer. */
  readonly id: string
  readonly method: string
  /** With its query string. */
  readonly path: string
  readonly headers: IncomingHttpHeaders
  /** The parsed body; undefined when there was none, or no JSON. */
  readonly body: unknown
  /** How many prompts the human had sent; only for `/v1/messages`. */
  readonly turn: number | undefined
  /** The last of them. */
  readonly prompt: string | undefined
  /** The status of the answer, once it has started. */
  readonly status: number | undefined
  readonly outcome: Outcome
}

/** A request that is being recorded. Its body is kept as text, which is several times smaller, and parsed when asked for. */
export class Recording implements RecordedRequest {
  readonly id: string
  readonly method: string
  readonly path: string
  readonly headers: IncomingHttpHeaders
  text = ''
  turn: number | undefined
  prompt: string | undefined
  status: number | undefined
  outcome: Outcome = 'open'

  constructor(id: string, method: string, path: string, headers: IncomingHttpHeaders) {
    this.id = id
    this.method = method
    this.path = path
    this.headers = headers
  }

  get body(): unknown {
    try {
      return this.text === '' ? undefined : JSON.parse(this.text)
    } catch {
      return undefined
    }
  }
}

/** What the bodies of all recorded requests may take together: long conversations repeat themselves in every request. */
const MAX_RECORDED_CHARS = 64 * 1024 * 1024

/** The newest requests: at most so many, and no more than their bodies' share of memory. */
export class RequestRecord {
  readonly requests: Recording[] = []
  readonly #limit: number
  #chars = 0

  constructor(limit: number) {
    this.#limit = limit
  }

  add(recording: Recording): void {
    this.requests.push(recording)
    this.#trim()
  }

  /** Keeps the text of a request's body, and forgets old requests to make room for it. */
  keepBody(recording: Recording, text: string): void {
    if (!this.requests.includes(recording)) return
    recording.text = text
    this.#chars += text.length
    this.#trim()
  }

  #trim(): void {
    while (this.requests.length > this.#limit || this.#chars > MAX_RECORDED_CHARS) {
      this.#chars -= this.requests.shift()?.text.length ?? 0
    }
  }
}
