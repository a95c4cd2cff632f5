import { ApiError } from '../errors.ts'
import type { OperatorOptions } from '../options.ts'
import { Keyring, credentialOf } from './keyring.ts'

/** Whether a caller may be told of this tenant, and of agents that it may have defined. */
export type KnowsTenant = (tenant: string) => boolean

/** The tenant of all callers of a server without keys. */
const EVERYBODY = 'default'

export const knowsAll: KnowsTenant = () => true

/** Who runs the server: may see figures of all tenants. Keys may be changed while it works. */
export class Operators {
  #keys: Keyring<string>

  constructor(options: readonly OperatorOptions[] = []) {
    this.#keys = keyringOf(options)
  }

  get none(): boolean {
    return this.#keys.empty
  }

  update(options: readonly OperatorOptions[] = []): void {
    this.#keys = keyringOf(options)
  }

  /** The name of the operator whose key the request carries. */
  nameOf(headers: Headers): string | undefined {
    return this.#keys.holderOf(credentialOf(headers))
  }

  /** Throws ApiError (authentication_error) unless the request carries the key of an operator. */
  check(headers: Headers): void {
    if (this.nameOf(headers) === undefined)
      throw new ApiError('authentication_error', "x-api-key or Authorization: Bearer carries no operator's key")
  }

  /** What the sender of a request may know. `open`: the server asks for no key, so every caller is one tenant. */
  knowledgeOf(headers: Headers, open: boolean): KnowsTenant {
    if (this.nameOf(headers) !== undefined) return knowsAll
    return (tenant) => open && tenant === EVERYBODY
  }
}

const keyringOf = (options: readonly OperatorOptions[]): Keyring<string> =>
  new Keyring(options.map(({ name, sha256 }) => ({ sha256, holder: name })))
