import { RunAgentInputSchema } from '@ag-ui/core/schemas'
import { AGUI_MEDIA_TYPE, EventEncoder } from '@ag-ui/encoder'
import type { AGUIEvent, RunAgentInput } from '@ag-ui/core'
import { Hono } from 'hono'
import type { Context } from 'hono'
import { describeRoute, resolver } from 'hono-openapi'
import type { Session } from '../../index.ts'
import { checkThread } from '../browser-tokens.ts'
import { refuseIdempotencyKey } from '../idempotency.ts'
import { jsonBody } from '../json-body.ts'
import { streamAnswer } from '../context.ts'
import type { ServerContext, ServerEnv } from '../context.ts'
import { ApiError } from '../errors.ts'
import { errorAnswers } from '../openapi.ts'
import type { TurnFeed } from '../turn-feed.ts'
import { answerOf, newMessages, promptOf, readRun } from './input.ts'
import { ThreadTurn, emptyRun, refusedRun, runEvents } from './run.ts'

/** A whole history with its images. */
const LARGEST_BODY = 32 * 1024 * 1024

/** Threads whose last message is remembered; of others, all since the last answer is new. */
const MAX_THREADS = 10_000

/** A comment: events are all that AG-UI's clients expect. */
const PING = new TextEncoder().encode(': ping\n\n')

type Chunk = Uint8Array<ArrayBuffer>

/** `POST /ag-ui/{agent}`: a run of AG-UI. Its thread is the session of that key, of the caller's tenant. */
export function agUi(context: ServerContext): Hono<ServerEnv> {
  const threads = new Threads(context)
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
    async (c) => {
      const agent = c.req.param('agent')
      if (!context.pool.agents.includes(agent)) throw new ApiError('not_found_error', `there is no agent "${agent}"`)
      const input = readRun(c.req.raw)
      c.set('session', input.threadId)
      checkThread(c.var.caller, input.threadId)
      const session = await context.quotas.session(c.var.caller.tenant, input.threadId, { agent, fallback: agent })
      return threads.run(c, session, input)
    },
  )
  return app
}

const OPEN = {
  taken: false,
  refusal: 'interrupts are open; answer them with resume before anything else is sent',
}

/** What front ends do with sessions. */
class Threads {
  readonly #context: ServerContext
  readonly #turns = new WeakMap<TurnFeed, ThreadTurn>()
  /** Id of the last message that was sent, by thread. */
  readonly #lastSent = new Map<string, string>()

  constructor(context: ServerContext) {
    this.#context = context
  }

  async run(c: Context<ServerEnv>, session: Session, input: RunAgentInput): Promise<Response> {
    const { feeds, questions } = this.#context
    const { tenant, key } = session
    const threadId = `${tenant}\0${key}`
    const news = newMessages(input.messages, this.#lastSent.get(threadId))
    const feed = feeds.find(tenant, key)
    const turn = feed === undefined ? undefined : this.#turnOf(feed)
    const open = questions.open(tenant, key)
    if (open.length > 0 || (input.resume ?? []).length > 0) {
      const fate = news.length > 0 ? OPEN : this.#answer(c, session, turn, input)
      if (fate.refusal !== undefined) return this.#stream(c, refusedRun(input, fate.refusal))
      if (turn === undefined) return this.#stream(c, emptyRun(input))
      // Answers that come twice are those of a front end that has not seen what they led to.
      return this.#follow(c, fate.taken ? turn : turn.again(), input)
    }
    if (news.length > 0) return this.#begin(c, session, input, news)
    // Nothing new: a front end that has lost its connection, and wants what it missed.
    if (turn === undefined) return this.#stream(c, emptyRun(input))
    return this.#follow(c, turn.again(), input)
  }

  /** Gives the answers of this run to the questions that wait. */
  #answer(
    c: Context<ServerEnv>,
    session: Session,
    turn: ThreadTurn | undefined,
    { resume = [] }: RunAgentInput,
  ): { taken: boolean; refusal?: string } {
    const { questions } = this.#context
    const open = questions.open(session.tenant, session.key)
    // Without an answer it is told again what waits: so a front end that has lost its connection finds it.
    if (resume.length === 0) return { taken: false }
    const answered = new Set(resume.map(({ interruptId }) => interruptId))
    const announced = new Set((turn?.announced ?? open).map(({ id }) => id))
    const missing = open.filter(({ id }) => announced.has(id) && !answered.has(id))
    if (missing.length > 0)
      return {
        taken: false,
        refusal: `resume must answer all interrupts; missing: ${missing.map(({ id }) => id).join(', ')}`,
      }
    const unknown = resume.find(({ interruptId }) => !questions.knows(session, interruptId))
    if (unknown !== undefined)
      return { taken: false, refusal: `resume answers "${unknown.interruptId}", which is no interrupt of this thread` }
    let taken = false
    for (const { interruptId, status, payload } of resume) {
      const question = open.find(({ id }) => id === interruptId)
      if (question === undefined) continue
      questions.answer(session, interruptId, answerOf(question, status, payload), c.var.caller.name)
      taken = true
    }
    return { taken }
  }

