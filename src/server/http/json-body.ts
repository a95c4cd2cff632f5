import { createHash } from 'node:crypto'
import type { MiddlewareHandler } from 'hono'
import type { ServerEnv } from '../context.ts'
import { ApiError } from '../errors.ts'
import { JsonScan } from './json-scan.ts'

/** Small bodies are always read, and at once: their number is bounded by the connections. */
const SMALL = 64 * 2 ** 10

/** What a request has sent, once it is checked: undefined for an empty body. */
const parsed = new WeakMap<Request, unknown>()

const hashes = new WeakMap<Request, string>()

const raw = new WeakMap<Request, Buffer>()

/** The JSON body of a request that {@link jsonBody} has passed. */
export const bodyOf = (request: Request): unknown => parsed.get(request)

/** The bytes of the body of a request that {@link jsonBody} has passed, if `Bodies.keepsBytes`. */
export const bytesOf = (request: Request): Buffer | undefined => raw.get(request)

/** The SHA-256, in hex, of the body of a request that {@link jsonBody} has passed. */
export const bodyHashOf = (request: Request): string | undefined => hashes.get(request)

/**
 * Reads the body ahead of the handlers, which find it by {@link bodyOf}. `tooLarge`: what is said of more than `maxBytes`.
 * `optional`: an empty body passes.
 */
export function jsonBody(
  maxBytes: number,
  tooLarge: string,
  { optional = false }: { optional?: boolean } = {},
): MiddlewareHandler<ServerEnv> {
  return async (c, next) => {
    const { bodies, caller } = c.var
    const { tenant } = caller
    const share = new Share((bytes) => bodies.hold(tenant, bytes))
    try {
      const { keepsBytes } = bodies
      const { value, size, hash, bytes } = await readJson(
        c.req.raw,
        { maxBytes, tooLarge, optional, keepsBytes },
        share,
      )
      bodies.onRead(tenant, size)
      if (bytes !== undefined) raw.set(c.req.raw, bytes)
      parsed.set(c.req.raw, value)
      hashes.set(c.req.raw, hash)
      await next()
    } finally {
      share.give()
    }
  }
}

/** What one request holds of the room for bodies. */
class Share {
  readonly #hold: (bytes: number) => void
  #held = 0

  constructor(hold: (bytes: number) => void) {
    this.#hold = hold
  }

  /** So many bytes are there by now. */
  grow(size: number): void {
    const more = size - this.#held
    if (size <= SMALL || more <= 0) return
    this.#hold(more)
    this.#held = size
  }

  give(): void {
    if (this.#held > 0) this.#hold(-this.#held)
    this.#held = 0
  }
}

interface Reading {
  maxBytes: number
  tooLarge: string
  optional: boolean
  keepsBytes: boolean
}

async function readJson(
  request: Request,
  { maxBytes, tooLarge, optional, keepsBytes }: Reading,
  share: Share,
): Promise<{ value: unknown; size: number; hash: string; bytes: Buffer | undefined }> {
  const refuse = (): never => {
    throw new ApiError('request_too_large', tooLarge)
  }
  if (Number(request.headers.get('content-length') ?? 0) > maxBytes) refuse()
  const scan = new JsonScan()
  const hash = createHash('sha256')
  const decoder = new TextDecoder()
  const pieces: string[] = []
  const bytes: Uint8Array[] = []
  let size = 0
  for await (const piece of piecesOf(request)) {
    size += piece.length
    if (size > maxBytes) refuse()
    share.grow(keepsBytes ? 2 * size : size)
    scan.push(piece)
    hash.update(piece)
    if (keepsBytes) bytes.push(piece)
    // Piece by piece, so that a large body does not hold up the event loop at its end.
    pieces.push(decoder.decode(piece, { stream: true }))
  }
  pieces.push(decoder.decode())
  const all = { size, hash: hash.digest('hex'), bytes: keepsBytes ? Buffer.concat(bytes) : undefined }
  if (optional && size === 0) return { value: undefined, ...all }
  try {
    return { value: JSON.parse(pieces.join('')), ...all }
  } catch (cause) {
    throw new ApiError('invalid_request_error', 'the body is not JSON', { cause })
  }
}

async function* piecesOf(request: Request): AsyncGenerator<Uint8Array> {
  try {
    if (isSmall(request)) {
      // A stream for the only piece of a body would cost most of a millisecond.
      const whole = new Uint8Array(await request.arrayBuffer())
      if (whole.length > 0) yield whole
    } else if (request.body !== null) yield* request.body
  } catch (cause) {
    throw new ApiError('invalid_request_error', 'the body did not arrive whole', { cause })
  }
}

/** The length that a request names is that of its body, unless that comes in chunks. */
function isSmall({ headers }: Request): boolean {
  const length = headers.get('content-length')
  return length !== null && Number(length) <= SMALL && !headers.has('transfer-encoding')
}
