import type { Context } from 'hono'
import { z } from 'zod'
import type { Clock } from '../../clock.ts'
import { PoolError } from '../../index.ts'
import type { Pool } from '../../index.ts'
import type { Logger } from '../../telemetry/log.ts'
import type { ServerEnv, ServerSettings } from '../context.ts'
import { ApiError, retryAfter, toApiError } from '../errors.ts'
import { bodyOf, jsonBody } from '../http/json-body.ts'
import { PING } from '../http/stream.ts'
import type { Quotas } from '../limits.ts'
import type { RecentlyShed } from '../operations.ts'
import type { Questions } from '../questions.ts'
import type { Streams } from '../streams.ts'
import type { TurnFeeds } from '../turn-feeds.ts'
import { Actions, actionSchema } from './actions.ts'
import { Assets } from './assets.ts'
import type { PageGate } from './gate.ts'
import { Hub } from './hub.ts'
import { PageStream } from './page-stream.ts'
import type { Recent } from './recent.ts'
import { eventsBefore, shownEvent } from './watched-session.ts'
import type { View } from './wire.ts'

/** Operators are few: more pages at once are a mistake, or an attack. */
const MAX_STREAMS = 16

const LARGEST_BODY = 256 * 1024

const MAX_ROWS = 200

const name = z.string().min(1).max(1_024)

const viewSchema: z.ZodType<View> = z.strictObject({
  list: z
    .strictObject({
      search: z.string().max(200),
      sort: z.enum(['phase', 'session', 'agent', 'state', 'turns', 'tokens', 'cost', 'created', 'used']),
      descending: z.boolean(),
      offset: z.int().min(0),
      limit: z.int().min(1).max(MAX_ROWS),
    })
    .optional(),
  session: z.strictObject({ tenant: name, key: name }).optional(),
  workers: z.boolean().optional(),
})

const changeSchema = z.strictObject({ stream: z.string(), view: viewSchema })

export interface PageContext {
  pool: Pool
  clock: Clock
  settings: ServerSettings
  quotas: Quotas
  streams: Streams
  feeds: TurnFeeds
  questions: Questions
  shed: RecentlyShed
  recent: Recent
  logger: Logger
  drain: (() => void) | undefined
}

/** What answers at `/` and below `/page/`. Made when it is first asked for. */
export class PageRoutes {
  readonly #context: PageContext
  readonly #gate: PageGate
  readonly #hub: Hub
  readonly #actions: Actions
  readonly #open = new Map<string, PageStream>()
  #assets: Promise<Assets> | undefined

  constructor(context: PageContext, gate: PageGate) {
    this.#context = context
    this.#gate = gate
    this.#hub = new Hub(context)
    this.#actions = new Actions(context)
  }

  /** Answers a request of the page. Throws ApiError. */
  handle(c: Context<ServerEnv>): Promise<Response> | Response {
    const { method, path } = c.req
    if (method === 'GET' && path === '/') return this.#file(c, 'index.html')
    if (method === 'GET' && path.startsWith('/page/assets/')) return this.#file(c, path.slice(1))
    if (method === 'GET' && path === '/page/stream') return this.#stream(c)
    if (method === 'GET' && path === '/page/events') return this.#events(c)
    if (method === 'POST' && path === '/page/view') return this.#post(c, (operator) => this.#view(c, operator))
    if (method === 'POST' && path === '/page/action') return this.#post(c, (operator) => this.#act(c, operator))
    throw new ApiError('not_found_error', `there is no ${method} ${path}`)
  }

  close(): void {
    this.#hub.close()
  }

  async #file(c: Context<ServerEnv>, file: string): Promise<Response> {
    this.#gate.checkReader(c)
    // One that was not built is looked for again.
    this.#assets ??= Assets.load().catch((error: unknown) => {
      this.#assets = undefined
      throw error
    })
    return (await this.#assets).answer(file, c.req.header('accept-encoding') ?? '')
  }

  #stream(c: Context<ServerEnv>): Response {
    const operator = this.#gate.operatorOf(c)
    this.#admit(c, operator)
    const view = checked(viewSchema, jsonOf(c.req.query('view') ?? '{}'))
    if (this.#open.size >= MAX_STREAMS)
      throw new ApiError('rate_limit_error', `${MAX_STREAMS} pages are open; close some`, {
        headers: retryAfter(5_000),
      })
    const { pool, clock, questions, recent } = this.#context
    const { canDrain } = this.#actions
    const hello = { operator, keyed: this.#gate.asksForKey, canDrain, agents: pool.agents, version: this.#hub.version }
    const stream = new PageStream({ hub: this.#hub, pool, clock, questions, recent, hello }, view)
    this.#open.set(stream.id, stream)
    const leave = (): void => {
      this.#open.delete(stream.id)
      stream.leave()
    }
    return this.#context.streams.answer(c, stream, { ping: PING, leave, ends: true })
  }

  /** The page of events before the first one shown. */
  async #events(c: Context<ServerEnv>): Promise<Response> {
    this.#gate.operatorOf(c)
    const { tenant, key, before } = checked(
      z.object({ tenant: name, key: name, before: z.coerce.number().int().positive() }),
      c.req.query(),
    )
    return this.#saying(async () => {
      const session = await this.#context.pool.session(key, { tenant })
      return c.json({ events: (await eventsBefore(session, before)).map(shownEvent) })
    })
  }

  async #post(c: Context<ServerEnv>, answer: (operator: string) => Promise<Response>): Promise<Response> {
    const operator = this.#gate.actorOf(c)
    this.#admit(c, operator)
    let response: Response | undefined
    await jsonBody(LARGEST_BODY, `the page sends at most ${LARGEST_BODY / 1024} KiB`)(c, async () => {
      response = await answer(operator)
    })
    return response as Response
  }

  async #view(c: Context<ServerEnv>, operator: string): Promise<Response> {
    const { stream: id, view } = checked(changeSchema, bodyOf(c.req.raw))
    const stream = this.#open.get(id)
    if (stream === undefined || stream.operator !== operator)
      throw new ApiError('not_found_error', 'this stream is closed; open another one')
    stream.show(view)
    return c.body(null, 204)
  }

  #act(c: Context<ServerEnv>, operator: string): Promise<Response> {
    const action = checked(actionSchema, bodyOf(c.req.raw))
    return this.#saying(async () => c.json(await this.#actions.take(action, operator, c.var.requestId)))
  }

  /** Operators are told what the pool says, as it says it. */
  async #saying(work: () => Promise<Response>): Promise<Response> {
    try {
      return await work()
    } catch (error) {
      if (!(error instanceof PoolError)) throw error
      const { type, status, headers } = toApiError(error)
      throw new ApiError(type, `${error.message} (${error.code})`, { status, headers, cause: error })
    }
  }

  /** Streams and bodies are counted by whose they are. */
  #admit(c: Context<ServerEnv>, operator: string): void {
    c.set('caller', { tenant: 'operators of this server', name: operator })
  }
}

function checked<T>(schema: z.ZodType<T>, input: unknown): T {
  const read = schema.safeParse(input)
  if (read.success) return read.data
  const [issue] = read.error.issues
  throw new ApiError('invalid_request_error', `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'is not valid'}`)
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new ApiError('invalid_request_error', 'view: is not JSON')
  }
}
