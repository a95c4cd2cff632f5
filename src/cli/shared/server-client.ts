import { EventSourceParserStream } from 'eventsource-parser/stream'
import type { AGUIEvent, RunAgentInput } from '@ag-ui/core'
import { EventSchema } from '@ag-ui/core/schemas'
import { ConfigError } from '../../errors.ts'
import { RequestProblem } from './request-problem.ts'

/** The key of the caller: an option would show it to everyone who may list processes. */
export const KEY_VARIABLE = 'CLAUDE_AGENT_POOL_KEY'

/** Events that a server may send in one frame. Larger ones end the run. */
const LARGEST_FRAME = 64 * 2 ** 20

/** Reads the address of a server. Throws ConfigError. */
export function readServer(text: string): URL {
  const url = URL.parse(text)
  if (url === null || !/^https?:$/.test(url.protocol))
    throw new ConfigError('--server', `is no address like http://127.0.0.1:8080`)
  if (url.username !== '' || url.password !== '')
    throw new ConfigError('--server', `has a user or a password; put the key into ${KEY_VARIABLE}`)
  return new URL(url.href.endsWith('/') ? url.href : `${url.href}/`)
}

/** A server of this package, seen by a caller. */
export class ServerClient {
  readonly url: URL
  readonly #key: string | undefined

  constructor(url: URL, key: string | undefined) {
    this.url = url
    this.#key = key
  }

  /** The names of its agents that a conversation can begin with. Throws RequestProblem. */
  async agents(signal: AbortSignal): Promise<string[]> {
    const names: string[] = []
    let page: string | undefined
    do {
      const query: string = page === undefined ? '' : `&page=${encodeURIComponent(page)}`
      const answer = await this.#ask(`v1/agents?limit=100${query}`, { signal })
      const { data, next_page: next } = (await answer.json()) as {
        data?: { id?: unknown; name?: unknown }[]
        next_page?: unknown
      }
      // Front ends reach agents of the config alone: they have their name as their id.
      for (const { id, name } of data ?? []) if (typeof name === 'string' && id === `agent_${name}`) names.push(name)
      page = typeof next === 'string' ? next : undefined
    } while (page !== undefined && names.length < 1_000)
    return names
  }

  /** A run of AG-UI: its events, until its end. Throws RequestProblem. */
  async *run(agent: string, input: RunAgentInput, signal: AbortSignal): AsyncGenerator<AGUIEvent, void> {
    const body = JSON.stringify(input)
    const answer = await this.#ask(`ag-ui/${encodeURIComponent(agent)}`, { method: 'POST', body, signal })
    if (answer.body === null) throw new RequestProblem('the server answered with nothing')
    const frames = answer.body
      .pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array<ArrayBuffer>>)
      .pipeThrough(new EventSourceParserStream({ maxBufferSize: LARGEST_FRAME, onError: 'terminate' }))
    try {
      for await (const { data } of frames) {
        const read = EventSchema.safeParse(parsed(data))
        // A later release may tell more.
        if (read.success) yield read.data as AGUIEvent
      }
    } catch (error) {
      if (signal.aborted) throw error
      throw new RequestProblem(`the connection to ${this.url.origin} broke: ${wordsOf(error)}`)
    }
  }

  async #ask(path: string, init: RequestInit): Promise<Response> {
    const { origin } = this.url
    const headers = {
      'content-type': 'application/json',
      accept: 'text/event-stream, application/json',
      ...(this.#key === undefined ? {} : { 'x-api-key': this.#key }),
    }
    const answer = await fetch(new URL(path, this.url), { ...init, headers, redirect: 'error' }).catch(
      (error: unknown) => {
        if (init.signal?.aborted === true) throw error
        throw new RequestProblem(`${origin} cannot be reached: ${wordsOf(error)}`)
      },
    )
    if (answer.ok) return answer
    const text = (await answer.text().catch(() => '')).slice(0, 10_000)
    const { error } = (parsed(text) ?? {}) as { error?: { message?: unknown; type?: unknown } }
    const said = typeof error?.message === 'string' ? error.message : 'it gave no reason'
    const hint = answer.status === 401 ? `; the key is read from ${KEY_VARIABLE}` : ''
    throw new RequestProblem(`${origin} answered ${answer.status}: ${said}${hint}`, answer.status)
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** What `fetch` hides in its cause. */
function wordsOf(error: unknown): string {
  const { message, cause } = error as { message: string; cause?: { code?: string; message?: string } }
  return cause?.message || cause?.code || message
}
