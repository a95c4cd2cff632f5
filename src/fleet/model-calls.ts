import { request as requestHttp } from 'node:http'
import type { IncomingHttpHeaders } from 'node:http'
import type { Readable } from 'node:stream'
import { ConfigError } from '../errors.ts'
import type { Credentials } from './credentials.ts'

/** A request to the model's own API. */
export interface ModelRequest {
  method: 'GET' | 'POST'
  /** `/v1/messages`, `/v1/messages/count_tokens`, `/v1/models` or `/v1/models/ID`, with a query. */
  path: string
  /** Of these, `anthropic-version` and `anthropic-beta` are sent. */
  headers?: Readonly<Record<string, string | undefined>>
  /** JSON. */
  body?: string | undefined
  /** Ends the call. */
  signal?: AbortSignal | undefined
}

/** The answer of the model's own API, as it comes. */
export interface ModelAnswer {
  status: number
  headers: IncomingHttpHeaders
  /** Read it, or destroy it: the call ends with it. */
  body: Readable
}

/** Tenants that keep a way to the model while they do not use it. */
const KEPT_WAYS = 64

/** The credentials that the Messages API takes of everyone, by the variables that hold them. */
const TOKENS = ['ANTHROPIC_API_KEY', 'ANTHROPIC_AUTH_TOKEN'] as const

/** How one tenant reaches the model. */
interface Way {
  worker: string
  running: number
  to: Promise<{ socketPath: string } | { port: number }>
  token: string
  base: string
}

interface ModelCallsOptions {
  /** Undefined: there is no credential proxy. */
  credentials: Credentials | undefined
  /** Where the credential of a tenant is. */
  environment: (tenant: string) => Record<string, string>
}

/** Calls of the model's own API for tenants. They go through the credential proxy, which holds them to the budgets of their tenants. */
export class ModelCalls {
  readonly #options: ModelCallsOptions
  /** The one that was used longest ago comes first. */
  readonly #ways = new Map<string, Way>()
  #made = 0

  constructor(options: ModelCallsOptions) {
    this.#options = options
  }

  /** Resolves with the answer when its headers are there. Throws ConfigError if the proxy does not hold a credential for that. */
  async call(tenant: string, { method, path, headers = {}, body, signal }: ModelRequest): Promise<ModelAnswer> {
    const way = this.#wayOf(tenant)
    way.running += 1
    const over = (): void => {
      way.running -= 1
      this.#forgetUnused()
    }
    try {
      const to = await way.to
      const sent: Record<string, string> = { 'x-api-key': way.token, accept: 'application/json' }
      for (const name of ['anthropic-version', 'anthropic-beta'])
        if (headers[name] !== undefined) sent[name] = headers[name]
      if (body !== undefined) {
        sent['content-type'] = 'application/json'
        sent['content-length'] = String(Buffer.byteLength(body))
      }
      const options = { ...to, host: '127.0.0.1', method, path: way.base + path, headers: sent, agent: false as const }
      return await new Promise<ModelAnswer>((resolve, reject) => {
        const outgoing = requestHttp({ ...options, ...(signal === undefined ? {} : { signal }) })
        outgoing.once('response', (answer) => {
          answer.once('close', over)
          answer.on('error', () => undefined)
          resolve({ status: answer.statusCode ?? 502, headers: answer.headers, body: answer })
        })
        outgoing.on('error', reject)
        outgoing.end(body)
      })
    } catch (error) {
      over()
      throw error
    }
  }

  /** Gives up every way. */
  close(): void {
    for (const { worker } of this.#ways.values()) this.#options.credentials?.revoke(worker)
    this.#ways.clear()
  }

  #wayOf(tenant: string): Way {
    const known = this.#ways.get(tenant)
    const way = known ?? this.#open(tenant)
    this.#ways.delete(tenant)
    this.#ways.set(tenant, way)
    return way
  }

  #open(tenant: string): Way {
    const { credentials, environment } = this.#options
    if (credentials === undefined)
      throw new ConfigError(
        'isolation.credentials',
        'must be "proxy" for calls of the model: the credential proxy makes them',
      )
    this.#made += 1
    const worker = `model-${this.#made}`
    const granted = credentials.grant(
      { id: worker, agent: undefined, tenant, session: undefined, executable: undefined },
      () => environment(tenant),
    )
    const token = TOKENS.map((name) => granted.env[name]).find((value) => value?.startsWith('cap-') === true)
    const base = granted.env['ANTHROPIC_BASE_URL']
    const isCloud = ['BEDROCK', 'VERTEX', 'FOUNDRY'].some(
      (cloud) => granted.env[`CLAUDE_CODE_USE_${cloud}`] !== undefined,
    )
    if (token === undefined || base === undefined || isCloud) {
      credentials.revoke(worker)
      throw new ConfigError(
        'api',
        'has no key or authToken of Anthropic’s API that the credential proxy holds; calls of the model need one',
      )
    }
    const socketPath = granted.env['ANTHROPIC_UNIX_SOCKET']
    const to = Promise.all([granted.lateEnv, granted.ready]).then(([late]) =>
      socketPath === undefined ? { port: Number(new URL(late?.['ANTHROPIC_BASE_URL'] ?? base).port) } : { socketPath },
    )
    to.catch(() => this.#drop(tenant, worker))
    return { worker, running: 0, to, token, base: new URL(base).pathname.replace(/\/+$/, '') }
  }

  /** The next call tries again. */
  #drop(tenant: string, worker: string): void {
    if (this.#ways.get(tenant)?.worker === worker) this.#ways.delete(tenant)
    this.#options.credentials?.revoke(worker)
  }

  #forgetUnused(): void {
    for (const [tenant, { worker, running }] of this.#ways) {
      if (this.#ways.size <= KEPT_WAYS) return
      if (running > 0) continue
      this.#ways.delete(tenant)
      this.#options.credentials?.revoke(worker)
    }
  }
}
