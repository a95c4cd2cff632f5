import type { MiddlewareHandler } from 'hono'
import type { z } from 'zod'
import type { ServerEnv } from '../context.ts'
import { bodyOf } from '../json-body.ts'
import { ApiError } from '../errors.ts'
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

/** The largest body that the API takes. */
export const LARGEST_BODY: number = 32 * 1024 * 1024

/** The body of a request, checked. Throws ApiError. */
export async function readBody<T>(request: Request, schema: z.ZodType<T>): Promise<T> {
  return parse(schema, bodyOf(request))
}
