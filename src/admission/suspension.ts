import { ConfigError, PoolClosedError } from '../errors.ts'

/** More are a mistake. */
const MAX_TENANTS = 10_000

/** Which turns may not start because an operator or a shutdown says so: all, or those of some tenants. */
export class Suspension {
  #whole: 'suspended' | 'draining' | undefined
  readonly #tenants = new Set<string>()

  /** What holds for the whole pool. */
  get whole(): 'suspended' | 'draining' | undefined {
    return this.#whole
  }

  /** The tenants that are suspended by name. */
  get tenants(): string[] {
    return [...this.#tenants]
  }

  /** What holds for this tenant. */
  of(tenant: string): 'suspended' | 'draining' | undefined {
    return this.#whole ?? (this.#tenants.has(tenant) ? 'suspended' : undefined)
  }

  /** True if this tenant waits while others may go on. */
  holdsOnly(tenant: string): boolean {
    return this.#tenants.has(tenant)
  }

  /** Draining has no way back. */
  suspend(reason: 'suspended' | 'draining'): void {
    if (this.#whole !== 'draining') this.#whole = reason
  }

  /** Throws PoolClosedError while draining. */
  resume(): void {
    this.#checkOpen()
    this.#whole = undefined
  }

  /** Throws PoolClosedError while draining, and ConfigError beyond 10,000 tenants. */
  suspendTenant(tenant: string): void {
    this.#checkOpen()
    if (this.#tenants.size >= MAX_TENANTS && !this.#tenants.has(tenant))
      throw new ConfigError('tenant', `${MAX_TENANTS} tenants are suspended already; suspend the whole pool instead`)
    this.#tenants.add(tenant)
  }

  /** Throws PoolClosedError while draining. */
  resumeTenant(tenant: string): void {
    this.#checkOpen()
    this.#tenants.delete(tenant)
  }

  #checkOpen(): void {
    if (this.#whole === 'draining') throw new PoolClosedError()
  }
}
