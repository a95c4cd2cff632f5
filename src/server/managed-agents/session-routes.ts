import { Hono } from 'hono'
import type { Context } from 'hono'
import { parseWall } from '../../clock.ts'
import type { JournalEntry, NumberedEvent, SessionEvents } from '../../index.ts'
import { SessionGoneError } from '../../index.ts'
import { streamAnswer } from '../context.ts'
import type { ServerContext, ServerEnv } from '../context.ts'
import { ApiError, toApiError } from '../errors.ts'
import { PING, frame } from '../stream.ts'
import type { SentEvents } from './events.ts'
import { readLimit, readTime } from './pages.ts'
import { readBody, readNumber, readSwitch } from './request.ts'
import { bounded, described, pageAnswer } from './routes.ts'
import { eventSend, sessionCreate, sessionUpdate } from './session-schema.ts'
import type { ApiSessions, Found, SessionStatus } from './sessions.ts'
import { wireEvent } from './wire-event.ts'

interface SessionRoutes {
  context: ServerContext
  sessions: ApiSessions
  sent: SentEvents
}

const MAX_EVENTS_PAGE = 1_000

const STATUSES = ['idle', 'running', 'rescheduling', 'terminated']

const PREVIEWED = ['agent.message', 'agent.thinking']

const NONE: readonly string[] = []

const created = (bound: string): string => `created_at[${bound}]`

const MOMENT_MS = 1

/** `/v1/sessions` and what is below them. */
export function sessionRoutes({ context, sessions, sent }: SessionRoutes): Hono<ServerEnv> {
  const app = new Hono<ServerEnv>()
  const find = (c: Context<ServerEnv>): Promise<Found> => {
    const id = c.req.param('id') ?? ''
    c.set('session', id)
    return sessions.find(c.var.caller.tenant, id)
  }
  app.post(
    '/',
    described({ operationId: 'createSession', summary: 'Create a session', body: sessionCreate }),
    bounded,
    async (c) => {
      const params = await readBody(c.req.raw, sessionCreate)
      const found = await sessions.create(c.var.caller.tenant, params)
      c.set('session', found.resource.id)
      try {
        await sent.send(found, params.initial_events ?? [], c.var.caller.name)
      } catch (error) {
        // All or nothing: who gets an error has no session.
        await sessions.delete(found)
        throw error
      }
      return c.json(await sessions.show(found))
    },
  )
  app.get(
    '/',
    described({
      operationId: 'listSessions',
      summary: 'List sessions',
      query: [
        'page',
        'limit',
        'order',
        'include_archived',
        'agent_id',
        'agent_version',
        'statuses[]',
        ...['gt', 'gte', 'lt', 'lte'].map(created),
      ],
    }),
    async (c) => {
      for (const name of ['deployment_id', 'memory_store_id'])
        if (c.req.query(name) !== undefined)
          throw new ApiError('invalid_request_error', `${name}: is not supported by this server; leave it out`)
      const { from, to } = readBounds(c)
      const page = await sessions.list(c.var.caller.tenant, {
        page: c.req.query('page'),
        limit: readLimit(c.req.query('limit')),
        order: readOrder(c, 'desc'),
        includeArchived: readSwitch('include_archived', c.req.query('include_archived')),
        agentId: c.req.query('agent_id'),
        agentVersion: readNumber('agent_version', c.req.query('agent_version')),
        statuses: readList(c, 'statuses', STATUSES) as SessionStatus[] | undefined,
        from,
        to,
      })
      return c.json({ ...pageAnswer(page), prev_page: page.prevPage })
    },
  )
  app.get('/:id', described({ operationId: 'retrieveSession', summary: 'Read a session' }), async (c) =>
    c.json(await sessions.show(await find(c))),
  )
  app.post(
    '/:id',
    described({ operationId: 'updateSession', summary: 'Change a session', body: sessionUpdate }),
    bounded,
    async (c) => {
      const found = await find(c)
      return c.json(await sessions.show(await sessions.update(found, await readBody(c.req.raw, sessionUpdate))))
    },
  )
  app.post('/:id/archive', described({ operationId: 'archiveSession', summary: 'Archive a session' }), async (c) =>
    c.json(await sessions.show(await sessions.archive(await find(c)))),
  )
  app.delete('/:id', described({ operationId: 'deleteSession', summary: 'Delete a session' }), async (c) =>
    c.json(await sessions.delete(await find(c))),
  )
  app.post(
    '/:id/events',
    described({ operationId: 'sendEvents', summary: 'Send events to a session', body: eventSend }),
    bounded,
    async (c) => {
      const found = await find(c)
      const { events } = await readBody(c.req.raw, eventSend)
      return c.json({ data: await sent.send(found, events, c.var.caller.name) })
    },
  )
  app.get(
    '/:id/events',
    described({
      operationId: 'listEvents',
      summary: 'List what was said in a session',
      query: ['page', 'limit', 'order', 'types[]', ...['gt', 'gte', 'lt', 'lte'].map(created)],
    }),
    async (c) => c.json(await listEvents(c, (await find(c)).session)),
  )
  app.get(
    '/:id/events/stream',
    described({
      operationId: 'streamEvents',
      summary: 'Follow what is said in a session, from now on or behind Last-Event-ID',
      query: ['event_deltas[]'],
    }),
    async (c) => {
      const previews = readList(c, 'event_deltas', PREVIEWED)
      const { session } = await find(c)
      const after = await readPosition(c, session)
      const reader = session.events({ after, previews: previews !== undefined })
      return streamAnswer(context, c, new Frames(reader, previews ?? NONE), {
        ping: PING,
        leave: () => void reader.return?.(),
      })
    },
  )
  return app
}

