import type { MiddlewareHandler } from 'hono'
import { cors } from 'hono/cors'
import { ApiError } from '../errors.ts'

/** How long a browser may remember what a preflight allowed, in seconds. */
const PREFLIGHT_SECONDS = 600

const SHARED_HEADERS = ['request-id', 'retry-after', 'retry-after-ms', 'x-should-retry']

/** True for `scheme://host` or `scheme://host:port`, written as browsers send it. */
export const isOrigin = (text: string): boolean =>
  /^https?:\/\//.test(text) && URL.canParse(text) && new URL(text).origin === text

/** Answers the browsers of pages that `server.origins` names. Without any, no page can call the server. */
export function crossOrigin(origins: readonly string[]): MiddlewareHandler {
  const allow = cors({
    origin: [...origins],
    allowMethods: ['GET', 'POST', 'DELETE'],
    exposeHeaders: SHARED_HEADERS,
    maxAge: PREFLIGHT_SECONDS,
  })
  return function crossOriginRequest(c, next) {
    const origin = c.req.header('origin')
    const asksFirst = c.req.method === 'OPTIONS' && c.req.header('access-control-request-method') !== undefined
    if (origin !== undefined && origins.includes(origin)) return allow(c, next)
    if (asksFirst) throw notAllowed(origin ?? 'unknown')
    return next()
  }
}

export const notAllowed = (origin: string): ApiError =>
  new ApiError('permission_error', `pages of ${origin} may not call this server; name that origin in server.origins`)
