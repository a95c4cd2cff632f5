import { formatWall } from '../../../clock.ts'
import type { Resource, ResourceStore } from '../../../store/api-store.ts'
import type { Endpoint } from './options.ts'
import { DISABLE_MS } from './retries.ts'

/** Endpoints of the operator are no tenant's. */
const NOBODY = ''

/** A receiver that says this wants nothing any more. */
const GONE = 410

/** How an endpoint is. Times are milliseconds since the epoch. */
export interface EndpointState {
  /** Since when all tries have failed. */
  failingSince: number | null
  disabledAt: number | null
  reason: string | null
}

const WELL: EndpointState = { failingSince: null, disabledAt: null, reason: null }

/** How each endpoint is, for all hosts. */
export class EndpointStates {
  readonly #store: ResourceStore
  readonly #now: () => number

  /** `now`: milliseconds since the epoch. */
  constructor(store: ResourceStore, now: () => number) {
    this.#store = store
    this.#now = now
  }

  async of(endpoint: Endpoint): Promise<EndpointState> {
    const row = await this.#store.get('webhook_endpoint', endpoint.tenant ?? NOBODY, endpoint.id)
    return row === undefined ? WELL : (JSON.parse(row.body) as EndpointState)
  }

  /** A try has worked. */
  async succeeded(endpoint: Endpoint): Promise<EndpointState> {
    return this.#change(endpoint, (before) =>
      before.failingSince === null ? before : { ...before, failingSince: null },
    )
  }

  /** A try has failed. The endpoint is disabled once that has been so for long. */
  async failed(
    endpoint: Endpoint,
    { status, error }: { status: number | null; error: string },
  ): Promise<EndpointState> {
    const now = this.#now()
    return this.#change(endpoint, (before) => {
      if (before.disabledAt !== null) return before
      const failingSince = before.failingSince ?? now
      if (status !== GONE && now - failingSince < DISABLE_MS)
        return before.failingSince === null ? { ...before, failingSince } : before
      const reason =
        status === GONE ? 'the receiver answered 410 (gone)' : `no delivery since ${formatWall(failingSince)}: ${error}`
      return { failingSince, disabledAt: now, reason }
    })
  }

  enable(endpoint: Endpoint): Promise<EndpointState> {
    return this.#change(endpoint, () => WELL)
  }

  async #change(endpoint: Endpoint, change: (before: EndpointState) => EndpointState): Promise<EndpointState> {
    const tenant = endpoint.tenant ?? NOBODY
    for (;;) {
      const row = await this.#store.get('webhook_endpoint', tenant, endpoint.id)
      const before = row === undefined ? WELL : (JSON.parse(row.body) as EndpointState)
      const after = change(before)
      if (after === before) return before
      if (row === undefined) await this.#store.create(toRow(tenant, endpoint.id, 1, after, this.#now()))
      else if (!(await this.#store.replace(row, { ...row, version: row.version + 1, body: JSON.stringify(after) })))
        continue
      return after
    }
  }
}

const toRow = (tenant: string, id: string, version: number, state: EndpointState, now: number): Resource => ({
  kind: 'webhook_endpoint',
  tenant,
  id,
  version,
  createdAt: now,
  archivedAt: null,
  parent: null,
  body: JSON.stringify(state),
})
