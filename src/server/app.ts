import { randomBytes } from 'node:crypto'
import { Hono } from 'hono'
import type { MiddlewareHandler } from 'hono'
import { HTTPException } from 'hono/http-exception'
import { systemClock } from '../clock.ts'
import type { Clock } from '../clock.ts'
import type { Pool } from '../index.ts'
import type { Logger } from '../telemetry/log.ts'
import type { ClientTools } from './ag-ui/client-tools.ts'
import { agUi } from './ag-ui/routes.ts'
import { Authenticator, refuseStrangers } from './auth.ts'
import { browserTokenRoutes } from './browser-token-routes.ts'
import { BrowserTokens, checkScope } from './browser-tokens.ts'
import { Bodies } from './bodies.ts'
import { readConnectionLimits } from './connections.ts'
import type { ConnectionLimits } from './connections.ts'
import type { ServerContext, ServerEnv, ServerState } from './context.ts'
import { ApiError, toApiError } from './errors.ts'
import { Quotas } from './limits.ts'
import { DefinitionPolicy } from './managed-agents/definition-policy.ts'
import { SqliteAnswers } from './kept-answers.ts'
import { managedAgents } from './managed-agents/managed-agents.ts'
import { ResourceStore } from './managed-agents/resource-store.ts'
import { messages } from './messages.ts'
import { metrics } from './metrics.ts'
import { openapi } from './openapi.ts'
import { crossOrigin } from './origins.ts'
import { Questions } from './questions.ts'
import { inRequest } from './request-scope.ts'
import { RecentlyShed, operations } from './operations.ts'
import { readAgUi, readServerOptions, readTenantLimits } from './options.ts'
import type { ServerOptions } from './options.ts'
import { Storage } from './storage.ts'
import { TurnFeeds, graceOf } from './turn-feed.ts'

/** What `createServer()` takes that no config file can hold. */
export interface ServerParts {
  /** Gets a line for every request. Default: none. */
  logger?: Logger
  /** Default: the system's. */
  clock?: Clock
  /** The `Questions` that wrapped the options of the pool's agents. Default: none. */
  questions?: Questions
  /** Gives agents the tools of front ends: the one that their options came from. Default: there are none here. */
  clientTools?: ClientTools
  /** The SQLite file of `/v1`: its agents, environments and sessions. Default: none; they are gone when the server closes. */
  resourceFile?: string
  /**
   * Agents reach the network through a proxy, and the proxy decides which addresses are allowed. Default `false`: the
   * host itself dials the MCP servers that tenants name, at public addresses alone.
   */
  behindProxy?: boolean
}

/** The pool over HTTP, without a socket of its own: `fetch` can be mounted anywhere, and `listen()` gives it a port. */
export interface Server {
  readonly app: Hono<ServerEnv>
  readonly fetch: (request: Request) => Response | Promise<Response>
  readonly pool: Pool
  /** Receives errors outside of requests. */
  readonly logger: Logger
  /** True when no key is asked for. */
  readonly open: boolean
  /** What bounds the connections that \`listen()\` takes. */
  readonly connections: ConnectionLimits
  /** Changed by `listen()`; without, the server is `ready` from the beginning. */
  state: ServerState
  /** From now on these keys and tokens hold, and this default agent. Throws ConfigError, and has changed nothing then. */
  update(options: Pick<ServerOptions, 'keys' | 'jwt' | 'defaultAgent'>): void
  /** Gives back what the server holds beside the pool. Called when that has closed. */
  close(): void
}

const SILENT: Logger = { debug() {}, info() {}, warn() {}, error() {} }

const OPEN_TO_ALL = new Set(['/health', '/livez', '/readyz', '/pressure', '/metrics', '/openapi.json'])

