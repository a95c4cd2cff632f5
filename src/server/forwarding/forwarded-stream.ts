type Chunk = Uint8Array<ArrayBuffer>

/** What comes from another host, or from this one if the session has come here. */
export interface Upstream {
  chunks: AsyncIterator<Uint8Array>
  /** Ends the stream. */
  destroy: () => void
}

export interface ForwardedStreamOptions {
  first: Upstream
  /** The id behind which the stream begins; undefined: it cannot be opened again before it has shown one. */
  position: string | undefined
  /** Opens the stream again behind this id. Undefined: it is over. Rejects: it cannot be had. */
  reopen: (lastId: string) => Promise<Upstream | undefined>
  /** True for a frame with which the other host breaks off what goes on elsewhere. */
  isBreak: (frame: string) => boolean
  /** What the client is told at the end of a stream that could not go on. */
  lastFrame: (error: unknown) => Chunk
}

/** A frame of an agent's message may have 32 MB, written as JSON. */
const LARGEST_FRAME = 256 * 2 ** 20

/** A stream that broke so often without a frame in between is given up. */
const MOST_REOPENED = 20

const LINE_FEED = 0x0a

/** As in `event: error`. */
const LETTER_E = 0x65

/**
 * The event stream of another host, frame by frame. When that host is gone, the stream is opened again at the next one behind the last
 * id that was shown: each frame with an id comes once. It reads on only when its reader does.
 */
export class ForwardedStream implements AsyncIterator<Chunk, undefined> {
  readonly #options: ForwardedStreamOptions
  #upstream: Upstream
  #lastId: string | undefined
  /** What has come of a frame whose end has not. */
  #begun: Uint8Array[] = []
  #size = 0
  #reopened = 0
  #over = false
  #left = false

  constructor(options: ForwardedStreamOptions) {
    this.#options = options
    this.#upstream = options.first
    this.#lastId = options.position
  }

  async next(): Promise<IteratorResult<Chunk, undefined>> {
    while (!this.#over) {
      const frames = await this.#read()
      if (frames !== undefined) return { done: false, value: frames }
    }
    return { done: true, value: undefined }
  }

  async return(): Promise<IteratorResult<Chunk, undefined>> {
    this.#left = true
    this.#over = true
    this.#upstream.destroy()
    return { done: true, value: undefined }
  }

  /** Whole frames, if some have come. */
  async #read(): Promise<Chunk | undefined> {
    try {
      const { done, value } = await this.#upstream.chunks.next()
      if (done === true && this.#size === 0) {
        this.#over = true
        return undefined
      }
      if (done !== true) return this.#whole(value)
    } catch {
      // It broke, and so it did when it ended in the middle of a frame.
    }
    return this.#goOn()
  }

  #whole(chunk: Uint8Array): Chunk | undefined | Promise<Chunk | undefined> {
    const end = endOfFrames(chunk, this.#begun.at(-1))
    if (end === 0) {
      this.#keep(chunk)
      return undefined
    }
    const frames = Buffer.concat([...this.#begun, chunk.subarray(0, end)])
    this.#begun = []
    this.#size = 0
    if (end < chunk.length) this.#keep(chunk.subarray(end))
    return this.#shown(frames)
  }

  #keep(piece: Uint8Array): void {
    this.#begun.push(piece)
    this.#size += piece.length
    if (this.#size > LARGEST_FRAME) throw new Error('a frame of another host is too large')
  }

  #shown(frames: Buffer): Chunk | undefined | Promise<Chunk | undefined> {
    const id = lastIdIn(frames)
    if (id !== undefined) {
      this.#lastId = id
      this.#reopened = 0
    }
    const last = frames.lastIndexOf('\n\n', frames.length - 3) + 2
    const start = last === 1 ? 0 : last
    if (frames[start] !== LETTER_E || !this.#options.isBreak(frames.toString('utf8', start))) return asChunk(frames)
    // What came before is still to be shown.
    this.#upstream.destroy()
    this.#upstream = BROKEN
    return start === 0 ? this.#goOn() : asChunk(frames.subarray(0, start))
  }

  async #goOn(): Promise<Chunk | undefined> {
    this.#upstream.destroy()
    this.#begun = []
    this.#size = 0
    if (this.#left) return undefined
    try {
      if (this.#lastId === undefined || this.#reopened >= MOST_REOPENED)
        throw new Error(
          'the host of this session is gone, and the stream has shown nothing behind which it could go on',
        )
      this.#reopened += 1
      const next = await this.#options.reopen(this.#lastId)
      // Its reader may have left meanwhile.
      if (next === undefined || this.#left) {
        next?.destroy()
        this.#over = true
        return undefined
      }
      this.#upstream = next
      return undefined
    } catch (error) {
      this.#over = true
      return this.#left ? undefined : this.#options.lastFrame(error)
    }
  }
}

const BROKEN: Upstream = {
  chunks: { next: () => Promise.reject(new Error('broken off')) },
  destroy: () => undefined,
}

const asChunk = (bytes: Buffer): Chunk => bytes as unknown as Chunk

/** Where the last whole frame of a chunk ends; 0: in none of it. `before`: what came right before it. */
function endOfFrames(chunk: Uint8Array, before: Uint8Array | undefined): number {
  const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
  const end = bytes.lastIndexOf('\n\n')
  if (end !== -1) return end + 2
  return bytes[0] === LINE_FEED && before?.at(-1) === LINE_FEED ? 1 : 0
}

/** The last id of whole frames. Their data is JSON in one line, so no data looks like it. */
function lastIdIn(frames: Buffer): string | undefined {
  const at = frames.lastIndexOf('\nid: ')
  if (at === -1) return undefined
  return frames.toString('latin1', at + 5, frames.indexOf(LINE_FEED, at + 5))
}
