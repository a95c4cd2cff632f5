import { createServer, request as requestHttp } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { connect, isIP } from 'node:net'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { lookupOf, publicTarget } from '../addresses.ts'
import type { Resolve } from '../addresses.ts'
import { withoutHops } from './hops.ts'
import { BRIDGE_PORT, allows, placeOf, placeOfUrl, textOf } from './rules.ts'
import type { EgressLists, Place } from './rules.ts'
import type { Connection } from './traffic.ts'

/** Connections of one worker at a time. */
const MAX_CONNECTIONS = 128
const HEADER_BYTES = 16 * 1024
const HEADERS_MS = 30_000
const CONNECT_MS = 10_000
/** A connection on which nothing comes in either direction is ended. */
const IDLE_MS = 10 * 60_000

/** Where a place leads once its name is resolved. */
type Way = { addresses: readonly string[] } | { refusal: string } | { failure: string }

export interface EgressPortOptions {
  lists: EgressLists
  /** Called when a connection is over, or was not made. */
  over: (place: Place | undefined, connection: Connection) => void
  /** Answers what is asked of this listener itself, at the port of the bridge. False: it has no such address. */
  own?: (request: IncomingMessage, response: ServerResponse, path: string) => boolean
  /** Default: the name servers of the machine. */
  resolve?: Resolve | undefined
}

/** In a sandbox, whose loopback is its own, the bridge from there listens at this port. */
const OWN: Place = { host: '127.0.0.1', port: BRIDGE_PORT }

/** The way out of one sandbox: an HTTP proxy that leads to allowed places alone. It listens where its owner says. */
export class EgressPort {
  readonly server: Server
  readonly #options: EgressPortOptions
  readonly #open = new Set<Duplex>()
  /** Tells of a connection that goes on what it is by now. */
  readonly #running = new Set<() => void>()

