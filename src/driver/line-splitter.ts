import { OpenJson } from './open-json.ts'

/** Lines that must reach the SDK at once: requests to the host, and answers to the host's own. */
const CONTROL_PREFIXES = ['{"type":"control_', '{"type":"keep_alive"'].map((text) => Buffer.from(text))
const LONGEST_PREFIX = Math.max(...CONTROL_PREFIXES.map(({ length }) => length))

const NEWLINE = 10

/** What a line with a JSON object may begin with: white space and a brace. */
const BEGINNINGS = new Set(Buffer.from(' \t\r\n{'))

/** A piece of a conversation line, or a whole control line; `noise` begins no JSON object, so it is no message. */
export interface Piece {
  kind: 'control' | 'conversation' | 'noise'
  bytes: Buffer
  endsLine: boolean
  /** Set when the line was too long and ends here. */
  cut?: true
}

const isControl = (head: Buffer): boolean =>
  CONTROL_PREFIXES.some((prefix) => head.length >= prefix.length && head.subarray(0, prefix.length).equals(prefix))

function kindOf(head: Buffer): Piece['kind'] {
  if (!BEGINNINGS.has(head[0] ?? NEWLINE)) return 'noise'
  return isControl(head) ? 'control' : 'conversation'
}

/**
 * Cuts a process's output into pieces that never span lines, and tells control lines from conversation by their first
 * bytes. Conversation comes in pieces as it arrives, so that a line of many megabytes is never gathered here.
 */
export class LineSplitter {
  readonly #longestBytes: number
  #kind: 'unknown' | Piece['kind'] = 'unknown'
  /** Follows a line that comes in several pieces. */
  #json: OpenJson | undefined
  /** True while the rest of a line that was cut is dropped. */
  #skipping = false
  #gathered: Buffer[] = []
  #gatheredBytes = 0
  #lineBytes = 0

  /** A longer conversation line is cut to a message that can be parsed. */
  constructor(longestBytes: number = Infinity) {
    this.#longestBytes = longestBytes
  }

  /** Bytes of the line that has begun and not ended. */
  get lineBytes(): number {
    return this.#lineBytes
  }

  /** True while the rest of a line that was cut is dropped. */
  get skipping(): boolean {
    return this.#skipping
  }

  /** True while the line that has begun is no message. */
  get inNoise(): boolean {
    return this.#kind === 'noise'
  }

  *split(chunk: Buffer): Generator<Piece> {
    let start = 0
    while (start < chunk.length) {
      const newline = chunk.indexOf(NEWLINE, start)
      const end = newline === -1 ? chunk.length : newline + 1
      const piece = this.#next(chunk.subarray(start, end), newline !== -1)
      if (piece !== undefined) yield piece
      start = end
    }
  }

  #next(bytes: Buffer, endsLine: boolean): Piece | undefined {
    this.#lineBytes += bytes.length
    if (this.#skipping) {
      if (endsLine) this.#endLine()
      return undefined
    }
    if (this.#kind === 'unknown' || this.#kind === 'control') {
      const known = this.#kind === 'control' || endsLine || this.#gatheredBytes + bytes.length >= LONGEST_PREFIX
      if (known && this.#kind === 'unknown') this.#kind = kindOf(this.#withGathered(bytes))
      if (!known || (this.#kind === 'control' && !endsLine)) {
        // A copy: the chunk that it is cut from goes when all its pieces have been dealt with.
        this.#gathered.push(Buffer.from(bytes))
        this.#gatheredBytes += bytes.length
        return undefined
      }
    }
    const piece: Piece = { kind: this.#kind as Piece['kind'], bytes: this.#withGathered(bytes), endsLine }
    this.#gathered = []
    this.#gatheredBytes = 0
    if (piece.kind === 'conversation' && this.#lineBytes > this.#longestBytes) return this.#cut(piece)
    if (endsLine) this.#endLine()
    else if (piece.kind === 'conversation') (this.#json ??= new OpenJson()).read(piece.bytes)
    return piece
  }

  /** Ends a line that is too long at the first place where its JSON can end. */
  #cut(piece: Piece): Piece {
    const json = (this.#json ??= new OpenJson())
    const { bytes, endsLine } = piece
    for (let length = 0; length < bytes.length - (endsLine ? 1 : 0); length += 1) {
      if (json.canEnd) {
        this.#skipping = !endsLine
        if (endsLine) this.#endLine()
        const whole = Buffer.concat([bytes.subarray(0, length), Buffer.from(`${json.ending}\n`)])
        return { ...piece, bytes: whole, endsLine: true, cut: true }
      }
      json.read(bytes.subarray(length, length + 1))
    }
    if (endsLine) this.#endLine()
    return piece
  }

  #endLine(): void {
    this.#kind = 'unknown'
    this.#lineBytes = 0
    this.#json = undefined
    this.#skipping = false
  }

  #withGathered(bytes: Buffer): Buffer {
    return this.#gathered.length === 0 ? bytes : Buffer.concat([...this.#gathered, bytes])
  }
}
