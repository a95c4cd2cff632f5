import type { OpenFile } from './folder.ts'
import type { Operation } from './operation.ts'
import { formatSize } from '../units.ts'
import { Refusal } from './problem.ts'

/** What is read of a file at a time. */
const PIECE_BYTES = 256 * 1024

/** What is read first from the end: the newest lines are mostly short, and memory for more has to be made. */
const FIRST_PIECE_BYTES = 16 * 1024

const NEWLINE = 0x0a

/** How much of a file is read. */
export interface LineBounds {
  /** Of longer lines only the length is told. */
  lineBytes: number
  /** Beyond so many bytes the file is refused. */
  fileBytes: number
  /** Hears the size of the file before its first line. Not called where there is no file. */
  opened?: ((bytes: number) => void) | undefined
}

/** One line of a file, without its end. */
export interface Line {
  /** Undefined for one that is longer than asked for. */
  text: string | undefined
  bytes: number
  /** The offset of its first byte. */
  at: number
}

/** Pieces of one line, of which no more is kept than may be asked for. */
class Gathering {
  readonly #limit: number
  #pieces: Buffer[] = []
  #bytes = 0

  constructor(limit: number) {
    this.#limit = limit
  }

  get empty(): boolean {
    return this.#bytes === 0
  }

  /** `end`: it stands before what is there already. */
  add(piece: Buffer, end: boolean): void {
    this.#bytes += piece.length
    if (this.#bytes > this.#limit) this.#pieces = []
    else if (end) this.#pieces.unshift(Buffer.from(piece))
    else this.#pieces.push(Buffer.from(piece))
  }

  /** `at`: the offset at which it begins. */
  take(at: number): Line {
    const line = {
      text: this.#bytes > this.#limit ? undefined : Buffer.concat(this.#pieces).toString(),
      bytes: this.#bytes,
      at,
    }
    this.#pieces = []
    this.#bytes = 0
    return line
  }
}

async function pieceAt(operation: Operation, fd: number, buffer: Buffer, at: number): Promise<Buffer> {
  const count = await operation.call((calls) => calls.read(fd, buffer, at))
  operation.bytes(count)
  return buffer.subarray(0, count)
}

const tooLarge = (fileBytes: number): Refusal => new Refusal('too_large', `has more than ${formatSize(fileBytes)}`)

/** The lines of a file, the first first. */
export async function* linesFromStart(
  operation: Operation,
  { fd, stats }: OpenFile,
  { lineBytes, fileBytes }: LineBounds,
): AsyncGenerator<Line> {
  if (stats.size > fileBytes) throw tooLarge(fileBytes)
  const buffer = Buffer.allocUnsafe(PIECE_BYTES)
  const line = new Gathering(lineBytes)
  let begin = 0
  for (let at = 0; ;) {
    if (at > fileBytes) throw tooLarge(fileBytes)
    const piece = await pieceAt(operation, fd, buffer, at)
    if (piece.length === 0) break
    const offset = at
    at += piece.length
    let start = 0
    for (let end = piece.indexOf(NEWLINE); end !== -1; end = piece.indexOf(NEWLINE, start)) {
      line.add(piece.subarray(start, end), false)
      yield line.take(begin)
      start = end + 1
      begin = offset + start
    }
    line.add(piece.subarray(start), false)
  }
  if (!line.empty) yield line.take(begin)
}

/** The lines of a file, the last first. */
export async function* linesFromEnd(
  operation: Operation,
  { fd, stats }: OpenFile,
  { lineBytes, fileBytes }: LineBounds,
): AsyncGenerator<Line> {
  let buffer = Buffer.allocUnsafe(FIRST_PIECE_BYTES)
  const line = new Gathering(lineBytes)
  for (let end = stats.size; end > 0;) {
    if (stats.size - end > fileBytes) throw tooLarge(fileBytes)
    if (end < stats.size && buffer.length < PIECE_BYTES) buffer = Buffer.allocUnsafe(PIECE_BYTES)
    const start = Math.max(0, end - buffer.length)
    let piece = await pieceAt(operation, fd, buffer.subarray(0, end - start), start)
    end = start
    for (let at = piece.lastIndexOf(NEWLINE); at !== -1; at = piece.lastIndexOf(NEWLINE)) {
      line.add(piece.subarray(at + 1), true)
      yield line.take(start + at + 1)
      piece = piece.subarray(0, at)
    }
    line.add(piece, true)
  }
  yield line.take(0)
}

/** The whole lines that lie in a piece of a file, the last first. `at`: the offset of the piece. */
export function* linesOfPiece(piece: Buffer, at: number): Generator<Line> {
  for (let end = piece.length; end > 0;) {
    const start = piece.lastIndexOf(NEWLINE, end - 1) + 1
    if (start === 0 && at > 0) return
    yield { text: piece.toString('utf8', start, end), bytes: end - start, at: at + start }
    end = start - 1
  }
}
