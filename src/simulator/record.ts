import type { IncomingHttpHeaders } from 'node:http'

/** How a request ended: answered in full, ended by the simulator on purpose or at its close, or left by the client. */
export type Outcome = 'open' | 'answered' | 'cut' | 'left'

/** One request that reached the simulator. */
export interface RecordedRequest {
  /** Also the `request-id` header of its answer. */
  readonly id: string
  readonly method: string
  /** With its query string. */
  readonly path: string
  readonly headers: IncomingHttpHeaders
  /** The parsed body; undefined when it was none or no JSON. */
  readonly body: unknown
  /** How many prompts the human had sent, and the last of them; only for `/v1/messages`. */
  readonly turn: number | undefined
  readonly prompt: string | undefined
  readonly status: number | undefined
  readonly outcome: Outcome
}

/** A request that is being recorded. The text of its body is kept and parsed when somebody asks: it is several times smaller. */
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
