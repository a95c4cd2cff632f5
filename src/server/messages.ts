import { Hono } from 'hono'
import type { Context } from 'hono'
import { describeRoute, resolver } from 'hono-openapi'
import { z } from 'zod'
import { refuseIdempotencyKey } from './http/idempotency.ts'
import { bodyOf, jsonBody } from './http/json-body.ts'
import type { Pool, Session } from '../index.ts'
import type { ServerEnv, ServerSettings } from './context.ts'
import { ApiError, toApiError } from './errors.ts'
import type { Forwarding } from './forwarding/forwarding.ts'
import { SAID, mintedId, storedEvent } from './http/passed-on.ts'
import { errorAnswers } from './openapi.ts'
import { PING, frame } from './http/stream.ts'
import type { Quotas } from './limits.ts'
import type { Streams } from './streams.ts'
import type { FeedReader, TurnFeed } from './turn-feed.ts'
import type { TurnFeeds } from './turn-feeds.ts'
import { isPiece } from '../message-parts.ts'

const SESSION_ID = /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/

const LARGEST_BODY = 256 * 1024

const promptSchema = z.object({ prompt: z.string().min(1) }).meta({ id: 'Prompt' })

const id = {
  name: 'id',
  in: 'path',
  required: true,
  description: 'A letter or digit, then up to 63 of letters, digits, `_`, `-`',
  schema: { type: 'string', pattern: SESSION_ID.source },
} as const

const stream = {
  description:
    'Frames `event: message` with one message of the Agent SDK each, then `event: done`, or `event: error` with `{"message"}`.',
  content: { 'text/event-stream': { schema: { type: 'string' } } },
} as const

interface MessagesContext {
  pool: Pool
  quotas: Quotas
  feeds: TurnFeeds
  streams: Streams
  settings: ServerSettings
  forwarding: Forwarding
  /** How long a turn goes on whose reader has gone, in milliseconds. */
  disconnectGraceMs: number
}

/** The hosting cookbook's contract: `POST /sessions/{id}/messages`. `GET` of the same goes on with the turn that runs. */
export function messages(context: MessagesContext): Hono<ServerEnv> {
  const app = new Hono<ServerEnv>()
  const forwarded = context.forwarding.route(() => 'turn')
  app.post(
    '/sessions/:id/messages',
    describeRoute({
      operationId: 'sendMessage',
      summary: 'Send a prompt to a session, which begins with its first one, and stream the turn',
      tags: ['messages'],
      parameters: [
        id,
        { name: 'agent', in: 'query', description: 'Agent of a new session', schema: { type: 'string' } },
        { name: 'partial', in: 'query', description: 'Also the pieces of messages', schema: { type: 'boolean' } },
      ],
      requestBody: {
        required: true,
        content: { 'application/json': { schema: resolver(promptSchema) as never } },
      },
      responses: { 200: stream, ...errorAnswers(400, 401, 404, 409, 413, 429, 500, 529) },
    }),
    refuseIdempotencyKey,
    jsonBody(LARGEST_BODY, `a prompt has at most ${LARGEST_BODY / 1024} KiB`),
    forwarded,
    async (c) => {
      const key = sessionId(c.req.param('id'))
      c.set('session', key)
      const { prompt } = readPrompt(c.req.raw)
      const { tenant } = c.var.caller
      const session = await context.quotas.session(tenant, key, {
        agent: c.req.query('agent'),
        fallback: context.settings.defaultAgent ?? context.pool.agents[0] ?? '',
      })
      const feed = (await repeated(context, c, session)) ?? context.feeds.send(session, prompt, eventIdOf(c))
      await context.feeds.settled(feed)
      if (feed.over && feed.last === 0 && feed.failure !== undefined) throw feed.failure
      return answer(context, c, feed, 0)
    },
  )
  app.get(
    '/sessions/:id/messages',
    describeRoute({
      operationId: 'resumeMessages',
      summary: 'Go on with the turn that runs, or ended within the last minute',
      tags: ['messages'],
      parameters: [
        id,
        {
          name: 'Last-Event-ID',
          in: 'header',
          description: 'The last frame that was read',
          schema: { type: 'string' },
        },
      ],
      responses: {
        200: stream,
        204: { description: 'There is no such turn' },
        ...errorAnswers(400, 401, 404, 429, 529),
      },
    }),
    refuseIdempotencyKey,
    forwarded,
    async (c) => {
      const key = sessionId(c.req.param('id'))
      c.set('session', key)
      const { tenant } = c.var.caller
      await context.pool.session(key, { tenant })
      const feed = context.feeds.find(tenant, key)
      if (feed === undefined || isOther(c, feed)) return c.body(null, 204)
      return answer(context, c, feed, readAfter(feed, c.req.header('last-event-id')))
    },
  )
  return app
}

