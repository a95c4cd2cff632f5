import { promisify } from 'node:util'
import { deflate, inflate } from 'node:zlib'
import type { StoredEvent } from './store.ts'

/** Characters of JSON from which a row is compressed: SQLite writes a megabyte in 25 ms, in which the event loop stands still. */
const PACKED_FROM = 64 * 2 ** 10

/** The fastest level: text shrinks to a third, and the work is done in another thread. */
const LEVEL = 1

/** What a row holds of an event: `json`, or else the same compressed with its bytes before. */
export interface PackedEvent extends StoredEvent {
  packed?: Uint8Array | null
  bytes?: number | null
}

const deflateAsync = promisify(deflate)
const inflateAsync = promisify(inflate)

export const isLarge = ({ json }: StoredEvent): boolean => json.length >= PACKED_FROM

/** Compresses what is large. */
export async function pack(event: StoredEvent): Promise<PackedEvent> {
  if (!isLarge(event)) return event
  const whole = Buffer.from(event.json)
  return { ...event, json: '', packed: await deflateAsync(whole, { level: LEVEL }), bytes: whole.length }
}

/** The events as they were. Rejects for what this module has not packed. */
export async function unpack(rows: readonly PackedEvent[]): Promise<StoredEvent[]> {
  const events: StoredEvent[] = []
  for (const { packed, bytes, ...event } of rows)
    events.push(packed ? { ...event, json: await inflated(packed, bytes ?? 0) } : event)
  return events
}

const inflated = async (packed: Uint8Array, bytes: number): Promise<string> =>
  (await inflateAsync(packed, { maxOutputLength: bytes })).toString()
