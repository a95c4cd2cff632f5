import type { JSONWebKeySet, JWTPayload, JWTVerifyGetKey } from 'jose'
import { wallDate } from '../../clock.ts'
import type { Clock } from '../../clock.ts'
import { parseDuration } from '../../units.ts'
import { ApiError, retryAfter } from '../errors.ts'
import { JWT_TENANTS } from '../options.ts'
import type { JwtOptions } from '../options.ts'

/** Signatures that need a secret are none that a public key set can check. */
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA']

/** How long fetched keys are used before they are fetched again, and how long at most when that fails. */
const FRESH_MS = 10 * 60_000
const STALE_MS = 24 * 60 * 60_000

/** After a fetch, whether it succeeded or not, the issuer is left in peace: tokens with made-up key ids cost it nothing. */
const COOL_DOWN_MS = 30_000

const FETCH_MS = 5_000

const LARGEST_SET = 1024 * 1024

/** Names of tenants are in paths, logs and measurements. */
const TENANT = /^[^\p{Cc}\p{Cs}]{1,200}$/u

/** What a token says of its bearer. */
export interface TokenFacts {
  tenant: string
  name: string
}

interface KeySet {
  find: JWTVerifyGetKey
  at: number
}

/** An issuer of tokens: its public keys, and what its tokens must be like. */
export class Issuer {
  readonly #options: JwtOptions
  readonly #clock: Clock
  readonly #longestMs: number
  #keys: KeySet | undefined
  #triedAt = -Infinity
  #fetching: Promise<void> | undefined

  constructor(options: JwtOptions, clock: Clock) {
    this.#options = options
    this.#clock = clock
    this.#longestMs = parseDuration('server.jwt.maxLifetime', options.maxLifetime ?? '24h')
  }

  get jwks(): string {
    return this.#options.jwks
  }

  /** The same issuer by other rules: what it has fetched stays. */
  changed(options: JwtOptions): Issuer {
    const next = new Issuer(options, this.#clock)
    next.#keys = this.#keys
    next.#triedAt = this.#triedAt
    return next
  }

  /** The caller that this token names; undefined if the token is not valid. Throws ApiError if the issuer's keys cannot be fetched. */
  async verify(token: string): Promise<TokenFacts | undefined> {
    // The keys fetched last still verify tokens: no request waits for a slow issuer.
    if (this.#keys === undefined) await this.#refresh()
    else if (this.#age > FRESH_MS) void this.#refresh()
    const { errors } = await import('jose')
    try {
      return await this.#check(token)
    } catch (error) {
      if (!(error instanceof errors.JOSEError)) throw error
      // The issuer may have another key by now.
      if (!(error instanceof errors.JWKSNoMatchingKey) || !(await this.#refresh())) return undefined
      return this.#check(token).catch(() => undefined)
    }
  }

  async #check(token: string): Promise<TokenFacts | undefined> {
    const { issuer, audience, tenantClaim = 'sub', tenantPrefix = JWT_TENANTS } = this.#options
    const keys = this.#keys
    if (keys === undefined || this.#age > STALE_MS)
      throw new ApiError('api_error', 'the public keys of the token issuer cannot be fetched; try again', {
        status: 503,
        headers: retryAfter(COOL_DOWN_MS),
      })
    const { jwtVerify } = await import('jose')
    const requiredClaims = ['exp', tenantClaim]
    const { payload } = await jwtVerify(token, keys.find, {
      issuer,
      audience,
      algorithms: ALGORITHMS,
      requiredClaims,
      currentDate: wallDate(this.#clock.wall()),
    })
    const tenant = payload[tenantClaim]
    if (typeof tenant !== 'string' || !TENANT.test(tenant) || this.#isTooLong(payload)) return undefined
    return { tenant: tenantPrefix + tenant, name: payload.sub ?? tenant }
  }

  /** A token that is valid for years is a key that cannot be revoked. */
  #isTooLong({ exp = Infinity }: JWTPayload): boolean {
    return exp * 1_000 - this.#clock.wall() > this.#longestMs
  }

  get #age(): number {
    return this.#clock.now() - (this.#keys?.at ?? -Infinity)
  }

  /** Fetches the keys unless that was tried a moment ago; true if there are new ones. */
  async #refresh(): Promise<boolean> {
    const before = this.#keys
    if (this.#fetching === undefined && this.#clock.now() - this.#triedAt < COOL_DOWN_MS) return false
    this.#fetching ??= this.#fetch().finally(() => (this.#fetching = undefined))
    await this.#fetching
    return this.#keys !== before
  }

  /** When it fails the keys of before stay. */
  async #fetch(): Promise<void> {
    const stop = new AbortController()
    const cancel = this.#clock.after(FETCH_MS, () => stop.abort())
    try {
      const response = await fetch(this.#options.jwks, { signal: stop.signal, redirect: 'error' })
      if (!response.ok) return
      const set = JSON.parse(await readText(response)) as JSONWebKeySet
      const { createLocalJWKSet } = await import('jose')
      this.#keys = { find: createLocalJWKSet(set), at: this.#clock.now() }
    } catch {
      // It is down, slow, or says something else.
    } finally {
      cancel()
      this.#triedAt = this.#clock.now()
    }
  }
}

async function readText({ body }: Response): Promise<string> {
  const decoder = new TextDecoder()
  let text = ''
  for await (const piece of body ?? []) {
    text += decoder.decode(piece, { stream: true })
    if (text.length > LARGEST_SET) throw new Error('the key set is too large')
  }
  return text + decoder.decode()
}
