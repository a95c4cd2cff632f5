import type { Socket } from 'node:net'

/** Longer lines are no message of ours. */
const MAX_LINE_CHARS = 64 * 1024 * 1024

/** A request is short: until it has arrived its sender is unknown. */
const MAX_REQUEST_CHARS = 64 * 1024

/** The lines of a text that arrives in pieces, without their newlines. Reads no faster than they are taken. Throws when one is too long. */
export async function* linesOf(
  pieces: AsyncIterable<string>,
  { first: longest = MAX_LINE_CHARS }: { first?: number } = {},
): AsyncGenerator<string> {
  let limit = longest
  let rest: string[] = []
  let size = 0
  for await (const piece of pieces) {
    const [first = '', ...others] = piece.split('\n')
    rest.push(first)
    size += first.length
    for (const other of others) {
      if (size > limit) throw new Error('a line is too long')
      yield rest.join('')
      limit = MAX_LINE_CHARS
      rest = [other]
      size = other.length
    }
    if (size > limit) throw new Error('a line is too long')
  }
  if (size > 0) yield rest.join('')
}

const piecesOf = (socket: Socket): AsyncIterable<string> =>
  socket.setEncoding('utf8').iterator({ destroyOnReturn: false }) as AsyncIterable<string>

/** The lines that arrive on a connection, which stays open when no more of them are read. */
export const linesFrom = (socket: Socket): AsyncGenerator<string> => linesOf(piecesOf(socket))

/** The same, of which the first is a request. */
export const requestFrom = (socket: Socket): AsyncGenerator<string> =>
  linesOf(piecesOf(socket), { first: MAX_REQUEST_CHARS })

/** Writes a message as a line; resolves when the other side can take more, or is gone. */
export function writeLine(socket: Socket, message: object): Promise<void> {
  return new Promise((resolve) => {
    if (socket.destroyed || socket.write(`${JSON.stringify(message)}\n`)) return resolve()
    const go = (): void => {
      socket.off('drain', go).off('close', go)
      resolve()
    }
    socket.on('drain', go).on('close', go)
  })
}
