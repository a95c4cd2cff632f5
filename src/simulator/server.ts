import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { ConfigError } from '../errors.ts'
import { parseScript } from './directives.ts'
import { readConversation } from './prompt.ts'
import { Recording, type RecordedRequest } from './record.ts'
import { reply } from './reply.ts'
import { sendError, StreamedAnswer, WholeAnswer } from './stream.ts'
import { type ModelRequest, requestProblem, tokensOf } from './wire.ts'

export type { Outcome, RecordedRequest } from './record.ts'

/** How to start a simulator. */
export interface SimulatorOptions {
  /** 0, the default, takes any free port. */
  port?: number
  /** The loopback address to listen on. Default `127.0.0.1`. */
  host?: '127.0.0.1'
  /** When set, requests with another key get 401. Default: every key is good. */
  apiKey?: string
  /** How many requests are kept in `requests`. Default 1,000. */
  recordLimit?: number
}

/** A running simulated model. */
export interface Simulator extends AsyncDisposable {
  /** What `ANTHROPIC_BASE_URL` must be. */
  readonly url: string
  readonly port: number
  /** The newest requests, oldest first. */
  readonly requests: readonly RecordedRequest[]
  /** Requests in flight. */
  readonly open: number
  /** Ends open connections and stops. Calling it again gives the same promise. */
  close(): Promise<void>
}

const MAX_BODY_BYTES = 32 * 1024 * 1024
const MAX_COUNTERS = 10_000

/** Reads the body up to the API's own limit; undefined when it is larger. */
async function readBody(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > MAX_BODY_BYTES) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

const sendJson = (response: ServerResponse, body: object): void => {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

const MODELS = ['claude-opus-5', 'claude-sonnet-5', 'claude-haiku-4-5'].map((id) => ({
  type: 'model',
  id,
  display_name: `${id} (simulated)`,
  created_at: '2026-01-01T00:00:00Z',
}))

class HttpSimulator implements Simulator {
  readonly requests: Recording[] = []
  open = 0
  readonly #options: SimulatorOptions
  readonly #server: Server
  readonly #closing = new AbortController()
  readonly #strikes = new Map<string, number>()
  #closed: Promise<void> | undefined

  constructor(options: SimulatorOptions) {
    this.#options = options
    this.#server = createServer((request, response) => void this.#serve(request, response))
    // Longer than clients keep an idle connection, so that they never write into one that is closing.
    this.#server.keepAliveTimeout = 120_000
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`
  }

  async listen(): Promise<void> {
    const port = this.#options.port ?? 0
    this.#server.listen(port, this.#options.host ?? '127.0.0.1')
    try {
      await once(this.#server, 'listening')
    } catch (cause) {
      throw new ConfigError('port', `cannot listen on ${port}: ${(cause as Error).message}`, { cause })
    }
  }

  close(): Promise<void> {
    this.#closed ??= this.#shutDown()
    return this.#closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #shutDown(): Promise<void> {
    this.#closing.abort()
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.#server.closeAllConnections()
    await closed
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const recording = new Recording(
      `req_sim_${randomUUID().replaceAll('-', '')}`,
      request.method ?? '',
      request.url ?? '',
      request.headers,
    )
    this.requests.push(recording)
    if (this.requests.length > (this.#options.recordLimit ?? 1000)) this.requests.shift()
    this.open += 1
    const gone = new AbortController()
    response.once('close', () => {
      this.open -= 1
      recording.status = response.headersSent ? response.statusCode : undefined
      if (recording.outcome === 'open') recording.outcome = response.writableFinished ? 'answered' : 'left'
      gone.abort()
    })
    response.setHeader('request-id', recording.id)
    try {
      await this.#route(request, response, recording, AbortSignal.any([gone.signal, this.#closing.signal]))
    } catch (error) {
      if (gone.signal.aborted || this.#closing.signal.aborted) return
      if (response.headersSent) response.destroy()
      else sendError({ response, requestId: recording.id }, 500, `[sim] ${String(error)}`)
    }
  }

  async #route(
    request: IncomingMessage,
    response: ServerResponse,
    recording: Recording,
    signal: AbortSignal,
  ): Promise<void> {
    const facts = { response, requestId: recording.id }
    const text = await readBody(request)
    if (text === undefined) return sendError(facts, 413, 'Request exceeds the maximum size')
    recording.text = text
    const { apiKey } = this.#options
    const bearer = request.headers.authorization?.replace(/^Bearer /i, '')
    if (apiKey !== undefined && request.headers['x-api-key'] !== apiKey && bearer !== apiKey) {
      return sendError(facts, 401, 'invalid x-api-key')
    }
    const route = `${recording.method} ${recording.path.split('?')[0]}`
    if (route === 'GET /v1/models')
      return sendJson(response, { data: MODELS, has_more: false, first_id: MODELS[0]?.id, last_id: MODELS.at(-1)?.id })
    if (route !== 'POST /v1/messages' && route !== 'POST /v1/messages/count_tokens')
      return sendError(facts, 404, 'Not found')
    const body = recording.body
    const problem = body === undefined ? 'the body is not valid JSON' : requestProblem(body)
    if (problem !== undefined) return sendError(facts, 400, problem)
    if (route.endsWith('count_tokens')) return sendJson(response, { input_tokens: tokensOf(text.length) })
    await this.#answer(body as ModelRequest, response, recording, signal)
  }

  async #answer(
    body: ModelRequest,
    response: ServerResponse,
    recording: Recording,
    signal: AbortSignal,
  ): Promise<void> {
    const conversation = readConversation(body.messages)
    recording.turn = conversation.turn
    recording.prompt = conversation.prompt
    const messageId = `msg_sim_${randomUUID().replaceAll('-', '')}`
    const inputTokens = tokensOf(recording.text.length)
    const facts = { response, signal, requestId: recording.id, messageId, model: body.model, inputTokens }
    const answer = body.stream === true ? new StreamedAnswer(facts) : new WholeAnswer(facts)
    const session = recording.headers['x-claude-code-session-id']
    await reply(conversation, parseScript(conversation.prompt), answer, ({ times }, number) => {
      if (times === Number.POSITIVE_INFINITY) return true
      const key = JSON.stringify([session, conversation.turn, conversation.prompt, number])
      const struck = this.#strikes.get(key) ?? 0
      if (struck >= times) return false
      this.#strikes.set(key, struck + 1)
      if (this.#strikes.size > MAX_COUNTERS) this.#strikes.delete(this.#strikes.keys().next().value ?? '')
      return true
    })
  }
}

/** Starts a simulated model on loopback. Close it when done. */
export async function startSimulator(options: SimulatorOptions = {}): Promise<Simulator> {
  const simulator = new HttpSimulator(options)
  await simulator.listen()
  return simulator
}
