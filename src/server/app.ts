import { randomBytes } from 'node:crypto'
import { Hono } from 'hono'
import type { MiddlewareHandler } from 'hono'
import { HTTPException } from 'hono/http-exception'
import { systemClock } from '../clock.ts'
import type { Clock } from '../clock.ts'
import { ConfigError } from '../errors.ts'
import type { Pool } from '../index.ts'
import type { Logger } from '../telemetry/log.ts'
import type { ClientTools } from './ag-ui/client-tools.ts'
import { agUi } from './ag-ui/routes.ts'
import { Runs } from './ag-ui/runs.ts'
import { Threads } from './ag-ui/threads.ts'
import type { ApiStore } from '../store/api-store.ts'
import { SqliteApiStore } from './api-store/sqlite.ts'
import { Authenticator, refuseStrangers } from './auth/authenticator.ts'
import { browserTokenRoutes } from './auth/browser-token-routes.ts'
import { BrowserTokens, checkScope } from './auth/browser-tokens.ts'
import { Operators, knowsAll } from './auth/operators.ts'
import type { KnowsTenant } from './auth/operators.ts'
import type { ServerEnv, ServerSettings, ServerState } from './context.ts'
import { ApiError, toApiError } from './errors.ts'
import { Forwarding } from './forwarding/forwarding.ts'
import { Bodies } from './http/bodies.ts'
import { readConnectionLimits } from './http/connections.ts'
import type { ConnectionLimits } from './http/connections.ts'
import { crossOrigin } from './http/origins.ts'
import { readPassedOn } from './http/passed-on.ts'
import { inRequest } from '../telemetry/request-scope.ts'
import { parseTraceparent } from '../trace-context.ts'
import { Quotas } from './limits.ts'
import { DefinitionPolicy } from './managed-agents/definition-policy.ts'
import { managedAgents } from './managed-agents/managed-agents.ts'
import { ModelPolicy } from './managed-agents/model-policy.ts'
import { modelRoutes } from './managed-agents/model-routes.ts'
import { VaultKeys } from './managed-agents/vaults/vault-keys.ts'
import { readEndpoints } from './managed-agents/webhooks/options.ts'
import { webhookRoutes } from './managed-agents/webhooks/webhook-routes.ts'
import { Webhooks } from './managed-agents/webhooks/webhooks.ts'
import { messages } from './messages.ts'
import { Metrics } from './metrics.ts'
import { openapi } from './openapi.ts'
import { PageGate } from './page/gate.ts'
import { operatorPage } from './page/page.ts'
import { Recent } from './page/recent.ts'
import { operationsPort } from './operations-port.ts'
import { RecentlyShed, operations } from './operations.ts'
import { readAgUi, readServerOptions, readTenantLimits } from './options.ts'
import type { ServerOptions } from './options.ts'
import { PoolListeners } from './pool-listeners.ts'
import { Questions } from './questions.ts'
import { Storage } from './storage.ts'
import { Streams } from './streams.ts'
import { TurnFeeds, graceOf } from './turn-feeds.ts'

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
  /**
   * The SQLite file of what the server keeps beside the pool: agents, environments and sessions of `/v1`, answers to requests
   * that name themselves, and the hashes of browser tokens. Default: the pool's store if it has a place for them, as PostgreSQL
   * has; else none, and they are gone when the server closes.
   */
  resourceFile?: string
  /** Keeps the same in place of `resourceFile`. The caller owns it, and closes it after the server. */
  apiStore?: ApiStore
  /**
   * The folder that holds the contents of the files which tenants upload to `/v1/files`: `files` of the pool's data directory, so that
   * backups and the erasure of a tenant have them. Default: none; uploads are refused.
   */
  fileDir?: string
  /**
   * Agents reach the network through a proxy, and the proxy decides which addresses are allowed. Default `false`: the
   * host itself dials the MCP servers that tenants name, at public addresses alone.
   */
  behindProxy?: boolean
  /** What "Drain" of the operator's page does. Default: the page does not offer it. */
  drain?: () => void
}

