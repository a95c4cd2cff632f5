import { Hono } from 'hono'
import type { MiddlewareHandler } from 'hono'
import { describeRoute, resolver } from 'hono-openapi'
import type { z } from 'zod'
import type { ServerEnv } from '../context.ts'
import { IDEMPOTENCY_KEY } from '../http/idempotency.ts'
import { errorAnswers } from '../openapi.ts'
import type { Agents } from './agents.ts'
import { environmentCreate, environmentUpdate } from './environments.ts'
import type { EnvironmentCreate, EnvironmentUpdate, Environments } from './environments.ts'
import type { ListRequest } from './kept.ts'
import { readLimit, readTime } from './pages.ts'
import type { Page } from './pages.ts'
import { checkQuery, readNumber, readSwitch } from './query.ts'
import { readBody } from './request.ts'
import { agentCreate, agentUpdate } from './schema.ts'
import type { AgentCreate, AgentUpdate } from './schema.ts'

/** A list as the client's page classes read it. */
export const pageAnswer = <T>({ items, nextPage }: Page<T>): { data: T[]; next_page: string | null } => ({
  data: items,
  next_page: nextPage,
})

interface Described {
  operationId: string
  summary: string
  body?: z.ZodType
  query?: readonly string[]
  /** A POST, which may be sent again. */
  post?: true
  /** A form with files. */
  upload?: keyof typeof FORMS
}

const KEY = {
  name: IDEMPOTENCY_KEY,
  in: 'header',
  description: 'A request that is sent again with the same key gets the first answer, for 24 hours',
  schema: { type: 'string', maxLength: 255 },
} as const

const FILES: object = { type: 'array', items: { type: 'string', format: 'binary' } }

const FORMS: Record<'file' | 'skill' | 'version', object> = {
  file: {
    type: 'object',
    required: ['file'],
    properties: { file: { type: 'string', format: 'binary' }, expires_in_seconds: { type: 'integer' } },
  },
  skill: {
    type: 'object',
    required: ['files'],
    properties: { files: FILES, display_name: { type: 'string', maxLength: 255 } },
  },
  version: { type: 'object', required: ['files'], properties: { files: FILES } },
}

/** What a route says of itself in `/openapi.json`. Query parameters that it does not name are refused. */
export function described({
  operationId,
  summary,
  body,
  query = [],
  post,
  upload,
}: Described): MiddlewareHandler<ServerEnv> {
  const description = describeRoute({
    operationId,
    summary,
    tags: ['managed agents'],
    parameters: [
      ...query.map((name) => ({ name, in: 'query', schema: { type: 'string' } }) as const),
      ...(post === true || body !== undefined ? [KEY] : []),
    ],
    ...(upload === undefined
      ? {}
      : { requestBody: { required: true, content: { 'multipart/form-data': { schema: FORMS[upload] as never } } } }),
    ...(body === undefined
      ? {}
      : { requestBody: { required: true, content: { 'application/json': { schema: resolver(body) as never } } } }),
    responses: {
      200: {
        description: 'As in Anthropic’s Managed Agents API',
        content: { 'application/json': { schema: { type: 'object' } } },
      },
      ...errorAnswers(400, 401, 403, 404, 409, 413, 429, 500, 529),
    },
  }) as MiddlewareHandler<ServerEnv>
  const checked: MiddlewareHandler<ServerEnv> = (c, next) => {
    checkQuery(c.req.queries(), query)
    return description(c, next)
  }
  // The description hangs on the handler.
  return Object.assign(checked, description)
}

/** Throws ApiError if the tenant may not make this, or change the one of that id to it. */
type Vet<Params> = (tenant: string, params: Params, id?: string) => Promise<void>

/** What agents and environments can both be asked for. */
interface Resources<Create, Update> {
  create(tenant: string, params: Create): Promise<object>
  update(tenant: string, id: string, params: Update): Promise<object>
  archive(tenant: string, id: string): Promise<object>
  list(tenant: string, request: ListRequest): Promise<Page<object>>
}

