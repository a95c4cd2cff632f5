import type { Fetch } from '../../outbound/public-fetch.ts'
import type { Clock } from '../../../clock.ts'

/** A server that has not answered by then is not waited for, in milliseconds. */
const ANSWER_MS = 15_000

/** Bytes of an answer that are read, and that are shown. */
const MOST_READ = 256 * 1024
const MOST_SHOWN = 2_048

/** What a server answered, as far as it was read. */
export interface Answered {
  status: number
  contentType: string
  body: string
}

/** An answer as the wire shows it. */
export interface ShownAnswer {
  status_code: number
  content_type: string
  body: string
  body_truncated: boolean
}

/** Sends one request, and reads the beginning of the answer. Rejects if none comes. */
export async function askOnce(
  fetch: Fetch,
  url: URL,
  init: { headers: Record<string, string>; body: string },
  clock: Clock,
): Promise<Answered> {
  const timeout = new AbortController()
  const cancel = clock.after(ANSWER_MS, () => timeout.abort(new Error(`no answer within ${ANSWER_MS / 1000} s`)))
  try {
    const response = await fetch(url, { method: 'POST', ...init, signal: timeout.signal })
    const contentType = response.headers.get('content-type') ?? ''
    // A stream of events need not end.
    const body = contentType.startsWith('text/event-stream') ? '' : await beginningOf(response)
    if (response.body !== null && !response.bodyUsed) await response.body.cancel()
    return { status: response.status, contentType: contentType.slice(0, 256), body }
  } catch (error) {
    throw timeout.signal.aborted ? (timeout.signal.reason as Error) : error
  } finally {
    cancel()
  }
}

async function beginningOf(response: Response): Promise<string> {
  const pieces: Uint8Array[] = []
  let bytes = 0
  for await (const piece of response.body ?? []) {
    pieces.push(piece)
    bytes += piece.length
    if (bytes >= MOST_READ) break
  }
  return Buffer.concat(pieces).toString('utf8')
}

/** `secrets`: what is not shown, wherever the server repeats it. */
export function shownAnswer({ status, contentType, body }: Answered, secrets: readonly string[]): ShownAnswer {
  let text = body
  for (const secret of secrets) text = text.replaceAll(secret, '***')
  return {
    status_code: status,
    content_type: contentType,
    body: text.slice(0, MOST_SHOWN),
    body_truncated: text.length > MOST_SHOWN,
  }
}