async function readPosition(c: Context<ServerEnv>, session: Found['session']): Promise<number> {
  const last = c.req.header('last-event-id')
  if (last === undefined || last === '') {
    const [newest] = await session.history({ descending: true, limit: 1 })
    return newest?.number ?? 0
  }
  if (!/^\d{1,15}$/.test(last))
    throw new ApiError('invalid_request_error', 'Last-Event-ID: is not the id of a frame of this stream')
  return Number(last)
}

/** Encoded once for all streams that follow. */
const encoded = new WeakMap<object, Uint8Array<ArrayBuffer>>()

function encode({ number, event }: JournalEntry): Uint8Array<ArrayBuffer> {
  let chunk = encoded.get(event)
  if (chunk === undefined) {
    chunk = frame(event.type, JSON.stringify(wireEvent(event)), number === undefined ? undefined : String(number))
    encoded.set(event, chunk)
  }
  return chunk
}

/** What is there already goes out in one piece, up to this many bytes and the event that exceeds them. */
const PIECE_BYTES = 16 * 1024

/** A frame for each event, and one that says why there will be no more. */
class Frames implements AsyncIterator<Uint8Array<ArrayBuffer>, undefined> {
  readonly #reader: SessionEvents
  readonly #previews: readonly string[]
  /** Previews of another kind than was asked for. */
  #unwanted: string | undefined
  #ended = false

  constructor(reader: SessionEvents, previews: readonly string[]) {
    this.#reader = reader
    this.#previews = previews
  }

  async next(): Promise<IteratorResult<Uint8Array<ArrayBuffer>, undefined>> {
    try {
      while (!this.#ended) {
        const { done, value } = await this.#reader.next()
        if (done === true) break
        const [frame, ...more] = this.#framesFrom(value)
        if (frame !== undefined)
          return { done: false, value: more.length === 0 ? frame : Buffer.concat([frame, ...more]) }
      }
    } catch (error) {
      this.#ended = true
      return { done: false, value: lastFrame(error) }
    }
    return { done: true, value: undefined }
  }

