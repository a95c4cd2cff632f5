import { formatWall } from '../../../clock.ts'
import type { Clock } from '../../../clock.ts'
import type { JournalEntry, SessionEvents } from '../../../index.ts'
import { SessionGoneError } from '../../../index.ts'
import { toApiError } from '../../errors.ts'
import { frame } from '../../http/stream.ts'
import { newId } from '../ids.ts'
import { wireEvent } from './wire-event.ts'

/** The Python client passes over frames whose names it does not know, and this is one: what `data` says it is, it takes. */
const UNKNOWN_TO_CLIENTS = 'session.usage'

const nameOf = ({ type }: JournalEntry['event']): string => (type === UNKNOWN_TO_CLIENTS ? 'message' : type)

/** Encoded once for all streams that follow. */
const encoded = new WeakMap<object, Uint8Array<ArrayBuffer>>()

function encode({ number, event }: JournalEntry): Uint8Array<ArrayBuffer> {
  let chunk = encoded.get(event)
  if (chunk === undefined) {
    chunk = frame(nameOf(event), JSON.stringify(wireEvent(event)), number === undefined ? undefined : String(number))
    encoded.set(event, chunk)
  }
  return chunk
}

/** What is there already goes out in one piece, up to this many bytes and the event that exceeds them. */
const PIECE_BYTES = 16 * 1024

/** A frame for each event, and one that says why there will be no more. */
export class Frames implements AsyncIterator<Uint8Array<ArrayBuffer>, undefined> {
  readonly #reader: SessionEvents
  readonly #previews: readonly string[]
  /** Previews of another kind than was asked for. */
  #unwanted: string | undefined
  #ended = false
  readonly #clock: Clock

  constructor(reader: SessionEvents, previews: readonly string[], clock: Clock) {
    this.#reader = reader
    this.#previews = previews
    this.#clock = clock
  }

  async next(): Promise<IteratorResult<Uint8Array<ArrayBuffer>, undefined>> {
    try {
      while (!this.#ended) {
        const { done, value } = await this.#reader.next()
        if (done === true) break
        const [frame, ...more] = this.#framesFrom(value)
        if (frame !== undefined)
          return { done: false, value: more.length === 0 ? frame : Buffer.concat([frame, ...more]) }
      }
    } catch (error) {
      this.#ended = true
      return { done: false, value: lastFrame(error, this.#clock.wall()) }
    }
    return { done: true, value: undefined }
  }

  #framesFrom(first: JournalEntry): Uint8Array<ArrayBuffer>[] {
    const frames: Uint8Array<ArrayBuffer>[] = []
    let bytes = 0
    let entry: JournalEntry | undefined = first
    while (entry !== undefined) {
      if (this.#wants(entry)) {
        const frame = encode(entry)
        frames.push(frame)
        bytes += frame.length
      }
      entry = bytes < PIECE_BYTES ? this.#reader.tryNext() : undefined
    }
    return frames
  }

  #wants({ event }: JournalEntry): boolean {
    if (event.type === 'event_delta') return event.event_id !== this.#unwanted
    if (event.type !== 'event_start' || this.#previews.includes(event.event.type)) return true
    this.#unwanted = event.event.id
    return false
  }
}

function lastFrame(error: unknown, now: number): Uint8Array<ArrayBuffer> {
  if (!(error instanceof SessionGoneError)) return frame('error', JSON.stringify(toApiError(error).body('')))
  const deleted = { type: 'session.deleted', id: newId('event'), processed_at: formatWall(now) }
  return frame(deleted.type, JSON.stringify(deleted))
}
