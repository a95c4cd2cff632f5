import { randomBytes } from 'node:crypto'
import type { Context } from 'hono'
import { hashKey, refuseStrangers } from '../auth/authenticator.ts'
import { Keyring, credentialOf } from '../auth/keyring.ts'
import type { Operators } from '../auth/operators.ts'
import type { ServerEnv } from '../context.ts'
import { ApiError } from '../errors.ts'
import type { PageHeader } from './wire.ts'

const PAGE_HEADER: PageHeader = 'x-claude-agent-pool-page'

/** An operator where no key is asked for. */
const ANYBODY = 'anybody'

interface PageGateContext {
  /** `server.page`. */
  option: boolean | undefined
  /** Whether the server asks for no key. */
  open: () => boolean
  /** Whether agents are isolated: programs of this machine that must not open the page. */
  isolated: () => boolean
  operators: Operators
}

/** Says who may open the operator's page, and what it shows. */
export class PageGate {
  readonly #context: PageGateContext
  readonly #key = randomBytes(24).toString('base64url')
  readonly #own = new Keyring([{ sha256: hashKey(this.#key), holder: ANYBODY }])

  constructor(context: PageGateContext) {
    this.#context = context
  }

  /** Whether the page is served: by default while the server asks for no key. */
  get isOpen(): boolean {
    return this.#context.option ?? this.#context.open()
  }

  /** True for a request to the page, if it is served. */
  takes(path: string): boolean {
    return (path === '/' || path.startsWith('/page/')) && this.isOpen
  }

  /** Whether the page asks for a key: an operator's, or the one of this start. */
  get asksForKey(): boolean {
    return !this.#context.open() || this.key !== undefined
  }

  /**
   * The key that the page needs while the server asks for none: isolated agents may reach loopback, and cannot read it.
   * Undefined: it needs none, or an operator's.
   */
  get key(): string | undefined {
    return this.#context.open() && this.#context.isolated() ? this.#key : undefined
  }

  /** The page itself, which shows nothing before it has a key. Throws ApiError (permission_error). */
  checkReader({ req }: Context<ServerEnv>): void {
    if (this.#context.open()) refuseStrangers(req.raw.headers, [])
  }

  /** The name of the operator who asks for something to look at. Throws ApiError. */
  operatorOf(c: Context<ServerEnv>): string {
    const { headers } = c.req.raw
    this.checkReader(c)
    const site = headers.get('sec-fetch-site')
    if (headers.get(PAGE_HEADER) === null || (site !== null && site !== 'same-origin' && site !== 'none'))
      throw new ApiError('permission_error', `only the operator's page asks this: the header ${PAGE_HEADER} is missing`)
    const { open, operators } = this.#context
    const name = operators.nameOf(headers)
    if (name === undefined && !open()) operators.check(headers)
    if (name === undefined && this.key !== undefined && this.#own.holderOf(credentialOf(headers)) === undefined)
      throw new ApiError(
        'authentication_error',
        'the page needs the key of this start: open the address that `serve` prints',
      )
    return name ?? ANYBODY
  }

  /** The name of the operator who acts. Throws ApiError. */
  actorOf(c: Context<ServerEnv>): string {
    const host = c.req.header('host')
    const origin = c.req.header('origin')
    if (host === undefined || origin === undefined || !URL.canParse(origin) || new URL(origin).host !== host)
      throw new ApiError(
        'permission_error',
        `actions are taken only from the server's own page: its Origin (${origin ?? 'none'}) must be that of the Host header (${host ?? 'none'}); a proxy must pass Host on`,
      )
    return this.operatorOf(c)
  }
}
