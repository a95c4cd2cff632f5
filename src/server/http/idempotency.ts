import type { Context, HonoRequest, MiddlewareHandler } from 'hono'
import { calendarOf } from '../../calendar.ts'
import type { Clock } from '../../clock.ts'
import type { ServerEnv } from '../context.ts'
import { ApiError, retryAfter } from '../errors.ts'
import { bodyHashOf } from './json-body.ts'
import { isRepeatable } from './passed-on.ts'
import type { AnswerStore, KeptAnswer, RequestName } from '../../store/api-store.ts'

export const IDEMPOTENCY_KEY = 'Idempotency-Key'

/** Says of an answer that it was given before. */
const REPLAYED = 'idempotent-replayed'

/** How long a request that comes again gets the first answer. */
const KEPT_MS = 24 * 60 * 60 * 1000

/** Of one tenant; the oldest goes first. */
const MAX_KEYS = 10_000

const LARGEST_ANSWER = 64 * 1024

/** Visible characters: what a UUID, a hash or an id of the client's own has. */
const VALID_KEY = /^[!-~]{1,255}$/

/** Another host works on the first request: so often is looked whether it is done, and for so long. */
const LOOK_MS = 100
const PATIENCE_MS = 60_000

const NO_RETRY = { 'x-should-retry': 'false' }

const refused = (why: string): ApiError => new ApiError('invalid_request_error', `${IDEMPOTENCY_KEY}: ${why}`)

/** The first answer cannot be given again, and nothing is done again. */
const unanswerable = (why: string): ApiError =>
  new ApiError('invalid_request_error', `${IDEMPOTENCY_KEY}: ${why}`, { status: 409, headers: NO_RETRY })

/** True for a body that is no JSON but files. */
export const isUpload = (request: HonoRequest): boolean =>
  request.header('content-type')?.startsWith('multipart/') === true

/** For requests whose answers cannot be given again. Throws ApiError that names the header. */
export const refuseIdempotencyKey: MiddlewareHandler<ServerEnv> = (c, next) => {
  if (c.req.header(IDEMPOTENCY_KEY) === undefined) return next()
  throw refused(
    'is not supported by this request: those take it that POST to /v1 and are answered by no stream; leave it out',
  )
}

interface IdempotencyContext {
  clock: Clock
  answers: AnswerStore
  /** Something went wrong that no client asked for. */
  warn: (message: string, error: unknown) => void
}

/** A request under way, for others of its name. */
interface Working {
  bodyHash: string
  /** Undefined: nothing has come of it. */
  answer: Promise<KeptAnswer | undefined>
}

/**
 * Requests that name themselves are done once: one that comes again gets the first answer, also after a restart and from another
 * host. Of two at once the second waits, also for another host. One by which nothing has happened leaves its name free: it may be tried again.
 */
export class Idempotency {
  readonly #context: IdempotencyContext
  readonly #working = new Map<string, Working>()

  constructor(context: IdempotencyContext) {
    this.#context = context
  }

