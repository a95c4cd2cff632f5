import type { IncomingMessage, ServerResponse } from 'node:http'
import { systemClock } from '../clock.ts'

/** Bounds for reading the rest of a refused request. A body may have 32 MB. */
const REST_BYTES = 64 * 1024 * 1024
const REST_MS = 10_000

/** Statuses that the proxy itself answers with, and their types in the shape of the API's errors. */
const TYPES = {
  401: 'authentication_error',
  402: 'billing_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  502: 'api_error',
  503: 'api_error',
} as const

export type OwnStatus = keyof typeof TYPES

/** Answers in the API's own shape, which the CLI shows. 402 is one that it does not try again. */
export function refuse(response: ServerResponse, status: OwnStatus, message: string): void {
  if (response.headersSent || response.destroyed) {
    response.destroy()
    return
  }
  const error = { type: TYPES[status], message }
  const retry = status === 429 || status >= 500
  const body = JSON.stringify({ type: 'error', error, request_id: null })
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    'x-should-retry': String(retry),
    // What is left of a body that was not read would be taken for the next request.
    connection: 'close',
  })
  response.write(body)
  readRest(response.req, () => response.end())
}

/** Reads the rest of a request, within bounds. A caller that still writes would otherwise see a broken connection and not the reason. */
function readRest(request: IncomingMessage, done: () => void): void {
  const cancel = systemClock.after(REST_MS, done)
  const end = (): void => {
    cancel()
    done()
  }
  if (request.readableEnded || request.destroyed) return end()
  let bytes = 0
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    if (bytes > REST_BYTES) end()
  })
  request.once('end', end)
  request.once('close', end)
  request.unpipe().resume()
}
