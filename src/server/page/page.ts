import { Hono } from 'hono'
import type { Context } from 'hono'
import type { ServerEnv } from '../context.ts'
import { ApiError } from '../errors.ts'
import type { PageGate } from './gate.ts'
import type { PageContext, PageRoutes } from './routes.ts'

/** The operator's page. What it is made of is loaded when it is first opened. */
export function operatorPage(context: PageContext, gate: PageGate): { route: Hono<ServerEnv>; close: () => void } {
  let routes: Promise<PageRoutes> | undefined
  let closed = false
  const load = async (): Promise<PageRoutes> => {
    const { PageRoutes: Routes } = await import('./routes.ts')
    return new Routes(context, gate)
  }
  const answer = async (c: Context<ServerEnv>): Promise<Response> => {
    const { method, path } = c.req
    if (!gate.takes(path)) throw new ApiError('not_found_error', `there is no ${method} ${path}`)
    if (closed) throw new ApiError('overloaded_error', 'the server is closing')
    routes ??= load()
    return (await routes).handle(c)
  }
  const route = new Hono<ServerEnv>().get('/', answer).all('/page/*', answer)
  return {
    route,
    close() {
      closed = true
      void routes?.then((open) => open.close())
    },
  }
}
