import { Hono } from 'hono'
import type { MiddlewareHandler } from 'hono'
import { refuseStrangers } from './auth/authenticator.ts'
import type { Operators } from './auth/operators.ts'
import type { ServerEnv } from './context.ts'

/** What a supervisor asks, which has no key: it tells of no tenant. */
const PROBES = new Set(['/health', '/livez', '/readyz'])

interface OperationsPortContext {
  operators: Operators
  /** What comes before each request. */
  note: MiddlewareHandler<ServerEnv>
  /** The routes, which tell of all tenants. */
  routes: readonly Hono<ServerEnv>[]
}

/** The operations port. `exposed`: others than programs of this machine reach it, so it asks for an operator's key. */
export function operationsPort({ operators, note, routes }: OperationsPortContext, exposed: boolean): Hono<ServerEnv> {
  const app = new Hono<ServerEnv>()
  app.use(note)
  app.use(async function guard(c, next) {
    if (!exposed) refuseStrangers(c.req.raw.headers, [])
    else if (!PROBES.has(c.req.path)) operators.check(c.req.raw.headers)
    await next()
  })
  for (const route of routes) app.route('/', route)
  return app
}
