import { Hono } from 'hono'
import { describeRoute, resolver } from 'hono-openapi'
import { z } from 'zod'
import { formatWall } from '../../clock.ts'
import { wording } from '../../options/wording.ts'
import type { Pool } from '../../index.ts'
import type { ServerEnv } from '../context.ts'
import { ApiError } from '../errors.ts'
import type { BrowserTokens } from './browser-tokens.ts'
import { refuseIdempotencyKey } from '../http/idempotency.ts'
import { bodyOf, jsonBody } from '../http/json-body.ts'
import { errorAnswers } from '../openapi.ts'

const LONGEST_SECONDS = 3_600
const DEFAULT_SECONDS = 600
const MOST_NAMES = 50
const LARGEST_BODY = 64 * 1024

const names = (what: string): z.ZodType<string[]> =>
  z
    .array(z.string().min(1).max(256), { error: `must be a list of ${what}` })
    .min(1, `must name at least one of the ${what}`)
    .max(MOST_NAMES, `are more than ${MOST_NAMES}`)

const requestSchema = z
  .strictObject({
    agents: names('agents'),
    sessions: names('sessions'),
    expires_in: z
      .int('must be a whole number of seconds')
      .min(1, 'must be at least 1 second')
      .max(LONGEST_SECONDS, `must be at most ${LONGEST_SECONDS} seconds`)
      .default(DEFAULT_SECONDS),
  })
  .meta({ id: 'BrowserTokenRequest' })

const tokenSchema = z
  .object({
    id: z.string(),
    type: z.literal('browser_token'),
    token: z.string(),
    agents: z.array(z.string()),
    sessions: z.array(z.string()),
    expires_at: z.string(),
  })
  .meta({ id: 'BrowserToken' })

/** `/browser-tokens`: what a backend gives its pages in the place of its own key. */
export function browserTokenRoutes(pool: Pool, tokens: BrowserTokens): Hono<ServerEnv> {
  const app = new Hono<ServerEnv>()
  app.post(
    '/browser-tokens',
    describeRoute({
      operationId: 'createBrowserToken',
      summary: 'Create a short-lived token with which a page may use AG-UI',
      tags: ['browser'],
      requestBody: { required: true, content: { 'application/json': { schema: resolver(requestSchema) as never } } },
      responses: {
        200: {
          description: 'The token, shown this once',
          content: { 'application/json': { schema: resolver(tokenSchema) } },
        },
        ...errorAnswers(400, 401, 403, 413, 429),
      },
    }),
    refuseIdempotencyKey,
    jsonBody(LARGEST_BODY, `the body has more than ${LARGEST_BODY / 1024} KiB`),
    async (c) => {
      const { agents, sessions, expires_in: seconds } = readRequest(c.req.raw)
      const unknown = agents.find((agent) => !pool.agents.includes(agent))
      if (unknown !== undefined) throw new ApiError('invalid_request_error', `agents: there is no agent "${unknown}"`)
      const lifetimeMs = seconds * 1_000
      const { token, scope } = await tokens.create(c.var.caller, { agents, sessions, lifetimeMs })
      const expires_at = formatWall(scope.expiresAt)
      return c.json({ id: scope.id, type: 'browser_token', token, agents, sessions, expires_at }, 200, {
        'cache-control': 'no-store',
      })
    },
  )
  app.delete(
    '/browser-tokens/:id',
    describeRoute({
      operationId: 'revokeBrowserToken',
      summary: 'Revoke a browser token, and cut its streams',
      tags: ['browser'],
      parameters: [{ name: 'id', in: 'path', required: true, schema: { type: 'string' } }],
      responses: { 204: { description: 'It opens nothing any more' }, ...errorAnswers(401, 403, 404) },
    }),
    async (c) => {
      const id = c.req.param('id')
      if (!(await tokens.revoke(c.var.caller.tenant, id)))
        throw new ApiError('not_found_error', `browser token ${id} was not found: it is unknown, expired or revoked`)
      return c.body(null, 204)
    },
  )
  return app
}

function readRequest(request: Request): z.infer<typeof requestSchema> {
  const read = requestSchema.safeParse(bodyOf(request), { error: wording })
  if (read.success) return read.data
  const [issue] = read.error.issues
  const path = issue?.path.join('.') ?? ''
  throw new ApiError('invalid_request_error', `${path === '' ? '' : `${path}: `}${issue?.message ?? 'is not valid'}`)
}
