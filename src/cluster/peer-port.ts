import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { Readable } from 'node:stream'
import { systemClock } from '../clock.ts'
import { listenProblem } from '../listen-problem.ts'
import { SIGNATURE, Verifier, digestOf, readProof } from './signature.ts'
import type { Refusal } from './signature.ts'

/** Headers of clients have 16 KiB at most, and hosts add their own. */
const LARGEST_HEADERS = 24 * 1024
const HEADERS_MS = 10_000
const REQUEST_MS = 300_000
const KEEP_ALIVE_MS = 65_000

/** A body of so many bytes is read before it is handled. Larger ones are passed on as they arrive. */
const SMALL_BODY = 64 * 1024

/** What is still written when the pool has closed is given so long. */
const LAST_WORDS_MS = 2_000

/** Connections on which no host has proved itself yet. The oldest one makes room. */
const MOST_STRANGERS = 256

const STATUS: Record<Refusal, number> = { unsigned: 401, forged: 401, stale: 401, repeated: 401, elsewhere: 421 }

/** Answers the requests of other hosts. */
export type PeerService = (request: Request, from: { id: string }) => Promise<Response>

/** What the port knows of its host once that is a member. */
export interface PortOwner {
  /** The shared secret. */
  key: string
  id: () => string
  /** The time of the store, in milliseconds since the epoch. */
  now: () => number
  serve: PeerService
  /** A request was refused. */
  refused: (why: Refusal, from: string) => void
}

/** Where other hosts reach this one. Takes only requests that they have signed. */
export class PeerPort {
  readonly #server: Server
  readonly #strangers = new Set<Socket>()
  /** `host:port`, as it listens. */
  readonly address: string
  #owner: (PortOwner & { verifier: Verifier }) | undefined

  private constructor(server: Server, host: string) {
    this.#server = server
    const { port } = server.address() as AddressInfo
    this.address = `${host.includes(':') ? `[${host}]` : host}:${port}`
    server.on('connection', (socket: Socket) => this.#opened(socket))
    server.on('request', (request, response) => void this.#take(request, response))
    server.on('error', () => undefined)
  }

  /** Throws ConfigError for an address that cannot be had. */
  static async open({ host, port }: { host: string; port: number }): Promise<PeerPort> {
    const server = createServer({
      maxHeaderSize: LARGEST_HEADERS,
      headersTimeout: HEADERS_MS,
      requestTimeout: REQUEST_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
      noDelay: true,
    })
    server.listen(port, host)
    try {
      await once(server, 'listening')
    } catch (error) {
      throw listenProblem('cluster.listen.', host, port, error)
    }
    return new PeerPort(server, host)
  }

  /** From now on requests are answered. */
  attach(owner: PortOwner): void {
    this.#owner = { ...owner, verifier: new Verifier(owner.key) }
  }

  async close(): Promise<void> {
    if (!this.#server.listening) return
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.#server.closeIdleConnections()
    for (const socket of this.#strangers) socket.destroy()
    const cancel = systemClock.after(LAST_WORDS_MS, () => this.#server.closeAllConnections(), { keepAlive: true })
    await closed
    cancel()
  }

  #opened(socket: Socket): void {
    this.#strangers.add(socket)
    socket.once('close', () => this.#strangers.delete(socket))
    const [oldest] = this.#strangers
    if (this.#strangers.size > MOST_STRANGERS) oldest?.destroy()
  }

  async #take(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const owner = this.#owner
    if (owner === undefined) return refuse(response, 503)
    const { method = 'GET', url: path = '/', headers } = incoming
    const why = owner.verifier.refusal({ method, path, headers }, { id: owner.id(), now: owner.now() })
    if (why !== undefined) {
      owner.refused(why, incoming.socket.remoteAddress ?? '')
      return refuse(response, STATUS[why])
    }
    this.#strangers.delete(incoming.socket)
    const { from = '', body = '' } = readProof(headers[SIGNATURE]) ?? {}
    const left = new AbortController()
    response.once('close', () => {
      left.abort()
      if (!this.#server.listening) setImmediate(() => this.#server.closeIdleConnections())
    })
    try {
      await send(await owner.serve(await requestOf(incoming, body, left.signal), { id: from }), response)
    } catch {
      // The other host has gone, or what it asked for has no answer: it sees that from the end of the connection.
      response.destroy()
    }
  }
}

function refuse(response: ServerResponse, status: number): void {
  response.writeHead(status, { connection: 'close', 'content-length': '0' }).end()
}

/** The same request, whose body fails if it is not the one that was signed. */
async function requestOf(incoming: IncomingMessage, digest: string, signal: AbortSignal): Promise<Request> {
  const { method = 'GET', url = '/', headers } = incoming
  const length = headers['content-length']
  const hasBody = length !== undefined || headers['transfer-encoding'] !== undefined
  if (!hasBody && digest !== digestOf(undefined)) throw new Error('the body of a signed request is missing')
  const given = new Headers()
  for (const [name, value] of Object.entries(headers))
    if (value !== undefined && name !== SIGNATURE) given.set(name, Array.isArray(value) ? value.join(', ') : value)
  const init = { method, headers: given, signal }
  if (!hasBody || method === 'GET' || method === 'HEAD') return new Request(`http://peer${url}`, init)
  const pieces = checked(incoming, digest)
  if (Number(length) <= SMALL_BODY) {
    // A stream for the only piece of a body would cost most of a millisecond.
    const whole: Uint8Array[] = []
    for await (const piece of pieces) whole.push(piece)
    return new Request(`http://peer${url}`, { ...init, body: Buffer.concat(whole) })
  }
  const body = Readable.toWeb(Readable.from(pieces, { objectMode: false }))
  return new Request(`http://peer${url}`, { ...init, body, duplex: 'half' } as RequestInit)
}

async function* checked(body: AsyncIterable<Uint8Array>, digest: string): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256')
  for await (const piece of body) {
    hash.update(piece)
    yield piece
  }
  if (hash.digest('hex') !== digest) throw new Error('the body is not the one that was signed')
}

/** Piece by piece, without a stream in between: each frame of a turn passes here. */
async function send({ status, headers, body }: Response, response: ServerResponse): Promise<void> {
  response.writeHead(status, Object.fromEntries(headers))
  if (body === null) return void response.end()
  // A stream may say nothing for long.
  response.flushHeaders()
  const reader = body.getReader()
  response.once('close', () => void reader.cancel().catch(() => undefined))
  for (;;) {
    const { done, value } = await reader.read()
    if (done || response.destroyed) return void response.end()
    if (!response.write(value)) await writable(response)
  }
}

/** Resolves when the other host has taken what was written, or has gone. */
const writable = (response: ServerResponse): Promise<void> =>
  new Promise((resolve) => {
    const settle = (): void => {
      response.off('drain', settle).off('close', settle)
      resolve()
    }
    response.once('drain', settle).once('close', settle)
  })