  async #begin(
    c: Context<ServerEnv>,
    session: Session,
    input: RunAgentInput,
    news: RunAgentInput['messages'],
  ): Promise<Response> {
    const { feeds } = this.#context
    const feed = feeds.send(session, promptOf(news, input))
    await feeds.settled(feed)
    if (feed.over && feed.last === 0 && feed.failure !== undefined) throw feed.failure
    this.#remember(`${session.tenant}\0${session.key}`, news.at(-1)?.id ?? '')
    return this.#follow(c, this.#turnOf(feed), input)
  }

  #follow(c: Context<ServerEnv>, turn: ThreadTurn, input: RunAgentInput): Response {
    this.#turns.set(turn.feed, turn)
    // Two front ends on one thread would each miss what the other was told.
    turn.reader?.leave(false)
    const reader = turn.feed.read(turn.at)
    turn.reader = reader
    return this.#stream(c, runEvents(input, turn, reader, this.#context.questions), (how) =>
      reader.leave(how !== 'ended'),
    )
  }

  #turnOf(feed: TurnFeed): ThreadTurn {
    const turn = this.#turns.get(feed) ?? new ThreadTurn(feed)
    this.#turns.set(feed, turn)
    return turn
  }

  #remember(threadId: string, message: string): void {
    this.#lastSent.delete(threadId)
    this.#lastSent.set(threadId, message)
    const [oldest] = this.#lastSent.keys()
    if (this.#lastSent.size > MAX_THREADS && oldest !== undefined) this.#lastSent.delete(oldest)
  }

  #stream(
    c: Context<ServerEnv>,
    events: Iterable<AGUIEvent> | AsyncIterable<AGUIEvent>,
    leave: (how: 'ended' | 'left' | 'cut') => void = () => undefined,
  ): Response {
    // The encoder takes "anything" for its own format, which nobody reads who did not ask for it.
    const isText = c.req.header('accept')?.includes(AGUI_MEDIA_TYPE) !== true
    const contentType = isText ? 'text/event-stream' : AGUI_MEDIA_TYPE
    const encoder = new EventEncoder({ accept: contentType })
    return streamAnswer(this.#context, c, encoded(events, encoder, isText), {
      leave,
      contentType,
      ends: true,
      ...(isText ? { ping: PING } : {}),
    })
  }
}

async function* encoded(
  events: Iterable<AGUIEvent> | AsyncIterable<AGUIEvent>,
  encoder: EventEncoder,
  isText: boolean,
): AsyncGenerator<Chunk, undefined> {
  const utf8 = new TextEncoder()
  for await (const event of events)
    yield isText ? utf8.encode(encoder.encodeSSE(event)) : (encoder.encodeBinary(event) as Chunk)
  return undefined
}