  #framesFrom(first: JournalEntry): Uint8Array<ArrayBuffer>[] {
    const frames: Uint8Array<ArrayBuffer>[] = []
    let bytes = 0
    let entry: JournalEntry | undefined = first
    while (entry !== undefined) {
      if (this.#wants(entry)) {
        const frame = encode(entry)
        frames.push(frame)
        bytes += frame.length
      }
      entry = bytes < PIECE_BYTES ? this.#reader.takeReady() : undefined
    }
    return frames
  }

  #wants({ event }: JournalEntry): boolean {
    if (event.type === 'event_delta') return event.event_id !== this.#unwanted
    if (event.type !== 'event_start' || this.#previews.includes(event.event.type)) return true
    this.#unwanted = event.event.id
    return false
  }
}

const lastFrame = (error: unknown): Uint8Array<ArrayBuffer> =>
  error instanceof SessionGoneError
    ? frame('session.deleted', '{"type":"session.deleted"}')
    : frame('error', JSON.stringify(toApiError(error).body('')))

/** A list of events, in either order, with its cursor. */
async function listEvents(
  c: Context<ServerEnv>,
  session: Found['session'],
): Promise<{ data: unknown[]; next_page: string | null }> {
  const descending = readOrder(c, 'asc') === 'desc'
  const limit = readLimit(c.req.query('limit'), 100, MAX_EVENTS_PAGE)
  const { from = -Infinity, to = Infinity } = readBounds(c)
  const types = readList(c, 'types')
  const found: NumberedEvent[] = []
  let place = readEventCursor(c.req.query('page'))
  for (;;) {
    const page = await session.history({
      descending,
      limit: limit + 1,
      ...(types === undefined ? {} : { types }),
      ...(place === undefined ? {} : descending ? { before: place } : { after: place }),
    })
    for (const entry of page) if (within(entry, from, to)) found.push(entry)
    place = page.at(-1)?.number
    if (found.length > limit || page.length <= limit) break
  }
  const last = found[limit - 1]
  return {
    data: found.slice(0, limit).map(({ event }) => wireEvent(event)),
    next_page: found.length > limit && last !== undefined ? `page_${last.number}` : null,
  }
}

function within({ event: { processed_at } }: NumberedEvent, from: number, to: number): boolean {
  const at = processed_at === null ? Infinity : parseWall(processed_at)
  return (at >= from || from === -Infinity) && (at <= to || to === Infinity)
}

function readEventCursor(page: string | undefined): number | undefined {
  if (page === undefined || page === '') return undefined
  const number = /^page_(\d{1,15})$/.exec(page)?.[1]
  if (number === undefined)
    throw new ApiError('invalid_request_error', 'page: is not a cursor of this list; take next_page as it came')
  return Number(number)
}

function readBounds(c: Context<ServerEnv>): { from: number | undefined; to: number | undefined } {
  const at = (bound: string): number | undefined => readTime(created(bound), c.req.query(created(bound)))
  const [gt, gte, lt, lte] = [at('gt'), at('gte'), at('lt'), at('lte')]
  return { from: gt === undefined ? gte : gt + MOMENT_MS, to: lt === undefined ? lte : lt - MOMENT_MS }
}

function readOrder(c: Context<ServerEnv>, fallback: 'asc' | 'desc'): 'asc' | 'desc' {
  const order = c.req.query('order') ?? fallback
  if (order === 'asc' || order === 'desc') return order
  throw new ApiError('invalid_request_error', 'order: must be asc or desc')
}

/** A parameter that may be repeated, written as `name` or `name[]`. Throws ApiError for a value that is not known. */
function readList(c: Context<ServerEnv>, name: string, known?: readonly string[]): string[] | undefined {
  const values = [...(c.req.queries(`${name}[]`) ?? []), ...(c.req.queries(name) ?? [])]
  if (values.length === 0) return undefined
  const unknown = known === undefined ? undefined : values.find((value) => !known.includes(value))
  if (unknown !== undefined)
    throw new ApiError('invalid_request_error', `${name}: "${unknown}" is not one of ${known?.join(', ')}`)
  return values
}
