import type { UnderlyingSource } from 'node:stream/web'
import type { CancelTimer, Clock } from '../../clock.ts'

/** Proxies and clients take a quiet stream for a dead one. */
const HEARTBEAT_MS = 15_000

/** A reader that takes nothing for so long has gone, or is too slow to wait for. */
const WRITE_DEADLINE_MS = 30_000

const encoder = new TextEncoder()

/** The heartbeat of an event stream, as Anthropic's clients know it. */
export const PING: Uint8Array<ArrayBuffer> = encoder.encode('event: ping\ndata: {"type":"ping"}\n\n')

/** One frame of an event stream. `data` is one line: JSON is. */
export const frame = (event: string, data: string, id?: string): Uint8Array<ArrayBuffer> =>
  encoder.encode(`event: ${event}\n${id === undefined ? '' : `id: ${id}\n`}data: ${data}\n\n`)

/** How a stream came to its end: by its source, its reader, or because that was too slow or may not read on. */
export type StreamEnd = 'ended' | 'left' | 'cut'

export interface StreamOptions {
  clock: Clock
  /** Sent when nothing else was for 15 s. Default: nothing is. */
  ping?: Uint8Array<ArrayBuffer>
  /** Cuts the stream. Default: nothing does. */
  cut?: AbortSignal
  /** Told once when the stream is over. */
  onEnd?: (how: StreamEnd) => void
}

type Chunk = Uint8Array<ArrayBuffer>

/**
 * A body that takes from its source only what its reader takes from it: of a slow reader at most one chunk is held, and
 * one that takes nothing for 30 s is cut. `onEnd` tells a source that the stream waits for that its reader has gone.
 */
export const pullStream = (source: AsyncIterator<Chunk, undefined>, options: StreamOptions): ReadableStream<Chunk> =>
  new ReadableStream(new PulledSource(source, options), { highWaterMark: 0 })

type Arrived = { next: IteratorResult<Chunk, undefined> } | { error: unknown }

/** There may be thousands: what all of them can share is in methods. */
class PulledSource implements UnderlyingSource<Chunk> {
  readonly #source: AsyncIterator<Chunk, undefined>
  readonly #options: StreamOptions
  #controller: ReadableStreamDefaultController<Chunk> | undefined
  /** What the source has given and the reader has not asked for yet, or why it gave nothing. */
  #arrived: Arrived | undefined
  #asked = false
  /** Ends the pull that waits. */
  #pulled: (() => void) | undefined
  #taken = true
  #since: number
  #cancelTimer: CancelTimer | undefined
  #over = false

  constructor(source: AsyncIterator<Chunk, undefined>, options: StreamOptions) {
    this.#source = source
    this.#options = options
    this.#since = options.clock.now()
    options.cut?.addEventListener('abort', this.#cutShort, { once: true })
  }

  start(controller: ReadableStreamDefaultController<Chunk>): void {
    this.#controller = controller
    this.#watch()
  }

  pull(): Promise<void> | undefined {
    this.#taken = true
    this.#since = this.#options.clock.now()
    if (this.#arrived !== undefined) {
      this.#deliver()
      return undefined
    }
    if (!this.#asked) {
      this.#asked = true
      this.#source.next().then(this.#gave, this.#failed)
    }
    return new Promise((resolve) => (this.#pulled = resolve))
  }

  cancel(): void {
    this.#end('left')
  }

  readonly #cutShort = (): void => this.#cut('the token of this stream’s reader is not valid any more')
  readonly #gave = (next: IteratorResult<Chunk, undefined>): void => this.#came({ next })
  readonly #failed = (error: unknown): void => this.#came({ error })

  #came(what: Arrived): void {
    this.#asked = false
    this.#arrived = what
    if (this.#pulled === undefined) return
    this.#deliver()
    this.#resolvePull()
  }

  #deliver(): void {
    const what = this.#arrived
    this.#arrived = undefined
    if (this.#over || what === undefined) return
    if ('next' in what && what.next.done !== true) return this.#give(what.next.value)
    this.#end('ended')
    if ('error' in what) this.#controller?.error(what.error)
    else this.#controller?.close()
  }

  #give(chunk: Chunk): void {
    this.#taken = false
    this.#since = this.#options.clock.now()
    this.#controller?.enqueue(chunk)
  }

  #resolvePull(): void {
    const resolve = this.#pulled
    this.#pulled = undefined
    resolve?.()
  }

  /** One timer for both purposes, which looks again instead of being set anew at every chunk. */
  #watch(): void {
    const { clock } = this.#options
    const due = this.#since + (this.#taken ? HEARTBEAT_MS : WRITE_DEADLINE_MS)
    this.#cancelTimer = clock.after(Math.max(due - clock.now(), 0), () => this.#look())
  }

  #look(): void {
    const { clock, ping } = this.#options
    const quietMs = clock.now() - this.#since
    if (!this.#taken && quietMs >= WRITE_DEADLINE_MS) {
      this.#cut('the reader of this stream took nothing for 30 s')
      return
    }
    const isQuiet = this.#taken && quietMs >= HEARTBEAT_MS
    if (isQuiet) this.#since = clock.now()
    this.#watch()
    if (!isQuiet || ping === undefined || this.#pulled === undefined) return
    this.#give(ping)
    this.#resolvePull()
  }

  #cut(why: string): void {
    if (this.#over) return
    this.#end('cut')
    this.#controller?.error(new Error(why))
    this.#resolvePull()
  }

  #end(how: StreamEnd): void {
    if (this.#over) return
    this.#over = true
    this.#options.cut?.removeEventListener('abort', this.#cutShort)
    this.#cancelTimer?.()
    this.#options.onEnd?.(how)
    if (how !== 'ended') void this.#source.return?.()?.catch(() => undefined)
  }
}
