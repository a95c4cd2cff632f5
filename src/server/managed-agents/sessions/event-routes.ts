import { Hono } from 'hono'
import type { Context } from 'hono'
import type { Clock } from '../../../clock.ts'
import type { ServerEnv } from '../../context.ts'
import { ApiError } from '../../errors.ts'
import { refuseIdempotencyKey } from '../../http/idempotency.ts'
import { SAID } from '../../http/passed-on.ts'
import { PING } from '../../http/stream.ts'
import type { Streams } from '../../streams.ts'
import { TIME_BOUNDS, readList } from '../query.ts'
import { readBody } from '../request.ts'
import { described } from '../routes.ts'
import { Frames } from './event-frames.ts'
import { listEvents } from './event-list.ts'
import type { SentEvents } from './sent-events.ts'
import { findSession } from './session-routes.ts'
import { eventSend } from './session-schema.ts'
import type { ApiSessions, Found } from './sessions.ts'

interface EventRoutes {
  sessions: ApiSessions
  sent: SentEvents
  streams: Streams
  clock: Clock
}

const PREVIEWED = ['agent.message', 'agent.thinking']

const NONE: readonly string[] = []

/** `/v1/sessions/{id}/events`. */
export function eventRoutes({ sessions, sent, streams, clock }: EventRoutes): Hono<ServerEnv> {
  const app = new Hono<ServerEnv>()
  app.post(
    '/:id/events',
    described({ operationId: 'sendEvents', summary: 'Send events to a session', body: eventSend }),
    async (c) => {
      const found = await findSession(sessions, c)
      const { events } = await readBody(c.req.raw, eventSend)
      return c.json({ data: await sent.sendAll(found, events, c.var.caller.name, c.var.mint) })
    },
  )
  app.get(
    '/:id/events',
    described({
      operationId: 'listEvents',
      summary: 'List what was said in a session',
      query: ['page', 'limit', 'order', 'types[]', ...TIME_BOUNDS],
    }),
    async (c) => c.json(await listEvents(c, (await findSession(sessions, c)).session)),
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
      const { session } = await findSession(sessions, c)
      const after = await readPosition(c, session)
      if (c.env?.passedOn !== undefined) c.header(SAID.position, String(after))
      const reader = session.events({ after, previews: previews !== undefined })
      return streams.answer(c, new Frames(reader, previews ?? NONE, clock), {
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