function sessionId(text: string): string {
  if (SESSION_ID.test(text)) return text
  throw new ApiError(
    'invalid_request_error',
    'a session id is a letter or digit, then up to 63 of letters, digits, "_", "-"',
  )
}

function readPrompt(request: Request): { prompt: string } {
  const read = promptSchema.safeParse(bodyOf(request))
  if (read.success) return read.data
  throw new ApiError('invalid_request_error', 'the body is not of the form {"prompt": "…"}')
}

const isPartial = (query: string | undefined): boolean => query === 'true' || query === '1'

function readAfter(feed: TurnFeed, lastEventId: string | undefined): number {
  const [turn, number] = lastEventId?.split('/') ?? []
  return turn === feed.turn.id && /^\d{1,15}$/.test(number ?? '') ? Number(number) : 0
}

/** A stream that broke between hosts goes on with its own turn alone. */
const isOther = (c: Context<ServerEnv>, { turn }: TurnFeed): boolean =>
  c.env?.passedOn?.reopens === true && c.req.header('last-event-id')?.split('/')[0] !== turn.id

const eventIdOf = ({ var: { mint } }: Context<ServerEnv>): { eventId?: string } =>
  mint === undefined ? {} : { eventId: mintedId(mint, 0) }

/** The turn of an earlier try of this request. Throws ApiError if the prompt was taken and its turn is not here. */
async function repeated(
  { feeds, pool }: MessagesContext,
  c: Context<ServerEnv>,
  session: Session,
): Promise<TurnFeed | undefined> {
  const { eventId } = eventIdOf(c)
  if (eventId === undefined || c.var.mint?.isRepeat !== true) return undefined
  const feed = feeds.find(session.tenant, session.key)
  if (feed?.promptId === eventId) return feed
  if (!pool.keepsEvents || (await storedEvent(session, eventId)) !== undefined)
    throw new ApiError(
      'overloaded_error',
      'the host of this session went away with this prompt, which may have run; the events of the session say what became of it',
      { headers: { 'x-should-retry': 'false' } },
    )
  return undefined
}

function answer(context: MessagesContext, c: Context<ServerEnv>, feed: TurnFeed, after: number): Response {
  const reader = feed.read(after, context.disconnectGraceMs)
  if (c.env?.passedOn !== undefined) c.header(SAID.position, `${feed.turn.id}/${after}`)
  const source = frames(feed, reader, isPartial(c.req.query('partial')))
  return context.streams.answer(c, source, { ping: PING, leave: (how) => reader.leave(how !== 'ended') })
}

async function* frames(
  feed: TurnFeed,
  reader: FeedReader,
  partial: boolean,
): AsyncGenerator<Uint8Array<ArrayBuffer>, undefined> {
  try {
    for (;;) {
      const { done, value } = await reader.next()
      if (done === true) break
      const { message, json, number } = value
      if (partial || !isPiece(message)) yield frame('message', json, `${feed.turn.id}/${number}`)
    }
    yield frame('done', '{}')
  } catch (error) {
    yield frame('error', JSON.stringify({ message: toApiError(error).message }))
  }
  return undefined
}
