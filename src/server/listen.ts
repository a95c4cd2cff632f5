import type { AddressInfo } from 'node:net'
import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import type { Server as HttpServer } from 'node:http'
import { createAdaptorServer } from '@hono/node-server'
import { isLoopback } from '../addresses.ts'
import { systemClock } from '../clock.ts'
import { ConfigError } from '../errors.ts'
import { listenProblem } from '../listen-problem.ts'
import { checkOptions } from '../options/unknown.ts'
import type { Server } from './app.ts'
import { Connections } from './http/connections.ts'
import type { ConnectionLimits } from './http/connections.ts'
import type { OperationsOptions } from './options.ts'

/** The address of a server. */
export interface ListenOptions {
  /** Default `"127.0.0.1"`. Any other than loopback needs keys. */
  host?: string
  /** Default 8080; 0 takes any free one. */
  port?: number
  /** A port of its own for probes, `/metrics` and `/pressure`, where they tell of all tenants. Default: none. */
  operations?: OperationsOptions
}

/** A server that listens. */
export interface Listening {
  readonly url: string
  readonly port: number
  /** Where the operations port is; undefined if there is none. */
  readonly operations: { readonly url: string; readonly port: number } | undefined
  /** Resolves when `/readyz` says ready for the first time, or the server drains before. */
  readonly ready: Promise<void>
  /**
   * Shuts down in order: not ready, no new turns, running ones end or are cut by `cut`. Their streams say so. Then the
   * pool and the socket close. Repeated calls share one promise.
   */
  drain(cut?: AbortSignal): Promise<void>
}

const LOOPBACK_HOST = '127.0.0.1'

const LARGEST_HEADERS = 16 * 1024

/** From the headers of a request to its last byte: a body of 32 MB over a slow line. */
const REQUEST_MS = 300_000

const HEADERS_MS = 20_000

/** What is still written when everything has ended is given so long. */
const LAST_WORDS_MS = 5_000

/** The spares that are kept at least are waited for no longer before the server is ready. */
const WARM_UP_MS = 60_000

/** Throws ConfigError for a server that asks for no key on an address that others reach. */
export function checkExposure(host: string, open: boolean): void {
  if (!open || isLoopback(host)) return
  throw new ConfigError(
    'server.keys',
    `there are none, and others can reach ${host}; give API keys or a token issuer, or listen on 127.0.0.1`,
  )
}

/** Throws ConfigError for an operations port without operators on an address that others reach. */
export function checkOperationsExposure({ host = LOOPBACK_HOST }: OperationsOptions, hasOperators: boolean): void {
  if (hasOperators || isLoopback(host)) return
  throw new ConfigError(
    'server.operators',
    `there are none, and others can reach ${host} (server.operations.host); give operators' keys, or listen on 127.0.0.1`,
  )
}

/**
 * Gives a server its port. It is ready once the processes that are always kept have started. Throws ConfigError: no keys
 * on an address that others reach, or an address that cannot be had.
 */
export async function listen(server: Server, options: ListenOptions = {}): Promise<Listening> {
  checkOptions('listen()', options, { host: true, port: true, operations: true })
  const { host = LOOPBACK_HOST, port = 8080, operations } = options
  checkExposure(host, server.open)
  if (operations !== undefined) checkOperationsExposure(operations, server.hasOperators)
  server.state = 'starting'
  const main = await open(server, server.fetch, { section: 'server.', host, port, limits: server.connections })
  const own = await openOperations(server, operations).catch((error: unknown) => {
    main.http.close()
    throw error
  })
  const ready = within(WARM_UP_MS, server.pool.ready()).then(() => {
    if (server.state === 'starting') server.state = 'ready'
  })
  let draining: Promise<void> | undefined
  return {
    url: main.url,
    port: main.port,
    operations: own && { url: own.url, port: own.port },
    ready,
    drain(cut) {
      draining ??= drain(server, own === undefined ? [main.http] : [main.http, own.http], cut)
      return draining
    },
  }
}

/** Who scrapes and probes. */
const OPERATIONS_CONNECTIONS = { max: 64, perAddress: 64 }

/** An open port. */
interface Port {
  readonly http: HttpServer
  readonly url: string
  readonly port: number
}

interface PortOptions {
  /** Where host and port are options. */
  section: string
  host: string
  port: number
  limits: ConnectionLimits
}

async function open(
  server: Server,
  fetch: Server['fetch'],
  { section, host, port, limits }: PortOptions,
): Promise<Port> {
  const http = createAdaptorServer({
    fetch,
    createServer: createHttpServer,
    serverOptions: { maxHeaderSize: LARGEST_HEADERS, requestTimeout: REQUEST_MS, headersTimeout: HEADERS_MS },
  }) as HttpServer
  new Connections(limits, refusedConnections(server, limits)).attach(http)
  http.listen(port, host)
  try {
    await once(http, 'listening')
  } catch (error) {
    throw listenProblem(section, host, port, error)
  }
  // An accept that failed, for want of descriptors for instance: the next one may succeed.
  http.on('error', (error) => server.logger.warn('a connection could not be accepted', { error }))
  const { port: taken } = http.address() as AddressInfo
  return { http, url: `http://${host.includes(':') ? `[${host}]` : host}:${taken}`, port: taken }
}

async function openOperations(server: Server, options: OperationsOptions | undefined): Promise<Port | undefined> {
  if (options === undefined) return undefined
  const { host = LOOPBACK_HOST, port } = options
  const fetch = server.operations({ exposed: !isLoopback(host) })
  return open(server, fetch, { section: 'server.operations.', host, port, limits: OPERATIONS_CONNECTIONS })
}

/** Says at most once in this time that connections were closed: an attack must not fill the log. */
const SAY_REFUSED_MS = 10_000

function refusedConnections({ logger }: Server, limits: ConnectionLimits): () => void {
  let refused = 0
  let saidAt = -Infinity
  return () => {
    refused += 1
    const now = systemClock.now()
    if (now - saidAt < SAY_REFUSED_MS) return
    saidAt = now
    logger.warn('connections without a request were closed for new ones', { refused, ...limits })
  }
}

/** Resolves when the work has ended, or after this time. */
function within(ms: number, work: Promise<void>): Promise<void> {
  return new Promise((resolve) => {
    const cancel = systemClock.after(ms, resolve)
    void work.finally(() => {
      cancel()
      resolve()
    })
  })
}

async function drain(server: Server, ports: readonly HttpServer[], cut: AbortSignal | undefined): Promise<void> {
  server.state = 'draining'
  await server.pool.drain(cut === undefined ? {} : { cut })
  server.close()
  await Promise.all(ports.map(closePort))
}

async function closePort(http: HttpServer): Promise<void> {
  const closed = once(http, 'close')
  http.close()
  http.closeIdleConnections()
  const cancel = systemClock.after(LAST_WORDS_MS, () => http.closeAllConnections(), { keepAlive: true })
  await closed
  cancel()
}
