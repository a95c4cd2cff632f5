import type { Socket } from 'node:net'

/** Longer lines are no message of ours. */
const MAX_LINE_CHARS = 64 * 1024 * 1024

/** The lines of a text that arrives in pieces, without their newlines. Reads no faster than they are taken. Throws when one is too long. */
export async function* linesOf(pieces: AsyncIterable<string>): AsyncGenerator<string> {
  let rest: string[] = []
  let size = 0
  for await (const piece of pieces) {
    const [first = '', ...others] = piece.split('\n')
    rest.push(first)
    size += first.length
    for (const other of others) {
      yield rest.join('')
      rest = [other]
      size = other.length
    }
    if (size > MAX_LINE_CHARS) throw new Error('a line is too long')
  }
  if (size > 0) yield rest.join('')
}

/** The lines that arrive on a connection, which stays open when nobody takes more of them. */
export const linesFrom = (socket: Socket): AsyncGenerator<string> =>
  linesOf(socket.setEncoding('utf8').iterator({ destroyOnReturn: false }) as AsyncIterable<string>)

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
