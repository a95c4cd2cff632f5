import { randomBytes } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import type { Context, MiddlewareHandler } from 'hono'
import type { Clock } from '../../clock.ts'
import { FencedError, PoolClosedError, SessionElsewhereError } from '../../index.ts'
import type { Peer, PeerAnswer, Pool, PoolCluster, SessionPlace } from '../../index.ts'
import type { Mint, ServerEnv } from '../context.ts'
import { ApiError, retryAfter, toApiError } from '../errors.ts'
import { bytesOf } from '../http/json-body.ts'
import { frame } from '../http/stream.ts'
import type { Streams } from '../streams.ts'
import { ForwardedStream } from './forwarded-stream.ts'
import type { Upstream } from './forwarded-stream.ts'
import { SAID, headersFor, headersOf, isRepeatable } from '../http/passed-on.ts'

/** For so long a request waits for a host that can take it. */
const PATIENCE_MS = 5_000

/** Between two tries, and up to so much more. */
const PAUSE_MS = 100

/** No host is asked for something that is not there. */
const NOT_HERE = 421

const EVENT_STREAM = 'text/event-stream'

/** What a client gets as a stream. `events`: those of a session, from any host. `turn`: the messages of one, from its own host alone. */
type StreamKind = 'events' | 'turn' | 'run'

interface ForwardingContext {
  pool: Pool
  clock: Clock
  streams: Streams
  /** Answers a request of this host's own. */
  fetch: (request: Request, env: ServerEnv['Bindings']) => Response | Promise<Response>
}

type Key = (c: Context<ServerEnv>) => string | undefined

const keyInPath: Key = (c) => c.req.param('id')

/** Passes requests that name a session on to the host that owns it. One that was passed on is answered there, or nowhere. */
export class Forwarding {
  readonly #context: ForwardingContext
  /** Requests that other hosts have passed on and that are being answered, by their seeds: a repeat waits for the first try. */
  readonly #working = new Map<string, Promise<void>>()

  constructor(context: ForwardingContext) {
    this.#context = context
  }

