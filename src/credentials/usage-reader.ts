import type { Counted } from './prices.ts'

/** What counts an answer while it passes. */
export interface UsageReader {
  take(chunk: Buffer): void
  /** What the answer used, as far as it has come. `whole`: the API has said all of it. */
  result(): { model: string | undefined; used: Counted; whole: boolean }
}

type Json = Readonly<Record<string, unknown>>

/** About how many bytes of JSON a token of an answer fills, with what surrounds it in its event: counted too high rather than too low. */
const BYTES_PER_TOKEN = 3
const EVENT_BYTES = 100

/** Events with usage are small. A longer line is some delta. */
const MAX_LINE_BYTES = 256 * 1024

/** The largest whole answer that is read for its usage. */
const MAX_WHOLE_BYTES = 8 * 1024 * 1024

export const nothingCounted = (): Counted => ({
  inputTokens: 0,
  outputTokens: 0,
  cacheReadTokens: 0,
  cacheWriteTokens: 0,
  cacheWrite1hTokens: 0,
  webSearches: 0,
  fast: false,
  estimated: false,
})

/** A count as the API may say it; undefined for anything else. */
const count = (value: unknown): number | undefined =>
  typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : undefined

const object = (value: unknown): Json => (typeof value === 'object' && value !== null ? (value as Json) : {})

/** Counts of an answer, of which later events say more. */
class Counts {
  model: string | undefined
  readonly used = nothingCounted()
  started = false
  whole = false

  /** Takes one event of a stream, or a whole message. */
  hear(event: Json): void {
    if (event['type'] === 'message_start') {
      this.started = true
      this.#message(object(event['message']))
    } else if (event['type'] === 'message_delta') {
      this.#usage(object(event['usage']))
      this.whole = true
    } else if (event['type'] === 'message') {
      this.started = true
      this.whole = true
      this.#message(event)
    }
  }

  #message({ model, usage }: Json): void {
    if (typeof model === 'string') this.model = model.slice(0, 200)
    this.#usage(object(usage))
  }

  #usage(usage: Json): void {
    const { used } = this
    used.inputTokens = count(usage['input_tokens']) ?? used.inputTokens
    used.outputTokens = count(usage['output_tokens']) ?? used.outputTokens
    used.cacheReadTokens = count(usage['cache_read_input_tokens']) ?? used.cacheReadTokens
    used.cacheWriteTokens = count(usage['cache_creation_input_tokens']) ?? used.cacheWriteTokens
    used.cacheWrite1hTokens =
      count(object(usage['cache_creation'])['ephemeral_1h_input_tokens']) ?? used.cacheWrite1hTokens
    used.webSearches = count(object(usage['server_tool_use'])['web_search_requests']) ?? used.webSearches
    used.fast ||= usage['speed'] === 'fast'
  }
}

function parse(text: string): Json {
  try {
    return object(JSON.parse(text))
  } catch {
    return {}
  }
}

/** In text of the model the quotes are escaped. */
const USAGE = Buffer.from('"usage"')

/** Reads events of the Messages API from a stream whose frames the caller takes apart. */
class EventCounts {
  readonly #counts = new Counts()
  #deltaTokens = 0

  /** One event, as JSON. What has no usage is counted by its size alone: an agent may leave before the usage comes. */
  hear(json: Buffer): void {
    if (json.includes(USAGE)) this.#counts.hear(parse(json.toString('utf8')))
    else this.hearDelta(json.length)
  }

  hearDelta(bytes: number): void {
    this.#deltaTokens += Math.max(0, Math.ceil((bytes - EVENT_BYTES) / BYTES_PER_TOKEN))
  }

  result(): ReturnType<UsageReader['result']> {
    const { model, used, whole } = this.#counts
    if (whole) return { model, used, whole }
    const outputTokens = Math.max(used.outputTokens, this.#deltaTokens)
    return { model, whole, used: { ...used, outputTokens, estimated: true } }
  }
}

const DATA = Buffer.from('data:')
const NEWLINE = 10

/** Counts an answer that comes as server-sent events. */
class SseUsage implements UsageReader {
  readonly #events = new EventCounts()
  #rest: Buffer[] = []
  #restBytes = 0

