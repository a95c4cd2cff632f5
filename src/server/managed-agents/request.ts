import type { MiddlewareHandler } from 'hono'
import type { z } from 'zod'
import type { ServerEnv } from '../context.ts'
import { bodyOf, jsonBody } from '../http/json-body.ts'
import { ApiError } from '../errors.ts'
import { isUpload } from '../http/idempotency.ts'
import { parse } from './schema.ts'

const WORKSPACE = 'anthropic-workspace-id'

/** A tenant has no workspaces: a client that names one would take what it gets for that workspace's. */
export const refuseWorkspace: MiddlewareHandler<ServerEnv> = (c, next) => {
  if (c.req.header(WORKSPACE) === undefined) return next()
  throw new ApiError(
    'invalid_request_error',
    `${WORKSPACE}: this server has no workspaces; leave workspace_id out: the API key says whose things are meant`,
  )
}

/** The largest body that the official API takes: events with images and documents. */
const LARGEST_EVENTS = 32 * 1024 * 1024

/** All else: the largest definition has 1 Mi characters, and JSON may write each in six bytes. */
const LARGEST_OTHER = 8 * 1024 * 1024

const reader = (maxBytes: number, what: string): MiddlewareHandler<ServerEnv> =>
  jsonBody(maxBytes, `${what} has at most ${maxBytes / 2 ** 20} MB`, { optional: true })

const readEvents = reader(LARGEST_EVENTS, 'a request that sends events')
const readCall = reader(LARGEST_EVENTS, 'a call of the model')
const readOther = reader(LARGEST_OTHER, 'a request that sends no events')

/** Reads and bounds the bodies of calls of the model. */
export const readCalls: MiddlewareHandler<ServerEnv> = (c, next) =>
  c.req.method === 'POST' ? readCall(c, next) : next()

/** Reads and bounds the bodies of the API, but for uploads. */
export const readBodies: MiddlewareHandler<ServerEnv> = (c, next) => {
  if (c.req.method !== 'POST' || isUpload(c.req)) return next()
  return c.req.path.endsWith('/events') ? readEvents(c, next) : readOther(c, next)
}

/** The body of a request, checked. Throws ApiError. */
export async function readBody<T>(request: Request, schema: z.ZodType<T>): Promise<T> {
  const body = bodyOf(request)
  if (body === undefined) throw new ApiError('invalid_request_error', 'the body is not JSON')
  return parse(schema, body)
}
