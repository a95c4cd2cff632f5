import { Agent, request as httpRequest } from 'node:http'
import type { ClientRequest, IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { systemClock } from '../clock.ts'
import type { CancelTimer } from '../clock.ts'
import { SIGNATURE, digestOf, sign } from './signature.ts'

/** Another host that takes requests. */
export interface Peer {
  /** Of this run of the host. */
  id: string
  /** Its name for people. */
  place: string
  /** `host:port`. */
  address: string
}

/** A request to another host. */
export interface PeerCall {
  method: string
  /** With its query. */
  path: string
  headers: Readonly<Record<string, string>>
  body?: Uint8Array | undefined
  /** Ends the request, or the answer that is being read. */
  signal?: AbortSignal | undefined
}

/** What came of a request. `unsent`: the other host has not had it. `unknown`: it may have done what was asked. */
export type PeerAnswer =
  | { response: IncomingMessage; failed?: undefined }
  | { response?: undefined; failed: 'unsent' | 'unknown'; error: Error }

/** A host on the same network accepts a connection within milliseconds. */
const CONNECT_MS = 1_000

/** Shorter than the other host keeps a connection, so that a request does not meet its end. */
const FREE_SOCKET_MS = 30_000
const MOST_FREE_SOCKETS = 64

interface ClientContext {
  /** The shared secret. */
  key: string
  /** The id of this host. */
  id: () => string
  /** The time of the store, in milliseconds since the epoch. */
  now: () => number
}

/** Sends requests to the other hosts. Each one ends when its host is gone. */
export class PeerClient {
  readonly #context: ClientContext
  readonly #agent = new Agent({
    keepAlive: true,
    scheduling: 'lifo',
    timeout: FREE_SOCKET_MS,
    maxFreeSockets: MOST_FREE_SOCKETS,
  })
  readonly #open = new Map<string, Set<ClientRequest>>()

  constructor(context: ClientContext) {
    this.#context = context
  }

  /** Never rejects. The answer must be read or destroyed. */
  call(peer: Peer, call: PeerCall): Promise<PeerAnswer> {
    return new Promise((resolve) => {
      const { request, isSent } = this.#send(peer, call)
      request.once('response', (response) => resolve({ response }))
      request.once('error', (error) => resolve({ failed: isSent() ? 'unknown' : 'unsent', error }))
    })
  }

  #send({ id: to, address }: Peer, { method, path, headers, body, signal }: PeerCall) {
    const { key, id, now } = this.#context
    const [host, port] = split(address)
    const at = Math.round(now())
    const signature = sign(key, { method, path, headers, body: digestOf(body), from: id(), to, at })
    const length = body === undefined ? {} : { 'content-length': String(body.length) }
    const request = httpRequest({
      agent: this.#agent,
      host,
      port,
      method,
      path,
      headers: { ...headers, ...length, [SIGNATURE]: signature },
      ...(signal === undefined ? {} : { signal }),
    })
    this.#track(to, request)
    const isSent = watchConnection(request)
    // A quiet stream is not an idle connection.
    request.on('timeout', () => undefined)
    request.end(body)
    return { request, isSent }
  }

  /** A host is gone: what it was asked has no answer any more. */
  forget(id: string): void {
    for (const request of this.#open.get(id) ?? []) request.destroy(new Error(`host ${id} is gone`))
  }

  close(): void {
    for (const id of this.#open.keys()) this.forget(id)
    this.#agent.destroy()
  }

  #track(to: string, request: ClientRequest): void {
    const requests = this.#open.get(to) ?? new Set()
    this.#open.set(to, requests)
    requests.add(request)
    request.once('close', () => {
      requests.delete(request)
      if (requests.size === 0 && this.#open.get(to) === requests) this.#open.delete(to)
    })
  }
}

/** Gives up on a connection that does not open. Returns whether the request may have reached the other host. */
function watchConnection(request: ClientRequest): () => boolean {
  let isSent = false
  let cancel: CancelTimer | undefined
  request.once('socket', (socket: Socket) => {
    if (!socket.connecting) {
      isSent = true
      return
    }
    cancel = systemClock.after(CONNECT_MS, () => request.destroy(new Error('the connection did not open in a second')))
    socket.once('connect', () => {
      cancel?.()
      isSent = true
    })
  })
  request.once('close', () => cancel?.())
  return () => isSent
}

function split(address: string): [host: string, port: number] {
  const at = address.lastIndexOf(':')
  return [address.slice(0, at).replace(/^\[(.*)\]$/, '$1'), Number(address.slice(at + 1))]
}
