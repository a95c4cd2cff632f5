import type { Clock } from '../../../clock.ts'
import { publicFetch } from '../../outbound/public-fetch.ts'
import { bodyOf } from './delivery.ts'
import type { Delivery } from './delivery.ts'
import type { Endpoint } from './options.ts'
import { signedHeaders } from './signing.ts'

/** A receiver that has not answered by then has failed, in milliseconds. */
const ANSWER_MS = 15_000

const LONGEST_ERROR = 256

/** What came of one try. */
export type Outcome = { ok: true; status: number } | { ok: false; status: number | null; error: string }

/** Sends an event to a receiver once. Redirects are not followed, and of the answer only its status is read. Never rejects. */
export async function attempt(
  { row, kept }: Delivery,
  { url, keys, dial }: Pick<Endpoint, 'url' | 'keys' | 'dial'>,
  { clock, signal }: { clock: Clock; signal: AbortSignal },
): Promise<Outcome> {
  const body = bodyOf(row.tenant, kept)
  const timeout = new AbortController()
  const cancel = clock.after(ANSWER_MS, () => timeout.abort(new Error(`no answer within ${ANSWER_MS / 1000} s`)))
  try {
    const response = await publicFetch(dial)(url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'content-length': String(Buffer.byteLength(body)),
        'user-agent': 'claude-agent-pool',
        ...signedHeaders(keys, kept.event, clock.wall(), body),
      },
      body,
      signal: AbortSignal.any([signal, timeout.signal]),
    })
    await response.body?.cancel()
    const { status } = response
    if (status >= 200 && status < 300) return { ok: true, status }
    return { ok: false, status, error: `the receiver answered ${status}` }
  } catch (error) {
    const reason = timeout.signal.aborted ? (timeout.signal.reason as Error) : (error as Error)
    return { ok: false, status: null, error: reason.message.slice(0, LONGEST_ERROR) }
  } finally {
    cancel()
  }
}
