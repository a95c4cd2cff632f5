import '../this-node.ts'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { listenProblem } from '../listen-problem.ts'
import { readBody, refuseBody, sendError, sendJson } from './http.ts'
import { Model } from './model.ts'
import { type ResolvedOptions, resolveOptions, type SimulatorOptions } from './options.ts'
import { type RecordedRequest, Recording, RequestRecord } from './record.ts'
import { type ModelRequest, requestProblem, tokensOf } from './wire.ts'

export type { Fault, Step } from './directives.ts'
export type { LoopbackHost, SimulatorOptions } from './options.ts'
export type { Outcome, RecordedRequest } from './record.ts'
export { loadScenario, parseScenario, type Scenario, type ScenarioRule } from './scenario.ts'

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

const MODELS = ['claude-sonnet-5', 'claude-haiku-4-5'].map((id) => ({
  type: 'model',
  id,
  display_name: `${id} (simulated)`,
  created_at: '2026-01-01T00:00:00Z',
}))

const ROUTES: readonly string[] = ['GET /v1/models', 'POST /v1/messages', 'POST /v1/messages/count_tokens']

class HttpSimulator implements Simulator {
  open = 0
  readonly #options: ResolvedOptions
  readonly #server: Server
  readonly #record: RequestRecord
  readonly #model: Model
  readonly #closing = new AbortController()
  #port = 0
  #closed: Promise<void> | undefined

  constructor(options: ResolvedOptions) {
    this.#options = options
    this.#record = new RequestRecord(options.recordLimit)
    this.#model = new Model(options.scenario, options.pingMs)
    this.#server = createServer((request, response) => void this.#serve(request, response))
    // Longer than clients keep an idle connection, so that none writes into one that is closing.
    this.#server.keepAliveTimeout = 120_000
  }

  get requests(): readonly RecordedRequest[] {
    return this.#record.requests
  }

  get port(): number {
    return this.#port
  }

  get url(): string {
    const { host } = this.#options
    return `http://${host.includes(':') ? `[${host}]` : host}:${this.#port}`
  }

  async listen(): Promise<void> {
    const { port, host } = this.#options
    try {
      this.#server.listen(port, host)
      await once(this.#server, 'listening')
    } catch (cause) {
      throw listenProblem('', host, port, cause)
    }
    this.#port = (this.#server.address() as AddressInfo).port
  }

  close(): Promise<void> {
    this.#closed ??= this.#shutDown()
    return this.#closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #shutDown(): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#closing.abort()
    this.#server.close()
    this.#server.closeAllConnections()
    await closed
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const id = `req_sim_${randomUUID().replaceAll('-', '')}`
    const recording = new Recording(id, request.method ?? '', request.url ?? '', request.headers)
    const gone = new AbortController()
    this.#record.add(recording)
    this.open += 1
    response.setHeader('request-id', id)
    response.once('close', () => {
      this.open -= 1
      this.#settle(recording, response)
      gone.abort()
    })
    try {
      await this.#route(request, response, recording, AbortSignal.any([gone.signal, this.#closing.signal]))
    } catch (error) {
      if (gone.signal.aborted || this.#closing.signal.aborted) return
      if (response.headersSent) response.destroy()
      else sendError(response, 500, `[sim] ${String(error)}`)
    }
  }

  #settle(recording: Recording, response: ServerResponse): void {
    if (response.headersSent) recording.status = response.statusCode
    if (recording.outcome !== 'open') return
    recording.outcome = response.writableFinished ? 'answered' : this.#closing.signal.aborted ? 'closed' : 'left'
  }

  async #route(
    request: IncomingMessage,
    response: ServerResponse,
    recording: Recording,
    signal: AbortSignal,
  ): Promise<void> {
    const text = await readBody(request)
    if (text === undefined) return refuseBody(request, response)
    this.#record.keepBody(recording, text)
    if (!this.#admits(request)) return sendError(response, 401, 'invalid x-api-key')
    const route = `${recording.method} ${recording.path.split('?')[0]}`
    if (!ROUTES.includes(route)) return sendError(response, 404, `Not found: ${route}`)
    if (route === 'GET /v1/models') return sendModels(response)
    const body = parseJson(text)
    const problem = body === undefined ? 'The request body is not valid JSON' : requestProblem(body)
    if (problem !== undefined) return sendError(response, 400, problem)
    const characters = text.length
    if (route.endsWith('count_tokens')) return sendJson(response, { input_tokens: tokensOf(characters) })
    await this.#model.answer({ request: body as ModelRequest, characters, response, signal, recording })
  }

  #admits({ headers }: IncomingMessage): boolean {
    const { apiKey } = this.#options
    return apiKey === undefined || headers['x-api-key'] === apiKey || headers.authorization === `Bearer ${apiKey}`
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function sendModels(response: ServerResponse): void {
  sendJson(response, { data: MODELS, has_more: false, first_id: MODELS[0]?.id, last_id: MODELS.at(-1)?.id })
}

/** Starts a simulated model on loopback. Close it when done. Throws ConfigError for a bad option, or when it cannot listen. */
export async function startSimulator(options: SimulatorOptions = {}): Promise<Simulator> {
  const simulator = new HttpSimulator(resolveOptions(options))
  await simulator.listen()
  return simulator
}
