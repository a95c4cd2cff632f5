import { createHash } from 'node:crypto'
import { isLoopback } from '../../addresses.ts'
import type { Clock } from '../../clock.ts'
import type { BrowserTokens } from './browser-tokens.ts'
import { BROWSER_TOKEN } from './caller.ts'
import type { Caller } from './caller.ts'
import { ApiError } from '../errors.ts'
import { Issuer } from './issuer.ts'
import { Keyring, credentialOf } from './keyring.ts'
import { notAllowed } from '../http/origins.ts'
import type { ApiKeyOptions, JwtOptions } from '../options.ts'

/** Everybody, where no key is asked for. */
const ANYBODY: Caller = { tenant: 'default', name: 'anybody' }

const REFUSED = 'x-api-key or Authorization: Bearer carries no valid key or token'

const TOKEN_OVER = 'the browser token is unknown, expired or revoked; get another one from your backend'

const LONGEST_CREDENTIAL = 8_192

/** SHA-256 in hex. Enough for keys, which are long and random; it would not be for passwords. */
export const hashKey = (key: string): string => createHash('sha256').update(key).digest('hex')

const readKey = ({ tenant, sha256, name }: ApiKeyOptions): { sha256: string; holder: Caller } => ({
  sha256,
  holder: { tenant, name: name ?? `key ${sha256.slice(0, 8).toLowerCase()}` },
})

/** Knows the callers. Keys and tokens may be changed while it works. */
export class Authenticator {
  #keys = new Keyring<Caller>([])
  #issuer: Issuer | undefined
  readonly #tokens: Pick<BrowserTokens, 'callerOf'>
  readonly #clock: Clock

  constructor(
    options: { keys?: readonly ApiKeyOptions[]; jwt?: JwtOptions },
    tokens: Pick<BrowserTokens, 'callerOf'>,
    clock: Clock,
  ) {
    this.#tokens = tokens
    this.#clock = clock
    this.update(options)
  }

  /** True when no key is asked for. */
  get off(): boolean {
    return this.#keys.empty && this.#issuer === undefined
  }

  /** From now on these are the keys. Requests that are being served go on. */
  update({ keys = [], jwt }: { keys?: readonly ApiKeyOptions[]; jwt?: JwtOptions }): void {
    this.#keys = new Keyring(keys.map(readKey))
    // Another one for the same keys would forget what it has fetched.
    if (jwt === undefined) this.#issuer = undefined
    else if (this.#issuer?.jwks === jwt.jwks) this.#issuer = this.#issuer.changed(jwt)
    else this.#issuer = new Issuer(jwt, this.#clock)
  }

  /** Throws ApiError (authentication_error) for anybody unknown. */
  async authenticate(headers: Headers): Promise<Caller> {
    const credential = credentialOf(headers)
    if (credential?.startsWith(BROWSER_TOKEN) === true) {
      const caller = await this.#tokens.callerOf(credential)
      if (caller === undefined) throw new ApiError('authentication_error', TOKEN_OVER)
      return caller
    }
    if (this.off) return ANYBODY
    if (credential === undefined || credential === '' || credential.length > LONGEST_CREDENTIAL)
      throw new ApiError('authentication_error', REFUSED)
    const caller = this.#keys.holderOf(credential) ?? (await this.#bearerOf(credential))
    if (caller === undefined) throw new ApiError('authentication_error', REFUSED)
    return caller
  }

  async #bearerOf(token: string): Promise<Caller | undefined> {
    return token.split('.').length === 3 ? this.#issuer?.verify(token) : undefined
  }
}

/**
 * Without keys the server trusts every caller that reaches it: programs of this machine. A web page in its browser is none of them,
 * whether it posts across origins or has bent a name to loopback, unless `server.origins` names it. Throws ApiError
 * (permission_error).
 */
export function refuseStrangers(headers: Headers, origins: readonly string[]): void {
  const host = headers.get('host')
  const origin = headers.get('origin')
  if (host !== null && !isLoopback(host))
    throw new ApiError('permission_error', `without API keys this server answers on loopback only, not as ${host}`)
  if (origin !== null) {
    // The page may be this server's own, where it is mounted into one that has pages.
    if (!origins.includes(origin) && origin !== `http://${host}`) throw notAllowed(origin)
    return
  }
  // A browser sends no origin with what an element of a page loads.
  const site = headers.get('sec-fetch-site')
  if (site === 'cross-site' || site === 'same-site') throw notAllowed('other sites')
}
