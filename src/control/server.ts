import { createHash, timingSafeEqual } from 'node:crypto'
import { chmodSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import type { Server, Socket } from 'node:net'
import { dirname } from 'node:path'
import { once } from 'node:events'
import { PoolError } from '../errors.ts'
import type { Pool } from '../pool/pool.ts'
import { makePrivateFolder } from '../private-file.ts'
import { requestFrom, writeLine } from './lines.ts'
import { operate } from './operations.ts'
import type { Operation } from './operations.ts'

/** Commands of people: more at once is a mistake. */
const MAX_CONNECTIONS = 16

/** Until the request is there, or the next line of an import. */
const PATIENCE_MS = 30_000

/** What a connection hears: lines of what it asked for, then one value or error. */
export type ControlReply =
  | { line: string }
  | { value: unknown }
  | { error: { name: string; code: string; message: string } }

/** Where other processes of the same user ask a running pool. One request a connection. */
export class ControlSocket {
  readonly #path: string
  readonly #secret: string
  readonly #connections = new Set<Socket>()
  #server: Server | undefined

  /** `secret`: what a request must hold to be answered. */
  constructor(path: string, secret: string) {
    this.#path = path
    this.#secret = secret
  }

  /** Begins to listen. An existing socket is that of a host that died: the owner of the data directory may replace it. */
  async listen(pool: Pool): Promise<void> {
    // A client may close its side after its request, and still gets the answer.
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      this.#connections.add(socket)
      socket.on('close', () => this.#connections.delete(socket)).on('error', () => undefined)
      void serve(pool, socket, this.#secret)
    })
    this.#server = server
    server.maxConnections = MAX_CONNECTIONS
    server.unref()
    const named = process.platform === 'win32'
    if (!named) {
      makePrivateFolder(dirname(this.#path))
      rmSync(this.#path, { force: true })
    }
    const listening = once(server, 'listening')
    server.listen(this.#path)
    await listening
    if (!named) chmodSync(this.#path, 0o600)
    server.on('error', () => undefined)
  }

  /** Ends all connections, and removes the socket. */
  async close(): Promise<void> {
    const server = this.#server
    if (server === undefined) return
    const closed = new Promise<void>((resolve) => server.close(() => resolve()))
    for (const socket of this.#connections) socket.destroy()
    await closed
  }
}

async function serve(pool: Pool, socket: Socket, secret: string): Promise<void> {
  const lines = requestFrom(socket)
  try {
    await writeLine(socket, await answer(pool, socket, lines, secret))
    socket.end()
  } catch {
    // It left, or does not speak as we do.
    socket.destroy()
  }
}

const STRANGER: ControlReply = {
  error: {
    name: 'Error',
    code: 'error',
    message: 'this host answers only with the secret in host.json of its data directory; use a command of this release',
  },
}

/** Compares digests, so that the time it takes tells nothing. */
function isSame(secret: string, given: unknown): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest()
  return typeof given === 'string' && timingSafeEqual(digest(secret), digest(given))
}

async function answer(
  pool: Pool,
  socket: Socket,
  lines: AsyncGenerator<string>,
  secret: string,
): Promise<ControlReply> {
  socket.setTimeout(PATIENCE_MS, () => socket.destroy())
  const first = await lines.next()
  if (first.done === true) throw new Error('no request came')
  const { secret: given, ...request } = JSON.parse(first.value) as Operation & { secret?: unknown }
  if (!isSame(secret, given)) return STRANGER
  const operation = request as Operation
  if (operation.do !== 'import') socket.setTimeout(0)
  try {
    const work = operate(pool, operation, lines)
    for (;;) {
      const next = await work.next()
      if (next.done === true) return { value: next.value }
      await writeLine(socket, { line: next.value })
      if (socket.destroyed) {
        await work.return(undefined)
        throw new Error('the connection has no reader any more')
      }
    }
  } catch (error) {
    const { name, message } = error as Error
    return { error: { name, code: error instanceof PoolError ? error.code : 'error', message } }
  }
}
