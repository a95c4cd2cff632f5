import { createHash, timingSafeEqual } from 'node:crypto'
import { chmodSync, chownSync, mkdirSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { tokensOf } from './headers.ts'
import type { Charged } from './protocol.ts'
import type { Upstream } from './upstream.ts'

/** Connections of one worker. */
const MAX_CONNECTIONS = 256

/** Longer than the CLI keeps an idle connection, so that it never writes into one that is closing. */
const KEEP_ALIVE_MS = 120_000
const HEADERS_MS = 30_000

/** What one worker may do. */
export interface Grant {
  readonly worker: string
  readonly tokenHash: Buffer
  /** The path of the base URL that the agent was given. */
  readonly base: string
  upstream: Upstream
  charged: Charged
  /** Settles when it has a session, or is gone. */
  readonly bound: PromiseWithResolvers<void>
  /** Calls that use tokens and are under way. */
  running: number
  server: Server
  gone: boolean
}

export type Serve = (request: IncomingMessage, response: ServerResponse, grant: Grant | undefined) => void

export const hashOf = (token: string): Buffer => createHash('sha256').update(token).digest()

const holds = ({ tokenHash }: Grant, request: IncomingMessage): boolean =>
  tokensOf(request.headers).some((token) => timingSafeEqual(hashOf(token), tokenHash))

function listener(serve: (request: IncomingMessage, response: ServerResponse) => void): Server {
  const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS, headersTimeout: HEADERS_MS }, serve)
  server.maxConnections = MAX_CONNECTIONS
  // What is no HTTP gets no answer.
  server.on('clientError', (_error, socket) => socket.destroy())
  return server
}

/** Ends a listener with all its connections. */
function close(server: Server): void {
  server.close()
  server.closeAllConnections()
}

/** Lets a user connect, and no other one. The folder stays the host's, so that nothing else can stand in the place of the socket. */
function openTo(user: number, socket: string): void {
  chownSync(socket, user, user)
  chmodSync(socket, 0o600)
  chmodSync(dirname(socket), 0o711)
}

/** The workers that may call, each on a socket of its own, where only its own token counts. */
export class Grants {
  readonly #serve: Serve
  readonly #grants = new Map<string, Grant>()

  constructor(serve: Serve) {
    this.#serve = serve
  }

  get(worker: string): Grant | undefined {
    return this.#grants.get(worker)
  }

  /** Listens for a worker. Rejects with what the system says. */
  async add(
    grant: Omit<Grant, 'server' | 'running' | 'bound' | 'gone'>,
    socket: string | undefined,
    user?: number,
  ): Promise<Grant> {
    this.remove(grant.worker)
    const server = listener((request, response) => {
      this.#serve(request, response, holds(made, request) ? made : undefined)
    })
    const made: Grant = { ...grant, server, running: 0, gone: false, bound: Promise.withResolvers() }
    if (grant.charged.session !== undefined) made.bound.resolve()
    this.#grants.set(grant.worker, made)
    if (socket === undefined) return made
    // That of a proxy that died.
    rmSync(socket, { force: true })
    mkdirSync(dirname(socket), { recursive: true, mode: 0o700 })
    await listening(server, () => server.listen(socket))
    if (user !== undefined) openTo(user, socket)
    return made
  }

  /** Listens on loopback for all of them, told apart by their tokens; resolves with the port. */
  async onLoopback(port: number): Promise<number> {
    const server = listener((request, response) => {
      const grant = [...this.#grants.values()].find((one) => holds(one, request))
      this.#serve(request, response, grant)
    })
    server.maxConnections = Infinity
    await listening(server, () => server.listen(port, '127.0.0.1'))
    const address = server.address()
    return typeof address === 'object' && address !== null ? address.port : port
  }

  bind(worker: string, session: string): void {
    const grant = this.#grants.get(worker)
    if (grant === undefined) return
    grant.charged = { ...grant.charged, session }
    grant.bound.resolve()
  }

  /** Ends what a worker may do, and the calls that it has under way. */
  remove(worker: string): Grant | undefined {
    const grant = this.#grants.get(worker)
    if (grant === undefined) return undefined
    this.#grants.delete(worker)
    grant.gone = true
    grant.bound.resolve()
    close(grant.server)
    return grant
  }
}

/** Resolves when it listens. Rejects with what the system says. */
export function listening(server: Server, listen: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.once('listening', () => {
      server.off('error', reject)
      server.on('error', () => undefined)
      resolve()
    })
    listen()
  })
}
