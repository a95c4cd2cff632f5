import { Hono } from 'hono'
import type { Context } from 'hono'
import type { ServerEnv } from '../../context.ts'
import { ApiError } from '../../errors.ts'
import type { Quotas } from '../../limits.ts'
import { readLimit, readTime } from '../pages.ts'
import { readSwitch } from '../query.ts'
import { readBody } from '../request.ts'
import { described, pageAnswer } from '../routes.ts'
import { parse } from '../schema.ts'
import type { Actor, Memories, Memory, MemoryFacts } from './memories.ts'
import { memoryCreate, memoryUpdate, pathProblem, sha256, storeCreate, storeUpdate } from './memory-schema.ts'
import type { MemoryStores } from './memory-stores.ts'
import type { MemoryVersions } from './memory-versions.ts'

interface MemoryRoutes {
  stores: MemoryStores
  memories: Memories
  versions: MemoryVersions
  quotas: Pick<Quotas, 'keep'>
  /** Throws ApiError if the tenant may have no other store. */
  admit: (tenant: string) => Promise<void>
  /** Resolves when what agents have written until now is in the stores. */
  settled: (tenant: string) => Promise<void>
}

type Route = Context<ServerEnv>

const tenantOf = (c: Route): string => c.var.caller.tenant

const idOf = (c: Route, name = 'id'): string => c.req.param(name) ?? ''

const actorOf = (c: Route): Actor => ({ type: 'api_actor', api_key_id: c.var.caller.name })

/** Items of a page with their contents. */
const MOST_FULL = 20
const [DEFAULT_LIMIT, MOST_LISTED] = [20, 100]

function readView(c: Route, fallback: 'basic' | 'full'): boolean {
  const view = c.req.query('view') ?? fallback
  if (view !== 'basic' && view !== 'full') throw new ApiError('invalid_request_error', 'view: must be basic or full')
  return view === 'full'
}

const limitOf = (c: Route, full: boolean): number =>
  Math.min(readLimit(c.req.query('limit'), DEFAULT_LIMIT, MOST_LISTED), full ? MOST_FULL : MOST_LISTED)

/** `/v1/memory_stores`. */
export function memoryRoutes(context: MemoryRoutes): Hono<ServerEnv> {
  const app = new Hono<ServerEnv>()
  app.use(async (c, next) => {
    await context.settled(tenantOf(c))
    await next()
  })
  addStores(app, context)
  addMemories(app, context)
  addVersions(app, context)
  return app
}

function addStores(app: Hono<ServerEnv>, { stores, admit }: MemoryRoutes): void {
  app.post(
    '/',
    described({ operationId: 'createMemoryStore', summary: 'Create a memory store', body: storeCreate }),
    async (c) => {
      const params = await readBody(c.req.raw, storeCreate)
      await admit(tenantOf(c))
      return c.json(await stores.create(tenantOf(c), params))
    },
  )
  app.get(
    '/',
    described({
      operationId: 'listMemoryStores',
      summary: 'List memory stores, newest first',
      query: ['page', 'limit', 'include_archived', 'created_at[gte]', 'created_at[lte]'],
    }),
    async (c) => {
      const found = await stores.list(tenantOf(c), {
        page: c.req.query('page'),
        limit: readLimit(c.req.query('limit')),
        includeArchived: readSwitch('include_archived', c.req.query('include_archived')),
        from: readTime('created_at[gte]', c.req.query('created_at[gte]')),
        to: readTime('created_at[lte]', c.req.query('created_at[lte]')),
      })
      return c.json(pageAnswer(found))
    },
  )
  app.get('/:id', described({ operationId: 'retrieveMemoryStore', summary: 'Read a memory store' }), async (c) =>
    c.json(await stores.retrieve(tenantOf(c), idOf(c))),
  )
  app.post(
    '/:id',
    described({ operationId: 'updateMemoryStore', summary: 'Change a memory store', body: storeUpdate }),
    async (c) => c.json(await stores.update(tenantOf(c), idOf(c), await readBody(c.req.raw, storeUpdate))),
  )
  app.post(
    '/:id/archive',
    described({ operationId: 'archiveMemoryStore', summary: 'Archive a memory store', post: true }),
    async (c) => c.json(await stores.archive(tenantOf(c), idOf(c))),
  )
  app.delete(
    '/:id',
    described({ operationId: 'deleteMemoryStore', summary: 'Delete a memory store with all that is in it' }),
    async (c) => c.json(await stores.delete(tenantOf(c), idOf(c))),
  )
}

