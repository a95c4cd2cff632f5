import type { MiddlewareHandler } from 'hono'
import type { ServerEnv } from './context.ts'
import { ApiError } from './errors.ts'
import { JsonScan } from './json-scan.ts'

/** Small bodies are always read: their number is bounded by the connections. */
const SMALL = 64 * 2 ** 10

/** What a request has sent, once it is checked. */
const parsed = new WeakMap<Request, unknown>()

/** The JSON body of a request that {@link jsonBody} has passed. */
export const bodyOf = (request: Request): unknown => parsed.get(request)

/** Reads the body ahead of the handlers, which find it by {@link bodyOf}. `tooLarge`: what is said of more than `maxBytes`. */
export function jsonBody(maxBytes: number, tooLarge: string): MiddlewareHandler<ServerEnv> {
  return async (c, next) => {
    const { bodies, caller } = c.var
    const { tenant } = caller
    const share = new Share((bytes) => bodies.hold(tenant, bytes))
    try {
      const { value, size } = await readJson(c.req.raw, maxBytes, tooLarge, share)
      bodies.onRead(tenant, size)
      parsed.set(c.req.raw, value)
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

async function readJson(
  request: Request,
  maxBytes: number,
  tooLarge: string,
  share: Share,
): Promise<{ value: unknown; size: number }> {
  const refuse = (): never => {
    throw new ApiError('request_too_large', tooLarge)
  }
  if (Number(request.headers.get('content-length') ?? 0) > maxBytes) refuse()
  const scan = new JsonScan()
  const decoder = new TextDecoder()
  const pieces: string[] = []
  let size = 0
  for await (const piece of piecesOf(request)) {
    size += piece.length
    if (size > maxBytes) refuse()
    share.grow(size)
    scan.push(piece)
    // Piece by piece, so that a large body does not hold up the event loop at its end.
    pieces.push(decoder.decode(piece, { stream: true }))
  }
  pieces.push(decoder.decode())
  try {
    return { value: JSON.parse(pieces.join('')), size }
  } catch (cause) {
    throw new ApiError('invalid_request_error', 'the body is not JSON', { cause })
  }
}

async function* piecesOf({ body }: Request): AsyncGenerator<Uint8Array> {
  if (body === null) return
  try {
    yield* body
  } catch (cause) {
    throw new ApiError('invalid_request_error', 'the body did not arrive whole', { cause })
  }
}