const LISTED = ['page', 'limit', 'include_archived', 'created_at[gte]', 'created_at[lte]'] as const

function resourceRoutes<Create, Update>(
  kind: 'Agent' | 'Environment',
  resources: Resources<Create, Update>,
  bodies: { create: z.ZodType<Create>; update: z.ZodType<Update> },
  vet: Vet<Create | Update>,
): Hono<ServerEnv> {
  const noun = kind.toLowerCase()
  const app = new Hono<ServerEnv>()
  app.post(
    '/',
    described({ operationId: `create${kind}`, summary: `Create an ${noun}`, body: bodies.create }),
    async (c) => {
      const { tenant } = c.var.caller
      const params = await readBody(c.req.raw, bodies.create)
      await vet(tenant, params)
      return c.json(await resources.create(tenant, params))
    },
  )
  app.get(
    '/',
    described({ operationId: `list${kind}s`, summary: `List ${noun}s, newest first`, query: LISTED }),
    async (c) => {
      const found = await resources.list(c.var.caller.tenant, {
        page: c.req.query('page'),
        limit: readLimit(c.req.query('limit')),
        includeArchived: readSwitch('include_archived', c.req.query('include_archived')),
        from: readTime('created_at[gte]', c.req.query('created_at[gte]')),
        to: readTime('created_at[lte]', c.req.query('created_at[lte]')),
      })
      return c.json(pageAnswer(found))
    },
  )
  app.post(
    '/:id',
    described({ operationId: `update${kind}`, summary: `Change an ${noun}`, body: bodies.update }),
    async (c) => {
      const { tenant } = c.var.caller
      const params = await readBody(c.req.raw, bodies.update)
      await vet(tenant, params, c.req.param('id'))
      return c.json(await resources.update(tenant, c.req.param('id'), params))
    },
  )
  app.post(
    '/:id/archive',
    described({ operationId: `archive${kind}`, summary: `Archive an ${noun}`, post: true }),
    async (c) => c.json(await resources.archive(c.var.caller.tenant, c.req.param('id'))),
  )
  return app
}

/** `/v1/agents`. */
export function agentRoutes(agents: Agents, vet: Vet<AgentCreate | AgentUpdate>): Hono<ServerEnv> {
  const app = resourceRoutes('Agent', agents, { create: agentCreate, update: agentUpdate }, vet)
  app.get(
    '/:id',
    described({ operationId: 'retrieveAgent', summary: 'Read an agent', query: ['version'] }),
    async (c) =>
      c.json(
        await agents.retrieve(c.var.caller.tenant, c.req.param('id'), readNumber('version', c.req.query('version'))),
      ),
  )
  app.get(
    '/:id/versions',
    described({ operationId: 'listAgentVersions', summary: 'List the versions of an agent', query: ['page', 'limit'] }),
    async (c) => {
      const limit = readLimit(c.req.query('limit'))
      const page = await agents.versions(c.var.caller.tenant, c.req.param('id'), c.req.query('page'), limit)
      return c.json(pageAnswer(page))
    },
  )
  return app
}

/** `/v1/environments`. */
export function environmentRoutes(
  environments: Environments,
  vet: Vet<EnvironmentCreate | EnvironmentUpdate>,
): Hono<ServerEnv> {
  const app = resourceRoutes('Environment', environments, { create: environmentCreate, update: environmentUpdate }, vet)
  app.get('/:id', described({ operationId: 'retrieveEnvironment', summary: 'Read an environment' }), async (c) =>
    c.json(await environments.retrieve(c.var.caller.tenant, c.req.param('id'))),
  )
  app.delete('/:id', described({ operationId: 'deleteEnvironment', summary: 'Delete an environment' }), async (c) =>
    c.json(await environments.delete(c.var.caller.tenant, c.req.param('id'))),
  )
  return app
}
