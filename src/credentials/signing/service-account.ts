import { createSign } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { systemClock } from '../../clock.ts'
import type { Clock } from '../../clock.ts'
import { keepNewest } from '../../newest.ts'

export interface ServiceAccount {
  email: string
  /** PEM. */
  privateKey: string
  keyId?: string | undefined
  tokenUrl: string
}

const SCOPE = 'https://www.googleapis.com/auth/cloud-platform'
const GRANT = 'urn:ietf:params:oauth:grant-type:jwt-bearer'

/** Google takes no assertion that is valid for longer. */
const ASSERTION_SECONDS = 3_600

/** A token this close to its end is replaced. */
const EARLY_MS = 60_000

/** More accounts than this are not remembered: each has at least one worker. */
const MAX_TOKENS = 1_000

const encoded = (text: string): string => Buffer.from(text).toString('base64url')

/** A JWS in compact form by RS256 (RFC 7515, A.2). */
export function signRs256(header: string, payload: string, key: string | KeyObject): string {
  const input = `${encoded(header)}.${encoded(payload)}`
  return `${input}.${createSign('RSA-SHA256').update(input).sign(key, 'base64url')}`
}

/** What a service account says of itself to get a token (RFC 7523). */
export function assertionOf({ email, privateKey, keyId, tokenUrl }: ServiceAccount, wallMs: number): string {
  const iat = Math.floor(wallMs / 1_000)
  const header = { alg: 'RS256', typ: 'JWT', ...(keyId === undefined ? {} : { kid: keyId }) }
  const claims = { iss: email, scope: SCOPE, aud: tokenUrl, iat, exp: iat + ASSERTION_SECONDS }
  return signRs256(JSON.stringify(header), JSON.stringify(claims), privateKey)
}

interface Token {
  /** The key that it was given for: another one asks again. */
  privateKey: string
  value: Promise<string>
  /** By the monotonic clock; Infinity while it is asked for. */
  until: number
}

/** Access tokens of service accounts, asked for when they are needed and kept until shortly before they end. */
export class AccessTokens {
  readonly #clock: Clock
  readonly #post: typeof fetch
  readonly #tokens = new Map<string, Token>()

  constructor(clock: Clock = systemClock, post: typeof fetch = fetch) {
    this.#clock = clock
    this.#post = post
  }

  /** Rejects with why there is none; the next call asks again. */
  get(account: ServiceAccount): Promise<string> {
    const id = `${account.email} ${account.keyId ?? ''} ${account.tokenUrl}`
    const known = this.#tokens.get(id)
    if (known !== undefined && known.privateKey === account.privateKey && known.until > this.#clock.now())
      return known.value
    const token: Token = { privateKey: account.privateKey, value: Promise.resolve(''), until: Infinity }
    token.value = this.#ask(account, token).catch((error: unknown) => {
      this.#tokens.delete(id)
      throw error
    })
    this.#tokens.delete(id)
    this.#tokens.set(id, token)
    keepNewest(this.#tokens, MAX_TOKENS)
    return token.value
  }

  async #ask(account: ServiceAccount, token: Token): Promise<string> {
    const askedAt = this.#clock.now()
    const response = await this.#post(account.tokenUrl, {
      method: 'POST',
      body: new URLSearchParams({ grant_type: GRANT, assertion: assertionOf(account, this.#clock.wall()) }),
      redirect: 'error',
    })
    const answer = (await response.json()) as { access_token?: unknown; expires_in?: unknown; error?: unknown }
    if (typeof answer.access_token !== 'string' || typeof answer.expires_in !== 'number')
      throw new Error(
        `${account.tokenUrl} gave no token: ${response.status} ${typeof answer.error === 'string' ? answer.error : ''}`,
      )
    token.until = askedAt + answer.expires_in * 1_000 - EARLY_MS
    return answer.access_token
  }
}