  /** For POST requests whose body was read before. Throws ApiError. */
  readonly handle: MiddlewareHandler<ServerEnv> = async (c, next) => {
    const key = c.req.header(IDEMPOTENCY_KEY)
    if (key === undefined || c.req.method !== 'POST') return next()
    if (!VALID_KEY.test(key)) throw refused('must have 1 to 255 visible characters and no spaces')
    if (isUpload(c.req)) throw refused('is not supported for uploads; leave it out')
    const name: RequestName = { tenant: c.var.caller.tenant, method: c.req.method, path: c.req.path, key }
    const bodyHash = bodyHashOf(c.req.raw) ?? ''
    const place = JSON.stringify(Object.values(name))
    for (let other = this.#working.get(place); other !== undefined; other = this.#working.get(place)) {
      checkBody(other.bodyHash, bodyHash)
      const answer = await other.answer
      if (answer !== undefined) return replay(c, answer)
    }
    const answered = Promise.withResolvers<KeptAnswer | undefined>()
    answered.promise.catch(() => undefined)
    this.#working.set(place, { bodyHash, answer: answered.promise })
    try {
      const kept = await this.#begin(c, name, bodyHash)
      if (kept === undefined) await next()
      answered.resolve(kept ?? (await this.#finish(c, name)))
      return kept === undefined ? undefined : replay(c, kept)
    } catch (error) {
      answered.reject(error)
      throw error
    } finally {
      this.#working.delete(place)
    }
  }

  /** The first answer to this request, if it is not the first. One whose host has ended with it goes on here, if it can. */
  async #begin(c: Context<ServerEnv>, name: RequestName, bodyHash: string): Promise<KeptAnswer | undefined> {
    const { clock, answers } = this.#context
    const { signal } = c.req.raw
    const seed = isRepeatable(c) && c.var.mint !== undefined ? { seed: c.var.mint.seed } : {}
    const until = clock.now() + PATIENCE_MS
    for (;;) {
      const { earliest, latest } = calendarOf(clock)
      const at = Math.floor(latest)
      const bounds = { since: Math.floor(earliest) - KEPT_MS, max: MAX_KEYS }
      const known = await answers.begin({ ...name, bodyHash, at, ...seed }, bounds)
      if (known === undefined) return undefined
      checkBody(known.bodyHash, bodyHash)
      if (known.answer !== undefined) return known.answer
      if (!known.isWorkedOn && known.seed !== undefined && (await answers.takeUp?.(name)) === true) {
        c.set('mint', { seed: known.seed, isRepeat: true })
        return undefined
      }
      if (!known.isWorkedOn && known.seed === undefined)
        throw unanswerable(
          'the server ended while it worked on the first request of this key, which may have been done or not; ' +
            'look at what is there before you send it again under another key',
        )
      if (signal.aborted || clock.now() >= until)
        throw new ApiError(
          'invalid_request_error',
          `${IDEMPOTENCY_KEY}: another host still works on the first request of this key; send it again later`,
          { status: 409, headers: retryAfter(1_000) },
        )
      await new Promise<void>((resolve) => void clock.after(LOOK_MS, resolve))
    }
  }

  /** The answer, which is kept if anything has happened. */
  async #finish(c: Context<ServerEnv>, name: RequestName): Promise<KeptAnswer | undefined> {
    const { answers, warn } = this.#context
    const { status, headers } = c.res
    const body = await c.res.clone().text()
    const small = Buffer.byteLength(body) <= LARGEST_ANSWER
    const answer = { status, contentType: headers.get('content-type') ?? '', body: small ? body : undefined }
    const kept = happened(c)
    try {
      if (kept) await answers.finish(name, answer, c.var.session)
      else if (mayHaveHappened(c) && answers.leave !== undefined) await answers.leave(name)
      else await answers.forget(name)
    } catch (error) {
      // What was done is done: its client hears of it.
      warn('an answer could not be kept for requests that come again', error)
    }
    return kept ? { ...answer, body } : undefined
  }
}

/** Whether the request has done anything, or may have. */
const happened = (c: Context<ServerEnv>): boolean =>
  c.res.ok || (c.error instanceof ApiError && c.error.happened === true)

/** The host has lost the session or its store on the way, and an event may be stored. */
const mayHaveHappened = (c: Context<ServerEnv>): boolean =>
  isRepeatable(c) && (c.var.mint?.isRepeat === true || c.res.status >= 500)

function checkBody(first: string, now: string): void {
  if (first !== now) throw refused('the first request of this key had another body; give each request a key of its own')
}

function replay(c: Context<ServerEnv>, { status, contentType, body }: KeptAnswer): Response {
  if (body === undefined)
    throw unanswerable(
      `the request was done, but its answer had more than the ${LARGEST_ANSWER / 1024} KiB that are kept; read what it has made`,
    )
  const retry = status < 400 ? {} : NO_RETRY
  return c.body(body, status as 200, { 'content-type': contentType, [REPLAYED]: 'true', ...retry })
}
