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
  /** The client's request: when that is aborted, its reader has left. */
  signal?: AbortSignal
  /** Told once when the stream is over. */
  onEnd?: (how: StreamEnd) => void
}

type Chunk = Uint8Array<ArrayBuffer>

/**
 * A body that takes from its source only what its reader takes from it: of a slow reader at most one chunk is held, and
 * one that takes nothing for 30 s is cut. A source that is waited for must be told by `onEnd` that nobody reads any more.
 */
export function pullStream(source: AsyncIterator<Chunk, undefined>, options: StreamOptions): ReadableStream<Chunk> {
  const { clock, ping, signal, onEnd } = options
  let pending: Promise<IteratorResult<Chunk, undefined>> | undefined
  let wake: (() => void) | undefined
  let taken = true
  let since = clock.now()
  let cancelTimer: CancelTimer | undefined
  let over = false
  let abort: (() => void) | undefined

  const end = (how: StreamEnd): void => {
    if (over) return
    over = true
    cancelTimer?.()
    if (abort !== undefined) signal?.removeEventListener('abort', abort)
    onEnd?.(how)
    if (how !== 'ended') void source.return?.()?.catch(() => undefined)
  }
  // One timer for both purposes, which looks again instead of being set anew at every chunk.
  const watch = (controller: ReadableStreamDefaultController<Chunk>): void => {
    const due = since + (taken ? HEARTBEAT_MS : WRITE_DEADLINE_MS)
    if (over) return
    cancelTimer = clock.after(Math.max(due - clock.now(), 0), () => {
      const now = clock.now()
      if (!taken && now - since >= WRITE_DEADLINE_MS) {
        end('cut')
        controller.error(new Error('the reader of this stream took nothing for 30 s'))
        return
      }
      if (taken && now - since >= HEARTBEAT_MS) {
        since = now
        wake?.()
      }
      watch(controller)
    })
  }
  const give = (controller: ReadableStreamDefaultController<Chunk>, chunk: Chunk): void => {
    taken = false
    since = clock.now()
    controller.enqueue(chunk)
  }
  return new ReadableStream<Chunk>(
    {
      start(controller) {
        watch(controller)
        if (signal === undefined) return
        abort = () => {
          end('left')
          controller.error(signal.reason)
        }
        if (signal.aborted) abort()
        else signal.addEventListener('abort', abort, { once: true })
      },
      async pull(controller) {
        taken = true
        since = clock.now()
        pending ??= source.next()
        const heartbeat =
          ping === undefined ? undefined : new Promise<undefined>((resolve) => (wake = () => resolve(undefined)))
        try {
          const next = await (heartbeat === undefined ? pending : Promise.race([pending, heartbeat]))
          if (over) return
          if (next === undefined) give(controller, ping as Chunk)
          else if (next.done === true) {
            end('ended')
            controller.close()
          } else {
            pending = undefined
            give(controller, next.value)
          }
        } catch (error) {
          end('ended')
          controller.error(error)
        }
      },
      cancel() {
        end('left')
      },
    },
    { highWaterMark: 0 },
  )
}
