import { readFileSync } from 'node:fs'
import type { Server as HttpServer, ServerResponse } from 'node:http'
import { isIPv6 } from 'node:net'
import type { Socket } from 'node:net'
import { ConfigError } from '../errors.ts'

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
}

/**
 * The connections of one server. When there are too many, of all or of one address, the one that has been without a request for
 * longest is closed for the new one. A connection with a request is never closed for another.
 */
export class Connections {
  readonly #limits: ConnectionLimits
  readonly #onRefused: () => void
  readonly #bySocket = new Map<Socket, Connection>()
  /** Those without a request, the one that has been so for longest first. */
  readonly #idle = new Set<Connection>()
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
    server.on('request', ({ socket }, response: ServerResponse) => this.#asked(socket, response))
  }

  #opened(socket: Socket): void {
    const connection: Connection = { socket, network: networkOf(socket.remoteAddress ?? ''), busy: 0 }
    if (!this.#makeRoomFor(connection.network)) {
      this.#onRefused()
      socket.destroy()
      return
    }
    this.#bySocket.set(socket, connection)
    this.#idle.add(connection)
    this.#counts.set(connection.network, this.#countOf(connection.network) + 1)
    socket.once('close', () => this.#forget(connection))
  }

  #asked(socket: Socket, response: ServerResponse): void {
    const connection = this.#bySocket.get(socket)
    if (connection === undefined) return
    connection.busy += 1
    this.#idle.delete(connection)
    response.once('close', () => {
      connection.busy -= 1
      if (connection.busy === 0 && this.#bySocket.has(socket)) this.#idle.add(connection)
    })
  }

  #makeRoomFor(network: string): boolean {
    if (this.#countOf(network) >= this.#limits.perAddress && !this.#evict(network)) return false
    return this.#bySocket.size < this.#limits.max || this.#evict()
  }

  /** Closes the connection that has been without a request for longest, of this network or of all; false if none is without. */
  #evict(network?: string): boolean {
    for (const connection of this.#idle) {
      if (network !== undefined && connection.network !== network) continue
      this.#onRefused()
      connection.socket.destroy()
      this.#forget(connection)
      return true
    }
    return false
  }

  #forget(connection: Connection): void {
    this.#idle.delete(connection)
    if (!this.#bySocket.delete(connection.socket)) return
    const left = this.#countOf(connection.network) - 1
    if (left === 0) this.#counts.delete(connection.network)
    else this.#counts.set(connection.network, left)
  }

  #countOf(network: string): number {
    return this.#counts.get(network) ?? 0
  }
}
