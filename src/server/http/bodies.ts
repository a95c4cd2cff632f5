import { getHeapStatistics } from 'node:v8'
import { ApiError, retryAfter } from '../errors.ts'

/** All bodies that are read or worked on at once may take this part of the heap. A body of 32 MB takes several times its size. */
const HEAP_SHARE = 1 / 8

/** Two of the largest bodies fit in any heap. */
const LEAST_ROOM = 64 * 2 ** 20

const COME_BACK_MS = 1_000

/** Counts the bytes of all bodies that are read or worked on. */
export class Bodies {
  readonly #room: number
  /** Whether the bytes of bodies are kept as they came, for another host. */
  keepsBytes = false
  /** A tenant has sent a body of so many bytes. */
  readonly onRead: (tenant: string, bytes: number) => void
  readonly #byTenant = new Map<string, number>()
  #held = 0

  /** `room`: bytes of all bodies that are under way at once; one tenant may have half of it. Default: an eighth of the heap. */
  constructor(
    onRead: (tenant: string, bytes: number) => void = () => undefined,
    room: number = Math.max(LEAST_ROOM, getHeapStatistics().heap_size_limit * HEAP_SHARE),
  ) {
    this.onRead = onRead
    this.#room = room
  }

  /** Counts bytes, fewer if negative. Throws ApiError (rate_limit_error). */
  hold(tenant: string, bytes: number): void {
    const own = (this.#byTenant.get(tenant) ?? 0) + bytes
    if (bytes > 0 && (own > this.#room / 2 || this.#held + bytes > this.#room))
      throw new ApiError('rate_limit_error', 'the server is reading as many large requests as it can; try again', {
        headers: retryAfter(COME_BACK_MS),
      })
    this.#held += bytes
    if (own <= 0) this.#byTenant.delete(tenant)
    else this.#byTenant.set(tenant, own)
  }
}
