import { RunAgentInputSchema } from '@ag-ui/core/schemas'
import type { EventEncoder } from '@ag-ui/encoder'
import type { AGUIEvent, RunAgentInput } from '@ag-ui/core'
import { Hono } from 'hono'
import type { Context } from 'hono'
import { describeRoute, resolver } from 'hono-openapi'
import { SessionGoneError } from '../../index.ts'
import type { Pool, Session } from '../../index.ts'
import { checkThread } from '../auth/browser-tokens.ts'
import { refuseIdempotencyKey } from '../http/idempotency.ts'
import { jsonBody } from '../http/json-body.ts'
import type { ServerEnv } from '../context.ts'
import { ApiError } from '../errors.ts'
import type { Forwarding } from '../forwarding/forwarding.ts'
import type { Quotas } from '../limits.ts'
import { errorAnswers } from '../openapi.ts'
import type { Streams } from '../streams.ts'
import { isUser, readRun } from './input.ts'
import { nothing, toItsEnd } from './run.ts'
import type { Run, Runs } from './runs.ts'

/** A whole history with its images. */
const LARGEST_BODY = 32 * 1024 * 1024

/** A comment: events are all that AG-UI's clients expect. */
const PING = new TextEncoder().encode(': ping\n\n')

type Chunk = Uint8Array<ArrayBuffer>

interface AgUiContext {
  pool: Pool
  quotas: Quotas
  streams: Streams
  runs: Runs
  forwarding: Forwarding
}

/** `POST /ag-ui/{agent}`: a run of AG-UI. Its thread is the session of that key, of the caller's tenant. */
export function agUi(context: AgUiContext): Hono<ServerEnv> {
  const { pool, runs, streams, forwarding } = context
  const app = new Hono<ServerEnv>()
  app.post(
    '/ag-ui/:agent',
    describeRoute({
      operationId: 'runAgent',
      summary: 'Run an agent for an AG-UI front end',
      tags: ['ag-ui'],
      parameters: [{ name: 'agent', in: 'path', required: true, schema: { type: 'string' } }],
      requestBody: {
        required: true,
        description: 'RunAgentInput of @ag-ui/core',
        content: { 'application/json': { schema: resolver(RunAgentInputSchema) as never } },
      },
      responses: {
        200: { description: 'Events of AG-UI', content: { 'text/event-stream': { schema: { type: 'string' } } } },
        ...errorAnswers(400, 401, 403, 404, 409, 413, 429, 529),
      },
    }),
    refuseIdempotencyKey,
    jsonBody(LARGEST_BODY, `a run has at most ${LARGEST_BODY / 2 ** 20} MiB`),
    forwarding.route(
      () => 'run',
      (c) => readRun(c.req.raw).threadId,
    ),
    async (c) => {
      const agent = c.req.param('agent')
      if (!pool.agents.includes(agent)) throw new ApiError('not_found_error', `there is no agent "${agent}"`)
      const input = readRun(c.req.raw)
      c.set('session', input.threadId)
      checkThread(c.var.caller, input.threadId)
      const session = await sessionOf(context, c.var.caller.tenant, agent, input)
      const run = session === undefined ? { events: nothing(input) } : await runs.run(session, input, c.var.caller.name)
      return streamed(streams, c, run)
    },
  )
  return app
}

/** The session of a thread, which begins with its first message: a client that only reads gets none. */
async function sessionOf(
  { quotas, pool }: AgUiContext,
  tenant: string,
  agent: string,
  { threadId, messages }: RunAgentInput,
): Promise<Session | undefined> {
  if (messages.some(isUser)) return quotas.session(tenant, threadId, { agent, fallback: agent })
  try {
    return await pool.session(threadId, { tenant })
  } catch (error) {
    if (error instanceof SessionGoneError) return undefined
    throw error
  }
}

/** The events of a run as its client wants them. */
async function streamed(streams: Streams, c: Context<ServerEnv>, { events, leave }: Run): Promise<Response> {
  const { AGUI_MEDIA_TYPE, EventEncoder: Encoder } = await import('@ag-ui/encoder')
  // The encoder takes "anything" for its own format, which only clients that ask for it can read.
  const isText = c.req.header('accept')?.includes(AGUI_MEDIA_TYPE) !== true
  const contentType = isText ? 'text/event-stream' : AGUI_MEDIA_TYPE
  const encoder = new Encoder({ accept: contentType })
  return streams.answer(c, encoded(toItsEnd(events), encoder, isText), {
    leave: (how) => leave?.(how !== 'ended'),
    contentType,
    ends: true,
    ...(isText ? { ping: PING } : {}),
  })
}

async function* encoded(
  events: AsyncIterable<AGUIEvent>,
  encoder: EventEncoder,
  isText: boolean,
): AsyncGenerator<Chunk, undefined> {
  const utf8 = new TextEncoder()
  for await (const event of events)
    yield isText ? utf8.encode(encoder.encodeSSE(event)) : (encoder.encodeBinary(event) as Chunk)
  return undefined
}