  take(chunk: Buffer): void {
    let from = 0
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, from)) {
      this.#line(chunk.subarray(from, end))
      from = end + 1
    }
    if (from < chunk.length) this.#keep(chunk.subarray(from))
  }

  result(): ReturnType<UsageReader['result']> {
    return this.#events.result()
  }

  #keep(part: Buffer): void {
    this.#restBytes += part.length
    if (this.#restBytes > MAX_LINE_BYTES) this.#rest = []
    // A copy, since the chunk would be held as a whole.
    else this.#rest.push(Buffer.from(part))
  }

  #line(end: Buffer): void {
    const bytes = this.#restBytes + end.length
    const line = this.#rest.length === 0 ? end : Buffer.concat([...this.#rest, end])
    this.#rest = []
    this.#restBytes = 0
    if (bytes > MAX_LINE_BYTES) this.#events.hearDelta(bytes)
    else if (line.subarray(0, DATA.length).equals(DATA)) this.#events.hear(line.subarray(DATA.length))
  }
}

/** Counts an answer that comes as one JSON document. */
class WholeUsage implements UsageReader {
  #chunks: Buffer[] = []
  #bytes = 0

  take(chunk: Buffer): void {
    this.#bytes += chunk.length
    if (this.#bytes > MAX_WHOLE_BYTES) this.#chunks = []
    else this.#chunks.push(chunk)
  }

  result(): ReturnType<UsageReader['result']> {
    const counts = new Counts()
    if (this.#bytes <= MAX_WHOLE_BYTES) counts.hear(parse(Buffer.concat(this.#chunks).toString('utf8')))
    const { model, used, whole } = counts
    if (whole) return { model, used, whole }
    const outputTokens = Math.ceil(this.#bytes / BYTES_PER_TOKEN)
    return { model, whole, used: { ...used, outputTokens, estimated: true } }
  }
}

const PRELUDE_BYTES = 12
const CHECKSUM_BYTES = 4

/** Counts an answer of Bedrock: frames of `application/vnd.amazon.eventstream`, each with an event of the Messages API in base64. */
class BedrockUsage implements UsageReader {
  readonly #events = new EventCounts()
  #frame: Buffer = Buffer.alloc(0)
  /** Bytes of a frame that is too large to be read. */
  #skip = 0

  take(chunk: Buffer): void {
    let rest = chunk
    if (this.#skip > 0) {
      const skipped = Math.min(this.#skip, rest.length)
      this.#skip -= skipped
      rest = rest.subarray(skipped)
    }
    this.#frame = this.#frame.length === 0 ? rest : Buffer.concat([this.#frame, rest])
    while (this.#frame.length >= PRELUDE_BYTES) {
      const bytes = this.#frame.readUInt32BE(0)
      if (bytes < PRELUDE_BYTES + CHECKSUM_BYTES || bytes > MAX_LINE_BYTES) this.#leaveOut(bytes)
      else if (this.#frame.length < bytes) break
      else {
        this.#read(this.#frame.subarray(0, bytes))
        this.#frame = this.#frame.subarray(bytes)
      }
    }
    // A copy, since the chunk would be held as a whole.
    this.#frame = Buffer.from(this.#frame)
  }

  result(): ReturnType<UsageReader['result']> {
    return this.#events.result()
  }

  #leaveOut(bytes: number): void {
    this.#events.hearDelta(bytes)
    const here = Math.min(Math.max(bytes, PRELUDE_BYTES), this.#frame.length)
    this.#skip = Math.max(bytes - here, 0)
    this.#frame = this.#frame.subarray(here)
  }

  #read(frame: Buffer): void {
    const headers = frame.readUInt32BE(4)
    const payload = frame.subarray(PRELUDE_BYTES + headers, frame.length - CHECKSUM_BYTES)
    const { bytes } = parse(payload.toString('utf8'))
    if (typeof bytes === 'string') this.#events.hear(Buffer.from(bytes, 'base64'))
  }
}

/** What counts an answer of this type. */
export function usageReader(contentType: string): UsageReader {
  if (contentType.startsWith('text/event-stream')) return new SseUsage()
  if (contentType.startsWith('application/vnd.amazon.eventstream')) return new BedrockUsage()
  return new WholeUsage()
}
