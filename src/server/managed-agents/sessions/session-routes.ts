import { isDeepStrictEqual } from 'node:util'
import { Hono } from 'hono'
import type { Context } from 'hono'
import type { ServerEnv } from '../../context.ts'
import { readLimit } from '../pages.ts'
import { TIME_BOUNDS, readBounds, readList, readNumber, readOrder, readSwitch } from '../query.ts'
import { readBody } from '../request.ts'
import { described, pageAnswer } from '../routes.ts'
import type { Budgets } from './budgets.ts'
import type { SentEvents } from './sent-events.ts'
import { sessionCreate, sessionUpdate } from './session-schema.ts'
import type { SessionStatus } from './session-status.ts'
import type { ApiSessions, Found, SessionListRequest } from './sessions.ts'

interface SessionRoutes {
  sessions: ApiSessions
  budgets: Budgets
  sent: SentEvents
}

const STATUSES = ['idle', 'running', 'rescheduling', 'terminated']

/** The session that the path names. Throws ApiError. */
export function findSession(sessions: ApiSessions, c: Context<ServerEnv>): Promise<Found> {
  const id = c.req.param('id') ?? ''
  c.set('session', id)
  return sessions.find(c.var.caller.tenant, id)
}

/** `/v1/sessions`, and `/v1/sessions/{id}` without its events. */
export function sessionRoutes(context: SessionRoutes): Hono<ServerEnv> {
  const app = new Hono<ServerEnv>()
  addCollection(app, context)
  addSession(app, context)
  return app
}

function addCollection(app: Hono<ServerEnv>, { sessions, sent }: SessionRoutes): void {
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
        // All or nothing: after an error there is no session.
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
        'memory_store_id',
        'statuses[]',
        ...TIME_BOUNDS,
      ],
    }),
    async (c) => {
      const page = await sessions.list(c.var.caller.tenant, readListRequest(c))
      return c.json({ ...pageAnswer(page), prev_page: page.prevPage })
    },
  )
}

const readListRequest = (c: Context<ServerEnv>): SessionListRequest => ({
  page: c.req.query('page'),
  limit: readLimit(c.req.query('limit')),
  order: readOrder(c, 'desc'),
  includeArchived: readSwitch('include_archived', c.req.query('include_archived')),
  agentId: c.req.query('agent_id'),
  memoryStoreId: c.req.query('memory_store_id'),
  agentVersion: readNumber('agent_version', c.req.query('agent_version')),
  statuses: readList(c.req.queries(), 'statuses', STATUSES) as SessionStatus[] | undefined,
  ...readBounds(c),
})

function addSession(app: Hono<ServerEnv>, { sessions, budgets }: SessionRoutes): void {
  app.get('/:id', described({ operationId: 'retrieveSession', summary: 'Read a session' }), async (c) =>
    c.json(await sessions.show(await findSession(sessions, c))),
  )
  app.post(
    '/:id',
    described({ operationId: 'updateSession', summary: 'Change a session', body: sessionUpdate }),
    async (c) => {
      const before = await findSession(sessions, c)
      const after = await sessions.update(before, await readBody(c.req.raw, sessionUpdate))
      if (!isDeepStrictEqual(before.resource.budget, after.resource.budget)) await budgets.changed(after)
      return c.json(await sessions.show(after))
    },
  )
  app.post(
    '/:id/archive',
    described({ operationId: 'archiveSession', summary: 'Archive a session', post: true }),
    async (c) => c.json(await sessions.show(await sessions.archive(await findSession(sessions, c)))),
  )
  app.delete('/:id', described({ operationId: 'deleteSession', summary: 'Delete a session' }), async (c) =>
    c.json(await sessions.delete(await findSession(sessions, c))),
  )
}
