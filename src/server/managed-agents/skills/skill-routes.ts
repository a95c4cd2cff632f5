import { Readable } from 'node:stream'
import { Hono } from 'hono'
import type { Context } from 'hono'
import type { ServerEnv } from '../../context.ts'
import { ApiError } from '../../errors.ts'
import type { Quotas } from '../../limits.ts'
import { readLimit } from '../pages.ts'
import { described, pageAnswer } from '../routes.ts'
import type { Skills } from './skills.ts'
import { zipSize, zipped } from './zip-writer.ts'

interface SkillRoutes {
  skills: Skills
  quotas: Pick<Quotas, 'openStream'>
}

const listOf = (c: Context<ServerEnv>): { page: string | undefined; limit: number } => ({
  page: c.req.query('page'),
  limit: readLimit(c.req.query('limit')),
})

/** `/v1/skills`. */
export function skillRoutes({ skills, quotas }: SkillRoutes): Hono<ServerEnv> {
  const app = new Hono<ServerEnv>()
  app.post('/', described({ operationId: 'createSkill', summary: 'Create a skill', upload: 'skill' }), async (c) =>
    c.json(await skills.create(c.var.caller.tenant, c.req.raw)),
  )
  app.get(
    '/',
    described({ operationId: 'listSkills', summary: 'List skills, newest first', query: ['page', 'limit', 'source'] }),
    async (c) => {
      const source = c.req.query('source')
      if (source === 'anthropic') return c.json({ data: [], next_page: null })
      if (source !== undefined && source !== 'custom')
        throw new ApiError('invalid_request_error', 'source: must be custom or anthropic')
      return c.json(pageAnswer(await skills.list(c.var.caller.tenant, listOf(c))))
    },
  )
  app.get('/:id', described({ operationId: 'retrieveSkill', summary: 'Read what is known of a skill' }), async (c) =>
    c.json(await skills.retrieve(c.var.caller.tenant, c.req.param('id'))),
  )
  app.delete(
    '/:id',
    described({ operationId: 'deleteSkill', summary: 'Delete a skill with all its versions' }),
    async (c) => c.json(await skills.delete(c.var.caller.tenant, c.req.param('id'))),
  )
  addVersions(app, { skills, quotas })
  return app
}

function addVersions(app: Hono<ServerEnv>, { skills, quotas }: SkillRoutes): void {
  app.post(
    '/:id/versions',
    described({ operationId: 'createSkillVersion', summary: 'Add a version to a skill', upload: 'version' }),
    async (c) => c.json(await skills.addVersion(c.var.caller.tenant, c.req.param('id'), c.req.raw)),
  )
  app.get(
    '/:id/versions',
    described({
      operationId: 'listSkillVersions',
      summary: 'List the versions of a skill, newest first',
      query: ['page', 'limit'],
    }),
    async (c) => c.json(pageAnswer(await skills.versions(c.var.caller.tenant, c.req.param('id'), listOf(c)))),
  )
  app.get(
    '/:id/versions/:version',
    described({ operationId: 'retrieveSkillVersion', summary: 'Read what is known of a version' }),
    async (c) => c.json(await skills.retrieveVersion(c.var.caller.tenant, c.req.param('id'), c.req.param('version'))),
  )
  app.delete(
    '/:id/versions/:version',
    described({ operationId: 'deleteSkillVersion', summary: 'Delete a version of a skill' }),
    async (c) => c.json(await skills.deleteVersion(c.var.caller.tenant, c.req.param('id'), c.req.param('version'))),
  )
  app.get(
    '/:id/versions/:version/content',
    described({ operationId: 'downloadSkillVersion', summary: 'Download the files of a version as a zip archive' }),
    async (c) => {
      const { tenant } = c.var.caller
      const version = await skills.version(tenant, c.req.param('id'), c.req.param('version'))
      const { files, read } = await skills.content(tenant, version)
      const entries = files.map((file) => ({ ...file, path: `${version.name}/${file.path}` }))
      const over = quotas.openStream(tenant)
      const stream = Readable.from(zipped(entries, read)).once('close', over)
      return c.body(Readable.toWeb(stream) as ReadableStream<Uint8Array<ArrayBuffer>>, 200, {
        'content-type': 'application/zip',
        'content-disposition': `attachment; filename="${version.name}.zip"`,
        'content-length': String(zipSize(entries)),
        'x-content-type-options': 'nosniff',
        'cache-control': 'no-store',
      })
    },
  )
}
