import { Hono } from 'hono'
import type { Context } from 'hono'
import type { ServerEnv } from '../../context.ts'
import { ApiError } from '../../errors.ts'
import { readLimit } from '../pages.ts'
import { readBody } from '../request.ts'
import { described } from '../routes.ts'
import { MAX_RESOURCES, fileMount, filesOf } from './file-resources.ts'
import type { MemoryResource } from '../memory/memory-mounts.ts'
import type { FileResource } from './file-resources.ts'
import { findSession } from './session-routes.ts'
import type { ApiSessions, Found } from './sessions.ts'

/** A memory store is known by its own id. */
const cursorOf = (resource: FileResource | MemoryResource): string =>
  resource.type === 'file' ? resource.id : resource.memory_store_id

/** `/v1/sessions/{id}/resources`. */
export function resourceRoutes(sessions: ApiSessions): Hono<ServerEnv> {
  const app = new Hono<ServerEnv>()
  const find = async (c: Context<ServerEnv>): Promise<{ found: Found; resource: FileResource }> => {
    const found = await findSession(sessions, c)
    const id = c.req.param('resource') ?? ''
    const resource = filesOf(found.resource.resources).find((one) => one.id === id)
    if (resource === undefined) throw new ApiError('not_found_error', `resource ${id} was not found`)
    return { found, resource }
  }
  app.post(
    '/:id/resources',
    described({ operationId: 'addResource', summary: 'Put a file into a session', body: fileMount }),
    async (c) => {
      const found = await findSession(sessions, c)
      return c.json(await sessions.mount(found, await readBody(c.req.raw, fileMount)))
    },
  )
  app.get(
    '/:id/resources',
    described({ operationId: 'listResources', summary: 'List the files of a session', query: ['page', 'limit'] }),
    async (c) => {
      const { resources } = (await findSession(sessions, c)).resource
      const limit = readLimit(c.req.query('limit'), MAX_RESOURCES)
      const page = c.req.query('page')
      const from = page === undefined ? 0 : resources.findIndex((resource) => cursorOf(resource) === page)
      if (from === -1)
        throw new ApiError('invalid_request_error', 'page: is not a cursor of this list; take next_page as it came')
      const next = resources[from + limit]
      return c.json({
        data: resources.slice(from, from + limit),
        next_page: next === undefined ? null : cursorOf(next),
      })
    },
  )
  app.get(
    '/:id/resources/:resource',
    described({ operationId: 'retrieveResource', summary: 'Read what is known of a file of a session' }),
    async (c) => c.json((await find(c)).resource),
  )
  app.delete(
    '/:id/resources/:resource',
    described({ operationId: 'deleteResource', summary: 'Remove a file from a session' }),
    async (c) => {
      const { found, resource } = await find(c)
      await sessions.unmount(found, resource)
      return c.json({ type: 'session_resource_deleted', id: resource.id })
    },
  )
  return app
}
