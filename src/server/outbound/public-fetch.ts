import type { ClientRequest, IncomingMessage, RequestOptions } from 'node:http'
import { request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import { addressesOf, lookupOf, targetOf } from '../../addresses.ts'

/** One answer, or one event of a stream, is no larger. */
const LARGEST_MESSAGE = 16 * 2 ** 20

/** A host that does not take a connection is not waited for any longer, in milliseconds. */
const CONNECT_MS = 10_000

/** As much of `fetch()` as is needed here. */
export type Fetch = (url: string | URL, init?: RequestInit) => Promise<Response>

/** The addresses that a URL may be dialled at. Throws when there is none. */
export type Dial = (url: URL) => Promise<string[]>

/** What one request has exchanged with a host. */
export interface Exchange {
  /** `host:port`. */
  place: string
  sentBytes: number
  receivedBytes: number
}

/** The addresses of a public host. */
export async function publicAddresses(url: URL): Promise<string[]> {
  const target = await targetOf(url)
  if ('problem' in target) throw new Error(target.problem)
  return target.addresses
}

/** For a URL that the operator allows wherever it leads. */
export const anyAddresses: Dial = (url) => addressesOf(url)

/**
 * `fetch()` to public hosts alone, unless `dial` finds others: a name is resolved once, and what was found is dialled, so that it cannot mean another
 * address a moment later. No redirect is followed.
 */
export const publicFetch =
  (dial: Dial = publicAddresses, over: (exchange: Exchange) => void = () => undefined): Fetch =>
  async (input, { method = 'GET', headers, body, signal } = {}) => {
    const url = new URL(input)
    const addresses = await dial(url)
    if (addresses.length === 0) throw new Error(`${url.hostname} does not resolve`)
    if (body !== undefined && body !== null && typeof body !== 'string') throw new TypeError('a body must be text')
    const response = await answerOf(url, {
      method,
      headers: Object.fromEntries(new Headers(headers)),
      body: body ?? undefined,
      signal: signal ?? undefined,
      lookup: lookupOf(addresses),
      over,
    })
    return toResponse(response)
  }

interface Asked extends Pick<RequestOptions, 'lookup'> {
  method: string
  headers: Record<string, string>
  body: string | undefined
  signal: AbortSignal | undefined
  /** Called once it is over. */
  over: (exchange: Exchange) => void
}

function answerOf(url: URL, { body, signal, over, ...options }: Asked): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    // A connection of its own: one that is kept could be that of another address.
    const own = { ...options, agent: false, ...(signal === undefined ? {} : { signal }) } as const
    const request: ClientRequest = url.protocol === 'https:' ? requestHttps(url, own) : requestHttp(url, own)
    request.once('socket', (socket) => {
      socket.setTimeout(CONNECT_MS, () => request.destroy(new Error(`${url.host} does not answer`)))
      socket.once('connect', () => socket.setTimeout(0))
    })
    request.once('close', () => {
      const { bytesWritten = 0, bytesRead = 0 } = request.socket ?? {}
      const port = url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : url.port
      over({ place: `${url.hostname}:${port}`, sentBytes: bytesWritten, receivedBytes: bytesRead })
    })
    request.once('response', resolve)
    request.on('error', reject)
    request.end(body)
  })
}

const HAS_NO_BODY = new Set([204, 205, 304])

function toResponse(message: IncomingMessage): Response {
  const { statusCode: status = 502, statusMessage: statusText = '' } = message
  const headers = new Headers()
  for (const [name, values = []] of Object.entries(message.headersDistinct))
    for (const value of values) headers.append(name, value)
  if (HAS_NO_BODY.has(status)) {
    message.resume()
    return new Response(null, { status, statusText, headers })
  }
  const isStream = headers.get('content-type')?.startsWith('text/event-stream') === true
  return new Response(ReadableStream.from(bounded(message, isStream)), { status, statusText, headers })
}

/** Passes bytes on. Throws for more than the largest message; in a stream an empty line ends one. */
async function* bounded(message: IncomingMessage, isStream: boolean): AsyncGenerator<Uint8Array> {
  let bytes = 0
  for await (const piece of message as AsyncIterable<Buffer>) {
    const end = isStream ? Math.max(piece.lastIndexOf('\n\n'), piece.lastIndexOf('\r\n\r\n')) : -1
    bytes = end === -1 ? bytes + piece.length : piece.length - end
    if (bytes > LARGEST_MESSAGE) throw new Error(`a message has more than ${LARGEST_MESSAGE} bytes`)
    yield piece
  }
}