  /** For a route whose path or body names a session. What bodies it has must have been read. */
  route(
    kindOf: (c: Context<ServerEnv>) => StreamKind | undefined,
    keyOf: Key = keyInPath,
  ): MiddlewareHandler<ServerEnv> {
    return async (c, next) => {
      const { cluster } = this.#context.pool
      const key = cluster === undefined ? undefined : keyOf(c)
      if (cluster === undefined || key === undefined) return next()
      const request = new ForwardedRequest(c, { ...this.#context, cluster, key, kind: kindOf(c) })
      const passedOn = c.env?.passedOn
      const answer = await (passedOn === undefined
        ? request.fromClient(next)
        : inTurn(this.#working, passedOn.mint.seed, () => request.fromHost(next)))
      if (answer === undefined) return undefined
      c.res = undefined
      c.res = answer
      return undefined
    }
  }
}

/** Of the same request one try at a time. */
async function inTurn<T>(working: Map<string, Promise<void>>, seed: string, work: () => Promise<T>): Promise<T> {
  for (let other = working.get(seed); other !== undefined; other = working.get(seed)) await other
  const { promise, resolve } = Promise.withResolvers<void>()
  working.set(seed, promise)
  try {
    return await work()
  } finally {
    working.delete(seed)
    resolve()
  }
}

interface RequestContext extends ForwardingContext {
  cluster: PoolCluster
  key: string
  kind: StreamKind | undefined
}

type Next = () => Promise<void>

/** One request that names a session. */
class ForwardedRequest {
  readonly #c: Context<ServerEnv>
  readonly #context: RequestContext
  readonly #mint: Mint
  readonly #left = new AbortController()

  constructor(c: Context<ServerEnv>, context: RequestContext) {
    this.#c = c
    this.#context = context
    this.#mint = c.env?.passedOn?.mint ?? { seed: randomBytes(16).toString('hex'), isRepeat: false }
    c.set('mint', this.#mint)
    c.req.raw.signal.addEventListener('abort', () => this.#left.abort(), { once: true })
  }

  get #tenant(): string {
    return this.#c.var.caller.tenant
  }

  /** Answers here, or gives back the answer of the session's host. Throws ApiError when none can be had. */
  async fromClient(next: Next): Promise<Response | undefined> {
    const deadline = this.#deadline
    let wasTriedHere = false
    for (;;) {
      const place = await this.#place()
      if (typeof place === 'string') {
        if (!wasTriedHere && (await this.#here(next))) return undefined
        const answer = wasTriedHere ? await this.#againHere() : undefined
        if (answer !== undefined) return answer
        wasTriedHere = true
        this.#mint.isRepeat = true
      } else if ('peer' in place) {
        const answer = await this.#ask(place.peer)
        if (answer !== undefined) return this.#answer(place.peer, answer)
      } else if (wasTriedHere || (await this.#here(next))) return undefined
      else this.#mint.isRepeat = true
      await this.#pause(deadline)
    }
  }

  /** The routes behind this request have had it: it is tried again as one of its own. */
  async #againHere(): Promise<Response | undefined> {
    const { raw } = this.#c.req
    const said = { requestId: this.#c.var.requestId, mint: this.#mint, reopens: false }
    const body = bytesOf(raw)
    const { method, url } = raw
    const headers = headersFor(raw.headers, said)
    const init = { method, headers, signal: this.#left.signal, ...(body === undefined ? {} : { body }) }
    const answer = await this.#context.fetch(new Request(url, init as RequestInit), {
      passedOn: { from: 'itself', ...said },
    })
    return answer.status === NOT_HERE ? undefined : answer
  }

  /** Another host has passed the request on: this host answers, or says that the session is not here. */
  async fromHost(next: Next): Promise<Response | undefined> {
    const { cluster, key, kind } = this.#context
    this.#forgetPlace()
    const place = await this.#place()
    const isLeaving = kind === 'events' && !cluster.keeps(this.#tenant, key)
    if (!cluster.isValid || typeof place === 'object' || isLeaving) return new Response(null, { status: NOT_HERE })
    const isDone = (await this.#here(next)) && !isClosing(this.#c.error)
    return isDone ? undefined : new Response(null, { status: NOT_HERE })
  }

  /** False: nothing was done, because another host has the session. */
  async #here(next: Next): Promise<boolean> {
    const c = this.#c
    const { cluster, key, kind } = this.#context
    let held: Disposable | undefined
    if (kind === 'events') {
      try {
        held = await cluster.hold(this.#tenant, key)
      } catch (error) {
        if (isElsewhere(error)) return false
        throw error
      }
      c.set('held', held)
    }
    await next()
    // A stream has taken it.
    if (c.var.held !== undefined) held?.[Symbol.dispose]()
    return !isElsewhere(c.error) && !(isRepeatable(c) && causeOf(c.error) instanceof FencedError)
  }

  /** The session's place. An error of the store is the answer. */
  #place(): Promise<SessionPlace> {
    return this.#context.cluster.placeOf(this.#tenant, this.#context.key)
  }

  #forgetPlace(): void {
    this.#context.cluster.forgetPlace(this.#tenant, this.#context.key)
  }

  /** Undefined: that host has not done it. What it may have done is asked for as a repeat from then on. */
  async #ask(peer: Peer): Promise<IncomingMessage | undefined> {
    const { raw } = this.#c.req
    return this.#send(peer, raw.method, pathOf(raw.url), { body: bytesOf(raw), headers: raw.headers, reopens: false })
  }

  async #send(
    peer: Peer,
    method: string,
    path: string,
    { body, headers, reopens }: { body?: Buffer | undefined; headers: Headers; reopens: boolean },
  ): Promise<IncomingMessage | undefined> {
    const requestId = this.#c.var.requestId
    const { response, failed }: PeerAnswer = await this.#context.cluster.call(peer, {
      method,
      path,
      headers: headersFor(headers, { requestId, mint: this.#mint, reopens }),
      body,
      signal: this.#left.signal,
    })
    // Also of a host that lost the session on the way: an event may be stored.
    if (failed !== 'unsent') this.#mint.isRepeat = true
    if (response !== undefined && response.statusCode !== NOT_HERE && response.statusCode !== 501) return response
    response?.resume()
    this.#forgetPlace()
    return undefined
  }

  async #answer(peer: Peer, response: IncomingMessage): Promise<Response> {
    const { statusCode: status = 502 } = response
    const headers = headersOf(response.headers)
    const contentType = headers.get('content-type') ?? ''
    if (status === 204 || status === 304 || this.#c.req.method === 'HEAD') {
      response.resume()
      return new Response(null, { status, headers })
    }
    if (status !== 200 || this.#context.kind === undefined || contentType.startsWith('application/json')) {
      const body = Readable.toWeb(response) as unknown as ReadableStream<Uint8Array<ArrayBuffer>>
      return new Response(body, { status, headers })
    }
    const source = contentType.startsWith(EVENT_STREAM) ? this.#frames(peer, response) : chunksOf(response)
    // Ended with the client, and not with the request: that is over when the stream begins.
    return this.#context.streams.answer(this.#c, source, { contentType, leave: () => this.#left.abort() })
  }

  #frames(peer: Peer, response: IncomingMessage): ForwardedStream {
    const { kind } = this.#context
    const position = response.headers[SAID.position]
    const last = this.#c.req.header('last-event-id')
    return new ForwardedStream({
      first: upstreamOf(response),
      position: kind === 'run' ? undefined : typeof position === 'string' ? position : last,
      reopen: (lastId) => this.#reopen(peer, lastId),
      isBreak: (text) =>
        kind === 'events' && text.startsWith('event: error\n') && text.includes('"type":"overloaded_error"'),
      lastFrame: (error) => lastFrame(kind, error),
    })
  }

  /** Opens a stream again that broke, at the host that has the session by then. */
  async #reopen(first: Peer, lastId: string): Promise<Upstream | undefined> {
    const { kind } = this.#context
    const { raw } = this.#c.req
    const headers = new Headers(raw.headers)
    headers.set('last-event-id', lastId)
    this.#forgetPlace()
    const deadline = this.#deadline
    for (;;) {
      const place = await this.#place()
      const isSame = typeof place === 'object' && 'peer' in place && place.peer.id === first.id
      // The turn has ended with its host.
      if (kind === 'turn' && !isSame) throw new ApiError('api_error', HOST_GONE)
      if (typeof place === 'string') return await this.#openHere(headers)
      const response =
        'peer' in place ? await this.#send(place.peer, 'GET', pathOf(raw.url), { headers, reopens: true }) : undefined
      if (response?.statusCode === 200) return upstreamOf(response)
      response?.resume()
      if (kind === 'turn' && response !== undefined) throw new ApiError('api_error', HOST_GONE)
      if (response !== undefined && response.statusCode === 404)
        throw new ApiError('not_found_error', 'the session was deleted')
      await this.#pause(deadline)
    }
  }

  /** The session has come to this host. */
  async #openHere(headers: Headers): Promise<Upstream | undefined> {
    const { url } = this.#c.req.raw
    const passed = headersFor(headers, { requestId: this.#c.var.requestId, mint: this.#mint, reopens: true })
    const left = new AbortController()
    const request = new Request(url, { headers: passed, signal: left.signal })
    const passedOn = { from: 'itself', requestId: this.#c.var.requestId, mint: this.#mint, reopens: true }
    const { status, body } = await this.#context.fetch(request, { passedOn })
    if (status !== 200 || body === null) throw new ApiError('api_error', HOST_GONE)
    const reader = body.getReader()
    return {
      chunks: { next: () => reader.read() as Promise<IteratorResult<Uint8Array>> },
      destroy: () => {
        left.abort()
        void reader.cancel().catch(() => undefined)
      },
    }
  }

  get #deadline(): number {
    return this.#context.clock.now() + PATIENCE_MS
  }

  /** Waits before the next try. Throws ApiError when there is to be none. */
  async #pause(deadline: number): Promise<void> {
    const { clock, cluster } = this.#context
    cluster.lookSoon()
    if (clock.now() >= deadline)
      throw new ApiError('overloaded_error', UNREACHABLE, { status: 503, headers: retryAfter(1_000) })
    await new Promise<void>((resolve) => void clock.after(PAUSE_MS * (1 + Math.random()), resolve, { keepAlive: true }))
    if (this.#left.signal.aborted) throw new ApiError('api_error', 'the client has gone')
  }
}

const UNREACHABLE = 'the host of this session cannot be reached, and no other one may take it over yet; try again'

const HOST_GONE =
  'the host of this session is gone; what the agent has done is done, and the events of the session say how its turn has ended'

const causeOf = (error: unknown): unknown => (error instanceof ApiError ? error.cause : error)

/** Nothing was done, because another host has the session. */
const isElsewhere = (error: unknown): boolean => causeOf(error) instanceof SessionElsewhereError

/** Nothing was done, because this host closes. */
function isClosing(error: unknown): boolean {
  const cause = causeOf(error)
  return cause instanceof PoolClosedError && !cause.duringTurn
}

const pathOf = (url: string): string => {
  const { pathname, search } = new URL(url)
  return `${pathname}${search}`
}

function upstreamOf(response: IncomingMessage): Upstream {
  const chunks = response[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>
  return { chunks, destroy: () => void response.destroy() }
}

/** A stream without frames cannot be opened again: it breaks as that of its host does. */
async function* chunksOf(response: IncomingMessage): AsyncGenerator<Uint8Array<ArrayBuffer>, undefined> {
  for await (const chunk of response) yield chunk as Uint8Array<ArrayBuffer>
  return undefined
}

function lastFrame(kind: StreamKind | undefined, error: unknown): Uint8Array<ArrayBuffer> {
  const told = toApiError(error)
  if (kind === 'run')
    return new TextEncoder().encode(`data: ${JSON.stringify({ type: 'RUN_ERROR', message: told.message })}\n\n`)
  return frame('error', JSON.stringify(kind === 'events' ? told.body('') : { message: told.message }))
}
