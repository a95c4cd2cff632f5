import { Readable } from 'node:stream'
import { Hono } from 'hono'
import type { ServerEnv } from '../../context.ts'
import { ApiError } from '../../errors.ts'
import type { Quotas } from '../../limits.ts'
import { readLimit } from '../pages.ts'
import { described, pageAnswer } from '../routes.ts'
import type { Files } from './files.ts'

const MOST_IDS = 100
const [DEFAULT_LIMIT, MOST_LISTED] = [20, 1_000]

interface FileRoutes {
  files: Files
  quotas: Pick<Quotas, 'openStream'>
}

/** `/v1/files`. */
export function fileRoutes({ files, quotas }: FileRoutes): Hono<ServerEnv> {
  const app = new Hono<ServerEnv>()
  app.post('/', described({ operationId: 'uploadFile', summary: 'Upload a file', upload: 'file' }), async (c) =>
    c.json(await files.upload(c.var.caller.tenant, c.req.raw)),
  )
  app.get(
    '/',
    described({
      operationId: 'listFiles',
      summary: 'List files, newest first',
      query: ['page', 'limit', 'ids[]', 'scope_id'],
    }),
    async (c) => {
      const [page, limit, scopeId] = [c.req.query('page'), c.req.query('limit'), c.req.query('scope_id')]
      const ids = readIds(c.req.queries())
      if (ids !== undefined && (page !== undefined || limit !== undefined))
        throw new ApiError('invalid_request_error', 'ids: does not go with page and limit')
      const request = { page, limit: readLimit(limit, DEFAULT_LIMIT, MOST_LISTED), ids, scopeId }
      return c.json(pageAnswer(await files.list(c.var.caller.tenant, request)))
    },
  )
  app.get('/:id', described({ operationId: 'retrieveFile', summary: 'Read what is known of a file' }), async (c) =>
    c.json(await files.retrieve(c.var.caller.tenant, c.req.param('id'))),
  )
  app.get('/:id/content', described({ operationId: 'downloadFile', summary: 'Download a file' }), async (c) => {
    const { tenant } = c.var.caller
    const { size, stream } = await files.content(tenant, c.req.param('id'))
    try {
      stream.once('close', quotas.openStream(tenant))
    } catch (error) {
      stream.destroy()
      throw error
    }
    return c.body(Readable.toWeb(stream) as ReadableStream<Uint8Array<ArrayBuffer>>, 200, {
      // Never as what it says it is: a browser would run a page of a tenant's as one of this server.
      'content-type': 'application/octet-stream',
      'content-disposition': 'attachment',
      ...(size === undefined ? {} : { 'content-length': String(size) }),
      'x-content-type-options': 'nosniff',
      'cache-control': 'no-store',
    })
  })
  app.delete('/:id', described({ operationId: 'deleteFile', summary: 'Delete a file' }), async (c) =>
    c.json(await files.delete(c.var.caller.tenant, c.req.param('id'))),
  )
  return app
}

function readIds(query: Readonly<Record<string, readonly string[]>>): string[] | undefined {
  const ids = [...(query['ids[]'] ?? []), ...(query['ids'] ?? [])]
  if (ids.length > MOST_IDS) throw new ApiError('invalid_request_error', `ids: has more than ${MOST_IDS}`)
  return ids.length === 0 ? undefined : ids
}
