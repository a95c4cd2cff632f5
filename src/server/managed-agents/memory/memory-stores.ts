import { formatWall } from '../../../clock.ts'
import type { ResourceStore } from '../../../store/api-store.ts'
import { ApiError } from '../../errors.ts'
import { newId } from '../ids.ts'
import { archived, changeKept, listKept, toRow } from '../kept.ts'
import type { ListRequest } from '../kept.ts'
import type { Page } from '../pages.ts'
import { patchMetadata } from '../schema.ts'
import type { StoreCreate, StoreUpdate } from './memory-schema.ts'

/** A memory store as the wire shows it, and as it is kept. */
export interface MemoryStore {
  type: 'memory_store'
  id: string
  name: string
  description: string
  metadata: Record<string, string>
  created_at: string
  updated_at: string
  archived_at: string | null
}

const PAGE = { limit: 200, maxSize: 2 ** 20 }

export const storeNotFound = (id: string): ApiError =>
  new ApiError('not_found_error', `memory store ${id} was not found`)

/** The memory stores of tenants, without what is in them. */
export class MemoryStores {
  readonly #store: ResourceStore
  readonly #now: () => number

  /** `now`: milliseconds since the epoch. */
  constructor(store: ResourceStore, now: () => number) {
    this.#store = store
    this.#now = now
  }

  async create(tenant: string, { name, description = '', metadata = {} }: StoreCreate): Promise<MemoryStore> {
    const at = formatWall(this.#now())
    const id = newId('memoryStore')
    const times = { created_at: at, updated_at: at, archived_at: null }
    const made: MemoryStore = { type: 'memory_store', id, name, description, metadata, ...times }
    await this.#store.create(
      toRow('memory_index', tenant, { id, ...times, memories: [] } as typeof times & { id: string }),
    )
    await this.#store.create(toRow('memory_store', tenant, made))
    return made
  }

  /** Throws ApiError (not_found_error), also for another tenant's. */
  async retrieve(tenant: string, id: string): Promise<MemoryStore> {
    const row = await this.#store.get('memory_store', tenant, id)
    if (row === undefined) throw storeNotFound(id)
    return JSON.parse(row.body) as MemoryStore
  }

  /** Throws ApiError. */
  update(tenant: string, id: string, params: StoreUpdate): Promise<MemoryStore> {
    return this.#change(tenant, id, (before) => {
      refuseArchived(before)
      const after: MemoryStore = {
        ...before,
        name: params.name ?? before.name,
        description: params.description ?? before.description,
        metadata: patchMetadata(before.metadata, params.metadata),
      }
      return JSON.stringify(after) === JSON.stringify(before)
        ? before
        : { ...after, updated_at: formatWall(this.#now()) }
    })
  }

  /** Its memories can be read from then on, and no more changed. */
  archive(tenant: string, id: string): Promise<MemoryStore> {
    return this.#change(tenant, id, (before) => (before.archived_at === null ? archived(before, this.#now()) : before))
  }

  /** Removes it with all its memories and their versions. */
  async delete(tenant: string, id: string): Promise<{ type: 'memory_store_deleted'; id: string }> {
    await this.retrieve(tenant, id)
    // First what leads to them.
    await this.#store.remove('memory_store', tenant, id)
    await this.#store.remove('memory_index', tenant, id)
    for (;;) {
      const { rows, more } = await this.#store.list({
        kind: 'memory_version',
        tenant,
        parent: id,
        order: 'asc',
        ...PAGE,
      })
      for (const row of rows) await this.#store.remove('memory_version', tenant, row.id)
      if (!more) return { type: 'memory_store_deleted', id }
    }
  }

  /** Newest first. */
  list(tenant: string, request: ListRequest): Promise<Page<MemoryStore>> {
    return listKept<MemoryStore>(this.#store, { kind: 'memory_store', tenant, parent: undefined, ...request })
  }

  async #change(tenant: string, id: string, change: (before: MemoryStore) => MemoryStore): Promise<MemoryStore> {
    const after = await changeKept(this.#store, { kind: 'memory_store', tenant, id }, change)
    if (after === undefined) throw storeNotFound(id)
    return after
  }
}

export function refuseArchived({ id, archived_at: at }: MemoryStore): void {
  if (at !== null) throw new ApiError('invalid_request_error', `memory store ${id} is archived`)
}
