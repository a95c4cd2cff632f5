import { isDeepStrictEqual } from 'node:util'
import { Hono } from 'hono'
import type { Context } from 'hono'
import { streamAnswer } from '../context.ts'
import type { ServerContext, ServerEnv } from '../context.ts'
import { ApiError } from '../errors.ts'
import { refuseIdempotencyKey } from '../idempotency.ts'
import { PING } from '../stream.ts'
import type { Budgets } from './budgets.ts'
import { Frames } from './event-frames.ts'
import { listEvents } from './event-list.ts'
import type { SentEvents } from './events.ts'
import { readLimit } from './pages.ts'
import { TIME_BOUNDS, readBounds, readList, readNumber, readOrder, readSwitch } from './query.ts'
import { readBody } from './request.ts'
import { described, pageAnswer } from './routes.ts'
import { eventSend, sessionCreate, sessionUpdate } from './session-schema.ts'
import type { ApiSessions, Found, SessionStatus } from './sessions.ts'

interface SessionRoutes {
  context: ServerContext
  sessions: ApiSessions
  budgets: Budgets
  sent: SentEvents
}

const STATUSES = ['idle', 'running', 'rescheduling', 'terminated']

const PREVIEWED = ['agent.message', 'agent.thinking']

const NONE: readonly string[] = []

/** `/v1/sessions` and what is below them. */
export function sessionRoutes({ context, sessions, budgets, sent }: SessionRoutes): Hono<ServerEnv> {
  const app = new Hono<ServerEnv>()
  const find = (c: Context<ServerEnv>): Promise<Found> => {
    const id = c.req.param('id') ?? ''
    c.set('session', id)
    return sessions.find(c.var.caller.tenant, id)
  }
  app.post(
    '/',
    described({ operationId: 'createSession', summary: 'Create a session', body: sessionCreate }),
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
      query: ['page', 'limit', 'order', 'include_archived', 'agent_id', 'agent_version', 'statuses[]', ...TIME_BOUNDS],
    }),
    async (c) => {
      const { from, to } = readBounds(c)
      const page = await sessions.list(c.var.caller.tenant, {
        page: c.req.query('page'),
        limit: readLimit(c.req.query('limit')),
        order: readOrder(c, 'desc'),
        includeArchived: readSwitch('include_archived', c.req.query('include_archived')),
        agentId: c.req.query('agent_id'),
        agentVersion: readNumber('agent_version', c.req.query('agent_version')),
        statuses: readList(c.req.queries(), 'statuses', STATUSES) as SessionStatus[] | undefined,
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
    async (c) => {
      const before = await find(c)
      const after = await sessions.update(before, await readBody(c.req.raw, sessionUpdate))
      if (!isDeepStrictEqual(before.resource.budget, after.resource.budget)) await budgets.changed(after)
      return c.json(await sessions.show(after))
    },
  )
  app.post(
    '/:id/archive',
    described({ operationId: 'archiveSession', summary: 'Archive a session', post: true }),
    async (c) => c.json(await sessions.show(await sessions.archive(await find(c)))),
  )
  app.delete('/:id', described({ operationId: 'deleteSession', summary: 'Delete a session' }), async (c) =>
    c.json(await sessions.delete(await find(c))),
  )
  app.post(
    '/:id/events',
    described({ operationId: 'sendEvents', summary: 'Send events to a session', body: eventSend }),
    async (c) => {
      const found = await find(c)
      const { events } = await readBody(c.req.raw, eventSend)
      return c.json({ data: await sent.sendAll(found, events, c.var.caller.name) })
    },
  )
  app.get(
    '/:id/events',
    described({
      operationId: 'listEvents',
      summary: 'List what was said in a session',
      query: ['page', 'limit', 'order', 'types[]', ...TIME_BOUNDS],
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
    refuseIdempotencyKey,
    async (c) => {
      const previews = readList(c.req.queries(), 'event_deltas', PREVIEWED)
      const { session } = await find(c)
      const after = await readPosition(c, session)
      const reader = session.events({ after, previews: previews !== undefined })
      return streamAnswer(context, c, new Frames(reader, previews ?? NONE, context.clock), {
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