function addMemories(app: Hono<ServerEnv>, { memories, quotas }: MemoryRoutes): void {
  const requestOf = (c: Route): { tenant: string; storeId: string } => ({ tenant: tenantOf(c), storeId: idOf(c) })
  const shown = async (c: Route, facts: MemoryFacts, view: 'basic' | 'full'): Promise<Response> =>
    c.json(await memories.show(tenantOf(c), idOf(c), facts, readView(c, view)))
  app.post(
    '/:id/memories',
    described({ operationId: 'createMemory', summary: 'Create a memory', body: memoryCreate, query: ['view'] }),
    async (c) => {
      readView(c, 'basic')
      quotas.keep(tenantOf(c))
      const params = await readBody(c.req.raw, memoryCreate)
      return shown(c, await memories.create(requestOf(c), params, actorOf(c)), 'basic')
    },
  )
  app.get(
    '/:id/memories',
    described({
      operationId: 'listMemories',
      summary: 'List the memories of a store by their paths',
      query: ['page', 'limit', 'view', 'depth', 'path_prefix'],
    }),
    async (c) => {
      const full = readView(c, 'basic')
      const { items, next } = listed(await memories.all(tenantOf(c), idOf(c)), c, limitOf(c, full))
      const data: (Memory | { type: 'memory_prefix'; path: string })[] = []
      for (const item of items) data.push('type' in item ? item : await memories.show(tenantOf(c), idOf(c), item, full))
      return c.json({ data, next_page: next })
    },
  )
  app.get(
    '/:id/memories/:memory',
    described({ operationId: 'retrieveMemory', summary: 'Read a memory', query: ['view'] }),
    async (c) => shown(c, await memories.retrieve(tenantOf(c), idOf(c), idOf(c, 'memory')), 'full'),
  )
  app.post(
    '/:id/memories/:memory',
    described({ operationId: 'updateMemory', summary: 'Change a memory', body: memoryUpdate, query: ['view'] }),
    async (c) => {
      readView(c, 'basic')
      quotas.keep(tenantOf(c))
      const params = await readBody(c.req.raw, memoryUpdate)
      return shown(c, await memories.update(requestOf(c), idOf(c, 'memory'), params, actorOf(c)), 'basic')
    },
  )
  app.delete(
    '/:id/memories/:memory',
    described({ operationId: 'deleteMemory', summary: 'Delete a memory', query: ['expected_content_sha256'] }),
    async (c) => {
      const given = c.req.query('expected_content_sha256')
      const expected = given === undefined ? undefined : parse(sha256, given)
      await memories.delete(requestOf(c), idOf(c, 'memory'), expected, actorOf(c))
      return c.json({ type: 'memory_deleted', id: idOf(c, 'memory') })
    },
  )
}

type Listed = MemoryFacts | { type: 'memory_prefix'; path: string }

/** A page of memories, or of the folders that they are in. Its cursor is the path that it ends with. */
function listed(all: readonly MemoryFacts[], c: Route, limit: number): { items: Listed[]; next: string | null } {
  const prefix = readPrefix(c.req.query('path_prefix'))
  const depth = c.req.query('depth') ?? '0'
  if (depth !== '0' && depth !== '1') throw new ApiError('invalid_request_error', 'depth: must be 0 or 1')
  const within = all.filter(({ path }) => path.startsWith(prefix))
  const items: Listed[] = []
  for (const memory of within) {
    const end = memory.path.indexOf('/', prefix.length)
    const folder = depth === '1' && end !== -1 ? memory.path.slice(0, end + 1) : undefined
    if (folder === undefined) items.push(memory)
    else if (items.at(-1)?.path !== folder) items.push({ type: 'memory_prefix', path: folder })
  }
  const after = readPathCursor(c.req.query('page'))
  const rest = after === undefined ? items : items.filter(({ path }) => path > after)
  const last = rest[limit - 1]
  return { items: rest.slice(0, limit), next: last === undefined || rest.length === limit ? null : cursorOf(last.path) }
}

function readPrefix(prefix: string | undefined): string {
  if (prefix === undefined || prefix === '/') return '/'
  if (!prefix.endsWith('/') || pathProblem(prefix.slice(0, -1)) !== undefined)
    throw new ApiError('invalid_request_error', 'path_prefix: must be the path of a folder, like /notes/')
  return prefix
}

const cursorOf = (path: string): string => `page_${Buffer.from(path).toString('base64url')}`

function readPathCursor(page: string | undefined): string | undefined {
  if (page === undefined) return undefined
  const path = Buffer.from(page.replace(/^page_/, ''), 'base64url').toString('utf8')
  if (!page.startsWith('page_') || !path.startsWith('/'))
    throw new ApiError('invalid_request_error', 'page: is not a cursor of this list; take next_page as it came')
  return path
}

function addVersions(app: Hono<ServerEnv>, { versions }: MemoryRoutes): void {
  app.get(
    '/:id/memory_versions',
    described({
      operationId: 'listMemoryVersions',
      summary: 'List what memories of a store were, newest first',
      query: ['page', 'limit', 'view', ...FILTERS, 'created_at[gte]', 'created_at[lte]'],
    }),
    async (c) => {
      const full = readView(c, 'basic')
      const [memory_id, operation, session_id, api_key_id, service_account_id] = FILTERS.map((name) =>
        c.req.query(name),
      )
      if (operation !== undefined && !OPERATIONS.includes(operation))
        throw new ApiError('invalid_request_error', `operation: must be one of ${OPERATIONS.join(', ')}`)
      const found = await versions.list(tenantOf(c), idOf(c), {
        full,
        page: c.req.query('page'),
        limit: limitOf(c, full),
        from: readTime('created_at[gte]', c.req.query('created_at[gte]')),
        to: readTime('created_at[lte]', c.req.query('created_at[lte]')),
        filter: { memory_id, operation, session_id, api_key_id, service_account_id },
      })
      return c.json(pageAnswer(found))
    },
  )
  app.get(
    '/:id/memory_versions/:version',
    described({ operationId: 'retrieveMemoryVersion', summary: 'Read what a memory was', query: ['view'] }),
    async (c) => c.json(await versions.retrieve(tenantOf(c), idOf(c), idOf(c, 'version'), readView(c, 'full'))),
  )
  app.post(
    '/:id/memory_versions/:version/redact',
    described({ operationId: 'redactMemoryVersion', summary: 'Remove what a version says', post: true }),
    async (c) => c.json(await versions.redact(tenantOf(c), idOf(c), idOf(c, 'version'), actorOf(c))),
  )
}

const FILTERS = ['memory_id', 'operation', 'session_id', 'api_key_id', 'service_account_id'] as const

const OPERATIONS: readonly string[] = ['created', 'modified', 'deleted']
