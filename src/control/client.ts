import { createConnection } from 'node:net'
import type { Socket } from 'node:net'
import { once } from 'node:events'
import { ConfigError, PoolClosedError, PoolError } from '../errors.ts'
import type { PoolErrorCode } from '../errors.ts'
import { linesFrom, writeLine } from './lines.ts'
import type { Operation } from './operations.ts'
import type { ControlReply } from './server.ts'

/** A connection to the host that listens there; undefined where none does. */
export async function connectTo(path: string): Promise<Socket | undefined> {
  const socket = createConnection(path)
  try {
    await once(socket, 'connect')
    return socket
  } catch {
    return undefined
  }
}

/** Asks a running host: gives the lines that the operation makes, then its value. Throws what the host's pool threw. */
export async function* ask(
  socket: Socket,
  { operation, input, secret }: { operation: Operation; input: AsyncIterable<string>; secret: string | undefined },
): AsyncGenerator<string, unknown> {
  let unreadable: unknown
  socket.on('error', () => undefined)
  try {
    await writeLine(socket, { ...operation, secret })
    const sent = send(socket, operation.do === 'import' ? input : none())
    // What cannot be read here ends the import there, too.
    sent.catch((error: unknown) => {
      unreadable = error
      socket.destroy()
    })
    for await (const text of linesFrom(socket)) {
      const reply = JSON.parse(text) as ControlReply
      if ('line' in reply) yield reply.line
      else if ('error' in reply) throw errorOf(reply.error)
      // A value that is undefined has no words in JSON.
      else return 'value' in reply ? reply.value : undefined
    }
    await sent
    throw new PoolClosedError('the host ended before it had answered; ask again')
  } catch (error) {
    throw unreadable ?? error
  } finally {
    socket.destroy()
  }
}

async function send(socket: Socket, input: AsyncIterable<string>): Promise<void> {
  for await (const line of input) {
    if (socket.destroyed) return
    const whole = line.endsWith('\n') ? line.slice(0, -1) : line
    if (!socket.write(`${whole}\n`)) await Promise.race([once(socket, 'drain'), once(socket, 'close')])
  }
  socket.end()
}

async function* none(): AsyncGenerator<string> {
  // Nothing follows the request.
}

function errorOf({ name, code, message }: { name: string; code: string; message: string }): Error {
  if (name === 'ConfigError') {
    const [path = '', ...problem] = message.split(': ')
    return new ConfigError(path, problem.join(': '))
  }
  if (code === 'error') return new Error(message)
  return Object.assign(new PoolError(code as PoolErrorCode, message), { name })
}