/** The pool over HTTP, without a socket of its own: `fetch` can be mounted anywhere, and `listen()` gives it a port. */
export interface Server {
  readonly app: Hono<ServerEnv>
  readonly fetch: (request: Request) => Response | Promise<Response>
  readonly pool: Pool
  /**
   * Returns what answers at the operations port: probes, `/metrics` and `/pressure`, which tell of all tenants there.
   * `exposed`: others than programs of this machine reach it, so it asks for an operator's key.
   */
  operations(port: { exposed: boolean }): (request: Request) => Response | Promise<Response>
  /** True if any operator has a key. */
  readonly hasOperators: boolean
  /** Receives errors outside of requests. */
  readonly logger: Logger
  /** True when no key is asked for. */
  readonly open: boolean
  /** Whether `/` is the operator's page now. */
  readonly page: boolean
  /**
   * The key of the page, which `/#key=KEY` hands over. It is new at each start. Undefined: the page needs none, since no agent is
   * isolated, or an operator's.
   */
  readonly pageKey: string | undefined
  /** What bounds the connections that \`listen()\` takes. */
  readonly connections: ConnectionLimits
  /** Changed by `listen()`; without, the server is `ready` from the beginning. */
  state: ServerState
  /**
   * From now on these keys and tokens hold, these operators, this default agent, and of `managedAgents` the webhooks. Throws ConfigError,
   * and has changed nothing then.
   */
  update(options: Pick<ServerOptions, 'keys' | 'jwt' | 'operators' | 'defaultAgent' | 'managedAgents'>): void
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
    behindProxy = false,
    clientTools,
    resourceFile,
    apiStore,
    fileDir,
    drain,
    ...given
  } = options
  if (resourceFile !== undefined && apiStore !== undefined)
    throw new ConfigError('resourceFile', 'is not used with apiStore; give one of them')
  const read = readServerOptions(given, pool.agents)
  const { onDisconnect = 'detach', origins = [], managedAgents: defining = {} } = read
  const limits = readTenantLimits(read.tenantLimits)
  const connections = readConnectionLimits(read.connections)
  const agUiOptions = readAgUi(read.agUi)
  const settings: ServerSettings = { state: 'ready', defaultAgent: read.defaultAgent }
  const shared = apiStore ?? (resourceFile === undefined ? pool.apiStore : undefined)
  const ownStore = shared === undefined ? new SqliteApiStore(resourceFile ?? ':memory:') : undefined
  const store = shared ?? (ownStore as SqliteApiStore)
  const tokens = new BrowserTokens(store.tokens, clock)
  const authenticator = new Authenticator(read, tokens, clock)
  const listeners = new PoolListeners(pool)
  const storage = new Storage({
    pool,
    listeners,
    clock,
    resources: store.resources,
    limit: limits.storage,
    onTrouble: (error) => logger.warn('what a tenant keeps could not be counted', { error }),
  })
  const quotas = new Quotas({ pool, listeners, clock, limits, storage, connections: connections.max })
  const streams = new Streams({ clock, quotas, tokens, logger })
  const feeds = new TurnFeeds(listeners, clock)
  const threads = new Threads(listeners)
  const runs = new Runs({ pool, feeds, threads, questions, clientTools, agUi: agUiOptions, logger })
  const policy = new DefinitionPolicy(defining, () => authenticator.off, {
    allowsEgress: (tenant, url) => pool.allowsEgress(tenant, url),
  })
  const webhooks = new Webhooks({ pool, listeners, store, clock, logger, endpoints: readEndpoints(defining) })
  const measured = new Metrics(pool, listeners, { quotas, webhooks })
  const operators = new Operators(read.operators)
  const shed = new RecentlyShed(listeners, clock)
  const knowledgeOf = (headers: Headers): KnowsTenant => operators.knowledgeOf(headers, authenticator.off)
  const gate = new PageGate({
    option: read.page,
    open: () => authenticator.off,
    isolated: () => pool.stats().isolation.mode !== 'none',
    operators,
  })
  const recent = new Recent(listeners, clock)
  const page = operatorPage(
    { pool, clock, settings, quotas, streams, feeds, questions, shed, recent, logger, drain },
    gate,
  )
  const bodies = new Bodies((tenant, bytes) => storage.add(tenant, bytes))
  bodies.keepsBytes = pool.cluster !== undefined
  const note = noted(clock, logger, gate, bodies)
  const app = new Hono<ServerEnv>()
  const forwarding = new Forwarding({ pool, clock, streams, fetch: (request, env) => app.fetch(request, env) })
  app.use(note)
  app.use(crossOrigin(origins))
  app.use(guarded(quotas, authenticator, gate, origins))
  app.route('/', operations({ pool, settings, shed, knowledgeOf }))
  app.route('/', measured.route(knowledgeOf))
  const disconnectGraceMs = graceOf(onDisconnect)
  app.route('/', messages({ pool, quotas, feeds, streams, settings, forwarding, disconnectGraceMs }))
  app.route('/', agUi({ pool, quotas, streams, runs, forwarding }))
  app.route('/', browserTokenRoutes(pool, tokens))
  const context = { pool, listeners, clock, quotas, questions, streams, logger, forwarding }
  const models = new ModelPolicy(defining, () => authenticator.off)
  app.route('/', modelRoutes({ pool, policy: models, streams }))
  app.route(
    '/',
    managedAgents(context, {
      store,
      webhooks,
      policy,
      vaultKeys: new VaultKeys(defining.vaults),
      behindProxy,
      fileDir,
      fileLimits: limits,
    }),
  )
  const open = (): boolean => authenticator.off
  app.route('/v1/webhooks', tenantWebhooks(webhooks, open))
  app.get('/openapi.json', openapi(app))
  app.route('/', page.route)
  answerFailures(app, logger)
  pool.cluster?.serve(async (request, { id }) => app.fetch(request, { passedOn: readPassedOn(request.headers, id) }))
  return {
    app,
    fetch: (request) => app.fetch(request),
    operations({ exposed }) {
      const all = (): KnowsTenant => knowsAll
      const routes = [
        operations({ pool, settings, shed, knowledgeOf: all }),
        measured.route(all),
        allWebhooks(webhooks),
      ]
      const port = operationsPort({ operators, note, routes }, exposed)
      answerFailures(port, logger)
      return (request) => port.fetch(request)
    },
    get hasOperators() {
      return !operators.none
    },
    pool,
    connections,
    logger,
    get open() {
      return authenticator.off
    },
    get page() {
      return gate.isOpen
    },
    get pageKey() {
      return gate.isOpen ? gate.key : undefined
    },
    get state() {
      return settings.state
    },
    set state(next) {
      settings.state = next
    },
    update(next) {
      const changed = readServerOptions(
        { ...next, ...(read.page === undefined ? {} : { page: read.page }) },
        pool.agents,
      )
      authenticator.update(changed)
      operators.update(changed.operators)
      settings.defaultAgent = changed.defaultAgent
      webhooks.update(readEndpoints(changed.managedAgents))
    },
    close() {
      webhooks.close()
      page.close()
      listeners.close()
      measured.close()
      feeds.close()
      ownStore?.close()
    },
  }
}

