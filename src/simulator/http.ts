import type { IncomingMessage, ServerResponse } from 'node:http'
import { errorBody } from './wire.ts'

/** The API's own limit for a request: 32 MB. */
const MAX_BODY_BYTES = 32 * 1024 * 1024

/** Reads the body as text; undefined when it is larger than the API takes. */
export async function readBody(request: IncomingMessage): Promise<string | undefined> {
  if (Number(request.headers['content-length'] ?? 0) > MAX_BODY_BYTES) return undefined
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > MAX_BODY_BYTES) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

/** Answers with one JSON document. */
export function sendJson(response: ServerResponse, body: object, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

/** Answers with an error in the API's own shape. */
export function sendError(response: ServerResponse, status: number, message: string, retryAfterSeconds?: number): void {
  if (retryAfterSeconds !== undefined) response.setHeader('retry-after', String(retryAfterSeconds))
  sendJson(response, errorBody(status, message, String(response.getHeader('request-id'))), status)
}

/** Refuses a body that is too large. The rest of it is thrown away, since a client that still writes would miss the answer. */
export function refuseBody(request: IncomingMessage, response: ServerResponse): void {
  response.setHeader('connection', 'close')
  request.resume()
  sendError(response, 413, 'Request exceeds the maximum size')
}
