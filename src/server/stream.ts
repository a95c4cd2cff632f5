import type { CancelTimer, Clock } from '../clock.ts'

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

/** How a stream came to its end: by its source, its reader, or because that was too slow. */
export type StreamEnd = 'ended' | 'left' | 'cut'

export interface StreamOptions {
  clock: Clock
  /** Sent when nothing else was for 15 s. Default: nothing is. */
  ping?: Uint8Array<ArrayBuffer>
  /** Told once when the stream is over. */
  onEnd?: (how: StreamEnd) => void
}

type Chunk = Uint8Array<ArrayBuffer>

/**
 * A body that takes from its source only what its reader takes from it: of a slow reader at most one chunk is held, and
 * one that takes nothing for 30 s is cut. A source that is waited for must be told by `onEnd` that nobody reads any more.
 */
export function pullStream(source: AsyncIterator<Chunk, undefined>, options: StreamOptions): ReadableStream<Chunk> {
  const { clock, ping, onEnd } = options
  /** What the source has given and the reader has not asked for yet, or why it gave nothing. */
  let arrived: { next: IteratorResult<Chunk, undefined> } | { error: unknown } | undefined
  let asked = false
  /** Goes on with the pull that waits. */
  let wake: ((heartbeat: boolean) => void) | undefined
  let taken = true
  let since = clock.now()
  let cancelTimer: CancelTimer | undefined
  let over = false

  const end = (how: StreamEnd): void => {
    if (over) return
    over = true
    cancelTimer?.()
    onEnd?.(how)
    if (how !== 'ended') void source.return?.()?.catch(() => undefined)
  }
  // One timer for both purposes, which looks again instead of being set anew at every chunk.
  const watch = (controller: ReadableStreamDefaultController<Chunk>): void => {
    const due = since + (taken ? HEARTBEAT_MS : WRITE_DEADLINE_MS)
    cancelTimer = clock.after(Math.max(due - clock.now(), 0), () => {
      const now = clock.now()
      if (!taken && now - since >= WRITE_DEADLINE_MS) {
        end('cut')
        controller.error(new Error('the reader of this stream took nothing for 30 s'))
        return
      }
      const quiet = taken && now - since >= HEARTBEAT_MS
      if (quiet) since = now
      watch(controller)
      if (quiet) wake?.(true)
    })
  }
  const give = (controller: ReadableStreamDefaultController<Chunk>, chunk: Chunk): void => {
    taken = false
    since = clock.now()
    controller.enqueue(chunk)
  }
  const ask = (): void => {
    asked = true
    const came = (what: typeof arrived): void => {
      asked = false
      arrived = what
      wake?.(false)
    }
    source.next().then(
      (next) => came({ next }),
      (error: unknown) => came({ error }),
    )
  }
  const deliver = (controller: ReadableStreamDefaultController<Chunk>): void => {
    const what = arrived
    arrived = undefined
    if (over || what === undefined) return
    if ('next' in what && what.next.done !== true) return give(controller, what.next.value)
    end('ended')
    if ('error' in what) controller.error(what.error)
    else controller.close()
  }
  return new ReadableStream<Chunk>(
    {
      start: watch,
      pull(controller) {
        taken = true
        since = clock.now()
        if (arrived !== undefined) return deliver(controller)
        if (!asked) ask()
        return new Promise<void>((resolve) => {
          wake = (heartbeat) => {
            if (heartbeat && ping === undefined) return
            wake = undefined
            if (!heartbeat) deliver(controller)
            else if (!over && ping !== undefined) give(controller, ping)
            resolve()
          }
        })
      },
      cancel() {
        end('left')
      },
    },
    { highWaterMark: 0 },
  )
}