/** A tenant sees its own endpoints. Without keys there is one tenant, whose the operator's are, too. */
const tenantWebhooks = (webhooks: Webhooks, open: () => boolean): Hono<ServerEnv> =>
  webhookRoutes({
    webhooks,
    tenantOf: (c) => c.var.caller.tenant,
    visible: (c) => webhooks.endpointsOf(c.var.caller.tenant).filter(({ tenant }) => tenant !== undefined || open()),
  })

/** Operators see all endpoints, and name the tenant whose deliveries they ask for. */
const allWebhooks = (webhooks: Webhooks): Hono<ServerEnv> =>
  new Hono<ServerEnv>().route(
    '/webhooks',
    webhookRoutes({
      webhooks,
      query: ['tenant'],
      tenantOf: (c) => c.req.query('tenant') ?? 'default',
      visible: () => webhooks.endpoints,
    }),
  )

function answerFailures(app: Hono<ServerEnv>, logger: Logger): void {
  app.notFound((c) =>
    fail(new ApiError('not_found_error', `there is no ${c.req.method} ${c.req.path}`), c.var.requestId),
  )
  app.onError((error, c) => {
    const known = error instanceof HTTPException ? fromHono(error) : toApiError(error)
    if (known.status >= 500 && known.type === 'api_error')
      logger.error('request failed', { request_id: c.var.requestId, error: known.cause ?? known })
    return fail(known, c.var.requestId)
  })
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
function noted(clock: Clock, logger: Logger, gate: PageGate, bodies: Bodies): MiddlewareHandler<ServerEnv> {
  return async function note(c, next) {
    const begunAt = clock.now()
    const passedOn = c.env?.passedOn?.requestId ?? ''
    const requestId = passedOn === '' ? `req_${randomBytes(12).toString('hex')}` : passedOn
    c.set('requestId', requestId)
    c.set('bodies', bodies)
    const traceparent = c.req.header('traceparent')
    const scope = { request_id: requestId, method: c.req.method, path: c.req.path }
    const isTraced = traceparent !== undefined && parseTraceparent(traceparent) !== undefined
    await inRequest(isTraced ? { ...scope, traceparent } : scope, next)
    c.header('request-id', requestId)
    const isQuiet = OPEN_TO_ALL.has(c.req.path) || gate.takes(c.req.path)
    logger[isQuiet ? 'debug' : 'info']('request', {
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
  quotas: Quotas,
  authenticator: Authenticator,
  gate: PageGate,
  origins: readonly string[],
): MiddlewareHandler<ServerEnv> {
  return async function guard(c, next) {
    // The page has a gate of its own.
    if (OPEN_TO_ALL.has(c.req.path) || gate.takes(c.req.path)) {
      await next()
      return
    }
    const isPassedOn = c.env?.passedOn !== undefined
    if (authenticator.off && !isPassedOn) refuseStrangers(c.req.raw.headers, origins)
    c.set('caller', await authenticator.authenticate(c.req.raw.headers))
    const { tenant, scope } = c.var.caller
    if (scope !== undefined) checkScope(scope, c.req.method, c.req.path)
    // The host that the client has asked has counted it.
    if (!isPassedOn) quotas.request(tenant)
    const done = quotas.begin(tenant)
    try {
      await next()
    } finally {
      done()
    }
  }
}