  constructor(options: EgressPortOptions) {
    this.#options = options
    this.server = createServer({ headersTimeout: HEADERS_MS, maxHeaderSize: HEADER_BYTES, keepAliveTimeout: 1_000 })
    this.server.maxConnections = MAX_CONNECTIONS
    this.server.on('connection', (socket) => this.#own(socket))
    this.server.on('clientError', (_error, socket) => socket.destroy())
    this.server.on('upgrade', (_request, socket) => answer(socket, 501, 'this proxy does not upgrade; use CONNECT'))
    this.server.on('connect', (request, socket, head) => void this.#tunnel(request, socket, head))
    this.server.on('request', (request, response) => void this.#forward(request, response))
  }

  /** Ends every connection, and listens no more. */
  close(): void {
    this.server.close()
    for (const tell of this.#running) tell()
    for (const socket of this.#open) socket.destroy()
  }

  /** A connection to a place begins; what is returned tells of it, once. */
  #begin(place: Place, connection: () => Connection): () => void {
    const tell = (): void => {
      if (this.#running.delete(tell)) this.#options.over(place, connection())
    }
    this.#running.add(tell)
    return tell
  }

  #own<Connected extends Duplex>(socket: Connected): Connected {
    this.#open.add(socket)
    socket.on('error', () => undefined)
    socket.once('close', () => this.#open.delete(socket))
    return socket
  }

  /** Resolves a name once: what is found is dialled. An address must be listed as such, and leads wherever it does. */
  async #wayTo(place: Place): Promise<Way> {
    if (!allows(this.#options.lists, place)) return { refusal: `${textOf(place)} is not in isolation.egress.allow` }
    if (isIP(place.host) !== 0) return { addresses: [place.host] }
    const target = await publicTarget(place.host, this.#options.resolve)
    if ('problem' in target) return { refusal: target.problem }
    return target.addresses.length === 0 ? { failure: `${place.host} does not resolve` } : target
  }

  async #tunnel(request: IncomingMessage, near: Duplex, head: Buffer): Promise<void> {
    const place = placeOf(request.url ?? '')
    const way = place === undefined ? { refusal: 'CONNECT needs host:port' } : await this.#wayTo(place)
    if (!('addresses' in way) || place === undefined)
      return this.#refuse(place, way, (...said) => answer(near, ...said))
    if (near.destroyed) return
    const far = this.#own(
      connect({ host: place.host, port: place.port, lookup: lookupOf(way.addresses), allowHalfOpen: true }),
    )
    let connected = false
    let problem: string | undefined
    far.setTimeout(CONNECT_MS, () => far.destroy(new Error(connected ? 'nothing came' : 'it does not answer')))
    far.on('error', (error) => (problem = error.message))
    far.once('connect', () => {
      connected = true
      far.setTimeout(IDLE_MS)
      near.write('HTTP/1.1 200 Connection Established\r\n\r\n')
      if (head.length > 0) far.write(head)
      near.pipe(far)
      far.pipe(near)
    })
    const over = this.#begin(place, () => ({
      sentBytes: far.bytesWritten,
      receivedBytes: far.bytesRead,
      outcome: connected ? 'passed' : 'failed',
      ...(problem === undefined ? {} : { problem }),
    }))
    near.once('close', () => far.destroy())
    far.once('close', () => {
      if (!connected) answer(near, 502, `${textOf(place)} cannot be reached: ${problem ?? 'it closed'}`)
      else near.destroy()
      over()
    })
  }

  async #forward(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on('error', () => undefined)
    request.on('error', () => undefined)
    const asked = request.url ?? ''
    const url = URL.canParse(asked) ? new URL(asked) : undefined
    const place = url?.protocol === 'http:' ? placeOfUrl(url) : undefined
    const path = asked.startsWith('/') ? asked : place && textOf(place) === textOf(OWN) ? pathOf(asked) : undefined
    if (path !== undefined && this.#options.own?.(request, response, path) === true) return
    const way =
      place === undefined
        ? { refusal: 'this is a proxy for http:// URLs, and CONNECT for all else' }
        : await this.#wayTo(place)
    if (!('addresses' in way) || place === undefined || url === undefined)
      return this.#refuse(place, way, (status, text) => reply(response, status, text))
    if (response.destroyed) return
    let far: Socket | undefined
    let problem: string | undefined
    // A connection of its own: one that is kept could be that of another address.
    const onward = requestHttp(url, {
      method: request.method ?? 'GET',
      headers: { ...withoutHops(request.headers), host: url.host, connection: 'close' },
      lookup: lookupOf(way.addresses),
      agent: false,
      maxHeaderSize: HEADER_BYTES,
    })
    onward.once('socket', (socket) => {
      far = this.#own(socket)
      far.setTimeout(CONNECT_MS, () => onward.destroy(new Error('it does not answer')))
      far.once('connect', () => far?.setTimeout(IDLE_MS))
    })
    onward.on('error', (error) => {
      problem = error.message
      if (response.headersSent) response.destroy()
      else reply(response, 502, `${textOf(place)} cannot be reached: ${error.message}`)
    })
    onward.once('response', (answered) => {
      answered.on('error', () => response.destroy())
      response.writeHead(answered.statusCode ?? 502, withoutHops(answered.headers))
      answered.pipe(response)
    })
    onward.once('upgrade', (_answer, socket) => socket.destroy())
    onward.once(
      'close',
      this.#begin(place, () => ({
        sentBytes: far?.bytesWritten ?? 0,
        receivedBytes: far?.bytesRead ?? 0,
        outcome: problem !== undefined && (far?.bytesRead ?? 0) === 0 ? 'failed' : 'passed',
        ...(problem === undefined ? {} : { problem }),
      })),
    )
    response.once('close', () => onward.destroy())
    request.pipe(onward)
  }

  #refuse(place: Place | undefined, way: Way, say: (status: number, text: string) => void): void {
    const problem = 'refusal' in way ? way.refusal : 'failure' in way ? way.failure : ''
    const outcome = 'refusal' in way ? 'refused' : 'failed'
    say(outcome === 'refused' ? 403 : 502, problem)
    this.#options.over(place, { sentBytes: 0, receivedBytes: 0, outcome, problem })
  }
}

/** As it was asked for, so that what is in it can be checked. */
const pathOf = (asked: string): string => /^https?:\/\/[^/?]*(.*)$/i.exec(asked)?.[1] ?? '/'

const STATUS: Readonly<Record<number, string>> = { 403: 'Forbidden', 501: 'Not Implemented', 502: 'Bad Gateway' }

/** The text names what an agent has asked for. */
const lineOf = (text: string): string => `${text.replaceAll(/[^\x20-\x7e]/g, '?')}\n`

function answer(socket: Duplex, status: number, text: string): void {
  const body = lineOf(text)
  const head = `HTTP/1.1 ${status} ${STATUS[status]}\r\ncontent-type: text/plain\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n`
  socket.end(head + body)
  // A client that does not close keeps its place no longer than this.
  socket.resume()
  ;(socket as Socket).setTimeout(CONNECT_MS, () => socket.destroy())
}

function reply(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'text/plain', connection: 'close' }).end(lineOf(text))
}
