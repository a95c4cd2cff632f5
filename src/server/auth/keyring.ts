import { createHash, timingSafeEqual } from 'node:crypto'

const LONGEST_KEY = 8_192

/** The key or token that a request carries. */
export const credentialOf = (headers: Headers): string | undefined =>
  headers.get('x-api-key') ?? /^Bearer\s+(.*)$/i.exec(headers.get('authorization') ?? '')?.[1]

/** Keys by their hashes, and whose they are. */
export class Keyring<Holder> {
  readonly #keys: readonly { digest: Buffer; holder: Holder }[]

  constructor(keys: readonly { sha256: string; holder: Holder }[]) {
    this.#keys = keys.map(({ sha256, holder }) => ({ digest: Buffer.from(sha256, 'hex'), holder }))
  }

  get empty(): boolean {
    return this.#keys.length === 0
  }

  /** The holder of this key. Compares with all keys, so that the time it takes tells nothing. */
  holderOf(key: string | undefined): Holder | undefined {
    if (key === undefined || key === '' || key.length > LONGEST_KEY) return undefined
    const digest = createHash('sha256').update(key).digest()
    let found: Holder | undefined
    for (const each of this.#keys) if (timingSafeEqual(each.digest, digest)) found = each.holder
    return found
  }
}