/** Puts a pool behind HTTP. The pool stays the caller's. Throws ConfigError. */
export function createServer(pool: Pool, options: ServerOptions & ServerParts = {}): Server {
  const {
    logger = SILENT,
    clock = systemClock,
    questions = new Questions({ clock }),
    resourceFile = ':memory:',
    behindProxy = false,
    clientTools,
    ...given
  } = options
  const {
    keys,
    jwt,
    onDisconnect,
    tenantLimits,
    origins = [],
    agUi: agUiOptions,
    managedAgents: defining = {},
    ...rest
  } = readServerOptions(given, pool.agents)
  let { defaultAgent } = rest
  const resources = new ResourceStore(resourceFile)
  const answers = new SqliteAnswers(resourceFile)
  const tokens = new BrowserTokens(resourceFile, clock)
  const authenticator = new Authenticator(
    { ...(keys === undefined ? {} : { keys }), ...(jwt === undefined ? {} : { jwt }) },
    (token) => tokens.callerOf(token),
    clock,
  )
  const connections = readConnectionLimits(rest.connections)
  const feeds = new TurnFeeds(pool, clock)
  const limits = readTenantLimits(tenantLimits)
  const storage = new Storage({
    pool,
    clock,
    resources,
    limit: limits.storage,
    onTrouble: (error) => logger.warn('what a tenant keeps could not be counted', { error }),
  })
  const policy = new DefinitionPolicy(defining, () => authenticator.off)
  let state: ServerState = 'ready'
  const context: ServerContext = {
    pool,
    clock,
    logger,
    feeds,
    questions,
    clientTools,
    tokens,
    quotas: new Quotas({ pool, clock, limits, storage, connections: connections.max }),
    disconnectGraceMs: graceOf(onDisconnect ?? 'detach'),
    agUi: readAgUi(agUiOptions),
    defaultAgent: () => defaultAgent ?? pool.agents[0] ?? '',
    state: () => state,
  }
  const measured = metrics(context)
  const app = new Hono<ServerEnv>()
  app.use(noted(context, new Bodies((tenant, bytes) => storage.add(tenant, bytes))))
  app.use(crossOrigin(origins))
  app.use(guarded(context, authenticator, origins))
  app.route('/', operations(context, new RecentlyShed(pool, clock)))
  app.route('/', measured.app)
  app.route('/', messages(context))
  app.route('/', agUi(context))
  app.route('/', browserTokenRoutes(context))
  app.route('/', managedAgents(context, { store: resources, answers, policy, behindProxy }))
  app.get('/openapi.json', openapi(app))
  app.notFound((c) =>
    fail(new ApiError('not_found_error', `there is no ${c.req.method} ${c.req.path}`), c.var.requestId),
  )
  app.onError((error, c) => {
    const known = error instanceof HTTPException ? fromHono(error) : toApiError(error)
    if (known.status >= 500 && known.type === 'api_error')
      logger.error('request failed', { request_id: c.var.requestId, error: known.cause ?? known })
    return fail(known, c.var.requestId)
  })
  return {
    app,
    fetch: (request) => app.fetch(request),
    pool,
    connections,
    logger,
    get open() {
      return authenticator.off
    },
    get state() {
      return state
    },
    set state(next) {
      state = next
    },
    update(next) {
      const read = readServerOptions(next, pool.agents)
      authenticator.update(read)
      defaultAgent = read.defaultAgent
    },
    close() {
      measured.close()
      feeds.close()
      resources.close()
      answers.close()
      tokens.close()
    },
  }
}

const fromHono = (error: HTTPException): ApiError =>
  error.status < 500
    ? new ApiError('invalid_request_error', error.message, { status: error.status, cause: error })
    : toApiError(error)

function fail(error: ApiError, requestId: string): Response {
  return Response.json(error.body(requestId), {
    status: error.status,
    headers: { ...error.headers, 'request-id': requestId },
  })
}

/** Every request has an id, which its answer and its line in the log carry. */
function noted({ clock, logger }: ServerContext, bodies: Bodies): MiddlewareHandler<ServerEnv> {
  return async function note(c, next) {
    const begunAt = clock.now()
    const requestId = `req_${randomBytes(12).toString('hex')}`
    c.set('requestId', requestId)
    c.set('bodies', bodies)
    await inRequest({ request_id: requestId, method: c.req.method, path: c.req.path }, next)
    c.header('request-id', requestId)
    logger[OPEN_TO_ALL.has(c.req.path) ? 'debug' : 'info']('request', {
      request_id: requestId,
      method: c.req.method,
      path: c.req.path,
      status: c.res.status,
      ms: Math.round(clock.now() - begunAt),
      tenant: c.var.caller?.tenant,
      caller: c.var.caller?.name,
      session: c.var.session,
    })
  }
}

function guarded(
  { quotas }: ServerContext,
  authenticator: Authenticator,
  origins: readonly string[],
): MiddlewareHandler<ServerEnv> {
  return async function guard(c, next) {
    if (OPEN_TO_ALL.has(c.req.path)) {
      await next()
      return
    }
    if (authenticator.off) refuseStrangers(c.req.raw.headers, origins)
    c.set('caller', await authenticator.authenticate(c.req.raw.headers))
    const { tenant, scope } = c.var.caller
    if (scope !== undefined) checkScope(scope, c.req.method, c.req.path)
    quotas.request(tenant)
    const done = quotas.begin(tenant)
    try {
      await next()
    } finally {
      done()
    }
  }
}
