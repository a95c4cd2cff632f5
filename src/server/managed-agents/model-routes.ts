import { Hono } from 'hono'
import type { Context } from 'hono'
import type { ModelAnswer, Pool } from '../../index.ts'
import { ConfigError } from '../../errors.ts'
import type { ServerEnv } from '../context.ts'
import { ApiError } from '../errors.ts'
import { bodyOf } from '../http/json-body.ts'
import { refuseIdempotencyKey } from '../http/idempotency.ts'
import type { Streams } from '../streams.ts'
import type { ModelPolicy } from './model-policy.ts'
import { readCalls, refuseWorkspace } from './request.ts'
import { described } from './routes.ts'

/** Answers of lists of models are small. */
const MAX_LIST_BYTES = 2 ** 20

/** What of the API's answers is for the tenant: the rest tells of the operator's account. */
const PASSED_BACK = ['content-type', 'retry-after', 'retry-after-ms', 'x-should-retry']

interface ModelRoutesContext {
  pool: Pick<Pool, 'callModel'>
  policy: ModelPolicy
  streams: Pick<Streams, 'answer'>
}

/** `/v1/messages` and `/v1/models`: the model's own API, for the models that the operator allows. */
export function modelRoutes({ pool, policy, streams }: ModelRoutesContext): Hono<ServerEnv> {
  const app = new Hono<ServerEnv>()
  const ask = async (c: Context<ServerEnv>, body?: object): Promise<ModelAnswer> => {
    try {
      return await pool.callModel(c.var.caller.tenant, {
        method: body === undefined ? 'GET' : 'POST',
        path: `${c.req.path}${new URL(c.req.url).search}`,
        headers: {
          'anthropic-version': c.req.header('anthropic-version') ?? '2023-06-01',
          'anthropic-beta': c.req.header('anthropic-beta'),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        signal: c.req.raw.signal,
      })
    } catch (error) {
      throw unavailable(error)
    }
  }
  const post = async (c: Context<ServerEnv>): Promise<Response> => {
    const body = bodyOf(c.req.raw)
    if (typeof body !== 'object' || body === null || Array.isArray(body))
      throw new ApiError('invalid_request_error', 'the body is not a JSON object')
    const { model } = body as { model?: unknown }
    if (typeof model !== 'string') throw new ApiError('invalid_request_error', 'model: is missing')
    policy.check(c.var.caller.tenant, model)
    return passed(c, await ask(c, body), streams)
  }
  app.use('/v1/messages/*', refuseIdempotencyKey, refuseWorkspace, readCalls)
  app.use('/v1/models/*', refuseWorkspace)
  app.post('/v1/messages', described({ operationId: 'createMessage', summary: 'Call a model' }), post)
  app.post(
    '/v1/messages/count_tokens',
    described({ operationId: 'countTokens', summary: 'Count the tokens of a call' }),
    post,
  )
  app.all('/v1/messages/batches/*', () => {
    throw new ApiError(
      'not_found_error',
      '/v1/messages/batches: this server does not run batches; send each message by itself',
    )
  })
  app.get(
    '/v1/models',
    described({ operationId: 'listModels', summary: 'List the models', query: ['limit', 'after_id', 'before_id'] }),
    async (c) => {
      const { tenant } = c.var.caller
      policy.check(tenant)
      const answer = await ask(c)
      if (answer.status !== 200) return passed(c, answer, streams)
      const list = await readList(answer)
      return c.json({ ...list, data: list.data.filter(({ id }) => policy.allows(tenant, id)) })
    },
  )
  app.get('/v1/models/:id', described({ operationId: 'retrieveModel', summary: 'Read a model' }), async (c) => {
    policy.check(c.var.caller.tenant, c.req.param('id'))
    return passed(c, await ask(c), streams)
  })
  return app
}

/** Passes the API's answer on as it comes. */
function passed(
  c: Context<ServerEnv>,
  { status, headers, body }: ModelAnswer,
  streams: ModelRoutesContext['streams'],
): Response {
  // A refused credential is the operator's, not the caller's.
  if (status === 401 || status === 403) {
    body.destroy()
    throw new ApiError('api_error', 'the server has no valid credential for the model', {
      headers: { 'x-should-retry': 'false' },
    })
  }
  const source = body.iterator({ destroyOnReturn: true }) as AsyncIterator<Uint8Array<ArrayBuffer>, undefined>
  if (status === 200 && headers['content-type']?.startsWith('text/event-stream') === true)
    return streams.answer(c, source, { leave: () => body.destroy(), ends: true, contentType: headers['content-type'] })
  for (const name of PASSED_BACK) {
    const value = headers[name]
    if (typeof value === 'string') c.header(name, value)
  }
  return c.body(ReadableStream.from({ [Symbol.asyncIterator]: () => source }), status as 200)
}

interface ModelList {
  data: { id: string }[]
}

async function readList({ body }: ModelAnswer): Promise<ModelList> {
  const pieces: Buffer[] = []
  let size = 0
  for await (const piece of body as AsyncIterable<Buffer>) {
    size += piece.length
    if (size > MAX_LIST_BYTES) throw new ApiError('api_error', 'the list of models is too large')
    pieces.push(piece)
  }
  return JSON.parse(Buffer.concat(pieces).toString('utf8')) as ModelList
}

/** What is set up wrong is the operator's, and no request can change it. */
function unavailable(error: unknown): unknown {
  if (!(error instanceof ConfigError)) return error
  return new ApiError(
    'permission_error',
    `this server cannot call the model for you: ${error.path === 'api' ? 'it has no key of the API for that' : 'it has no credential proxy'}`,
    { headers: { 'x-should-retry': 'false' }, cause: error },
  )
}
