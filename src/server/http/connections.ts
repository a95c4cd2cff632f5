import { readFileSync } from 'node:fs'
import type { IncomingMessage, RequestListener, Server as HttpServer, ServerResponse } from 'node:http'
import { isIPv6 } from 'node:net'
import type { Socket } from 'node:net'
import { ConfigError } from '../../errors.ts'

/** What bounds the connections of a server. */
export interface ConnectionOptions {
  /** Open at once. Default: half of the descriptors that the process may have, at most 20000. */
  max?: number | undefined
  /** Open at once from one address; of IPv6, from one /64 network. Default: half of `max`. */
  perAddress?: number | undefined
}

/** `connections`, resolved. */
export interface ConnectionLimits {
  max: number
  perAddress: number
}

const MOST = 20_000

const UNAUTHORIZED = 401

/** Requests on one connection that wait for answers: clients send one at a time, and the parser passes on all that it has at once. */
const MOST_PIPELINED = 16

/** What is assumed where the system does not say. */
const USUAL_DESCRIPTORS = 20_000

/** The descriptors that this process may have; Node has raised the soft limit to the hard one. */
function descriptorLimit(): number {
  try {
    const [, limit = ''] = /^Max open files\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'latin1')) ?? []
    return limit === 'unlimited' ? Infinity : Number.parseInt(limit, 10)
  } catch {
    return USUAL_DESCRIPTORS
  }
}

/** The other half of the descriptors is for agents, which take three pipes each, and files. Throws ConfigError. */
export function readConnectionLimits(
  { max, perAddress }: ConnectionOptions = {},
  descriptors: number = descriptorLimit(),
): ConnectionLimits {
  if (max !== undefined && max >= descriptors)
    throw new ConfigError(
      'server.connections.max',
      `${max} are more than the ${descriptors} descriptors of this process allow; raise that limit (ulimit -n, LimitNOFILE), or give less`,
    )
  const all = max ?? Math.max(1, Math.min(MOST, Math.floor(descriptors / 2)))
  return { max: all, perAddress: Math.min(all, perAddress ?? Math.max(1, Math.ceil(all / 2))) }
}

/** The part of an address that one client has for itself. */
function networkOf(address: string): string {
  const plain = address.replace(/^::ffff:(?=\d+\.)/, '')
  if (!isIPv6(plain)) return plain
  const [head = '', tail] = plain.split('::')
  const groups = head.split(':')
  const missing = tail === undefined ? 0 : 8 - groups.length - tail.split(':').length
  const whole = tail === undefined ? groups : [...groups, ...Array<string>(missing).fill('0'), ...tail.split(':')]
  return whole.slice(0, 4).join(':')
}

interface Connection {
  readonly socket: Socket
  readonly network: string
  /** Requests that are not answered yet. */
  busy: number
  /** A request with a key or token that is good has come over it. */
  known: boolean
}

/**
 * The connections of one server. When there are too many, of all or of one address, the one that has been without a request for
 * longest is closed for the new one: one that has never brought a good key if there is such a one. A connection with a request
 * is never closed for another.
 */
export class Connections {
  readonly #limits: ConnectionLimits
  readonly #onRefused: () => void
  readonly #bySocket = new Map<Socket, Connection>()
  /** Connections without a request, the longest idle first: those of unknown callers, and the others. */
  readonly #strangers = new Set<Connection>()
  readonly #known = new Set<Connection>()
  readonly #counts = new Map<string, number>()

  /** `onRefused`: a connection was closed because there are too many. */
  constructor(limits: ConnectionLimits, onRefused: () => void = () => undefined) {
    this.#limits = limits
    this.#onRefused = onRefused
  }

  get size(): number {
    return this.#bySocket.size
  }

  /** Watches over the connections of this server. */
  attach(server: HttpServer): void {
    server.on('connection', (socket: Socket) => this.#opened(socket))
    const listeners = server.listeners('request') as RequestListener[]
    server.removeAllListeners('request')
    server.on('request', (request, response) => {
      if (this.#asked(request, response)) for (const listener of listeners) listener(request, response)
    })
  }

  #opened(socket: Socket): void {
    const connection: Connection = { socket, network: networkOf(socket.remoteAddress ?? ''), busy: 0, known: false }
    if (!this.#makeRoomFor(connection.network)) {
      this.#onRefused()
      socket.destroy()
      return
    }
    this.#bySocket.set(socket, connection)
    this.#strangers.add(connection)
    this.#counts.set(connection.network, this.#countOf(connection.network) + 1)
    socket.once('close', () => this.#forget(connection))
  }

  /** False for a request that is not to be served. */
  #asked({ socket, headers }: IncomingMessage, response: ServerResponse): boolean {
    const connection = this.#bySocket.get(socket)
    if (connection === undefined || connection.busy >= MOST_PIPELINED) {
      socket.destroy()
      return false
    }
    connection.busy += 1
    this.#strangers.delete(connection)
    this.#known.delete(connection)
    response.once('close', () => {
      connection.busy -= 1
      const hasCredential = headers.authorization !== undefined || headers['x-api-key'] !== undefined
      if (hasCredential && response.statusCode !== UNAUTHORIZED) connection.known = true
      if (connection.busy > 0 || !this.#bySocket.has(socket)) return
      const idle = connection.known ? this.#known : this.#strangers
      idle.add(connection)
    })
    return true
  }

  #makeRoomFor(network: string): boolean {
    if (this.#countOf(network) >= this.#limits.perAddress && !this.#evict(network)) return false
    return this.#bySocket.size < this.#limits.max || this.#evict()
  }

  /** Closes the connection that has been without a request for longest, of this network or of all; false if none is without. */
  #evict(network?: string): boolean {
    for (const idle of [this.#strangers, this.#known]) {
      for (const connection of idle) {
        if (network !== undefined && connection.network !== network) continue
        this.#onRefused()
        connection.socket.destroy()
        this.#forget(connection)
        return true
      }
    }
    return false
  }

  #forget(connection: Connection): void {
    this.#strangers.delete(connection)
    this.#known.delete(connection)
    if (!this.#bySocket.delete(connection.socket)) return
    const left = this.#countOf(connection.network) - 1
    if (left === 0) this.#counts.delete(connection.network)
    else this.#counts.set(connection.network, left)
  }

  #countOf(network: string): number {
    return this.#counts.get(network) ?? 0
  }
}
