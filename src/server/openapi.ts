import type { Hono } from 'hono'
import { openAPIRouteHandler, resolver } from 'hono-openapi'
import type { MiddlewareHandler } from 'hono'
import { z } from 'zod'
import type { ServerEnv } from './context.ts'

const errorSchema = z
  .object({
    type: z.literal('error'),
    error: z.object({ type: z.string(), message: z.string() }),
    request_id: z.string(),
  })
  .meta({ id: 'Error' })

const SAYS: Readonly<Record<number, string>> = {
  400: 'The request is not valid',
  401: 'No valid key or token',
  403: 'Not allowed',
  404: 'The caller has no such thing',
  409: 'In conflict with what is there',
  413: 'The body is too large',
  429: 'No room now; `retry-after` says when',
  500: 'The server failed',
  503: 'Not ready',
  529: 'The server is draining',
}

/** The errors that a route may answer with, for its description. */
export const errorAnswers = (...statuses: number[]): Record<number, never> =>
  Object.fromEntries(
    statuses.map((status) => [
      status,
      { description: SAYS[status] ?? 'Error', content: { 'application/json': { schema: resolver(errorSchema) } } },
    ]),
  ) as never

/** `GET /openapi.json`: what all routes of this app say about themselves. */
export const openapi = (app: Hono<ServerEnv>): MiddlewareHandler<ServerEnv> =>
  openAPIRouteHandler(app, {
    documentation: {
      openapi: '3.1.0',
      info: { title: 'claude-agent-pool', version: '1', description: 'Agent sessions over HTTP' },
      components: {
        securitySchemes: {
          key: { type: 'apiKey', in: 'header', name: 'x-api-key' },
          bearer: { type: 'http', scheme: 'bearer' },
        },
      },
      security: [{ key: [] }, { bearer: [] }, {}],
    },
  }) as MiddlewareHandler<ServerEnv>
