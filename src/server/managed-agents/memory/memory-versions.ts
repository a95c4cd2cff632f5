import { formatWall } from '../../../clock.ts'
import type { ResourceStore } from '../../../store/api-store.ts'
import { ApiError } from '../../errors.ts'
import { changeKept, listKept } from '../kept.ts'
import type { ListRequest } from '../kept.ts'
import type { Page } from '../pages.ts'
import type { Actor, Memories, StoredVersion } from './memories.ts'

/** A version as the wire shows it. */
export type WireMemoryVersion = Omit<StoredVersion, 'updated_at' | 'archived_at'>

export interface VersionFilter {
  memory_id: string | undefined
  operation: string | undefined
  session_id: string | undefined
  api_key_id: string | undefined
  service_account_id: string | undefined
}

const notFound = (id: string): ApiError => new ApiError('not_found_error', `memory version ${id} was not found`)

const shown = (
  { updated_at: _updated, archived_at: _archived, ...version }: StoredVersion,
  full: boolean,
): WireMemoryVersion => (full ? version : { ...version, content: null })

/** What memories were before, and who has changed them. */
export class MemoryVersions {
  readonly #store: ResourceStore
  readonly #memories: Memories
  readonly #now: () => number

  /** `now`: milliseconds since the epoch. */
  constructor(store: ResourceStore, memories: Memories, now: () => number) {
    this.#store = store
    this.#memories = memories
    this.#now = now
  }

  /** Throws ApiError (not_found_error), also for another tenant's. */
  async retrieve(tenant: string, storeId: string, id: string, full: boolean): Promise<WireMemoryVersion> {
    await this.#memories.all(tenant, storeId)
    const row = await this.#store.get('memory_version', tenant, id)
    const version = row && (JSON.parse(row.body) as StoredVersion)
    if (version?.memory_store_id !== storeId) throw notFound(id)
    return shown(version, full)
  }

  /** Newest first. Throws ApiError. */
  async list(
    tenant: string,
    storeId: string,
    { full, filter, ...request }: Omit<ListRequest, 'includeArchived'> & { full: boolean; filter: VersionFilter },
  ): Promise<Page<WireMemoryVersion>> {
    await this.#memories.all(tenant, storeId)
    const found = await listKept<StoredVersion>(this.#store, {
      kind: 'memory_version',
      tenant,
      parent: storeId,
      includeArchived: false,
      ...request,
      matches: (version) => isAsked(version, filter),
    })
    return { ...found, items: found.items.map((version) => shown(version, full)) }
  }

  /** Removes for good what a version says. Throws ApiError for one that is current. */
  async redact(tenant: string, storeId: string, id: string, by: Actor): Promise<WireMemoryVersion> {
    await this.retrieve(tenant, storeId, id, false)
    const memories = await this.#memories.all(tenant, storeId)
    if (memories.some((memory) => memory.memory_version_id === id))
      throw new ApiError(
        'invalid_request_error',
        `memory version ${id} is the content of a memory now; change or delete that memory first`,
      )
    const after = await changeKept<StoredVersion>(this.#store, { kind: 'memory_version', tenant, id }, (version) =>
      version.redacted_at !== null
        ? version
        : {
            ...version,
            path: null,
            content: null,
            content_sha256: null,
            content_size_bytes: null,
            redacted_at: formatWall(this.#now()),
            redacted_by: by,
          },
    )
    if (after === undefined) throw notFound(id)
    return shown(after, false)
  }
}

function isAsked(version: StoredVersion, filter: VersionFilter): boolean {
  const { created_by: by } = version
  if (filter.memory_id !== undefined && version.memory_id !== filter.memory_id) return false
  if (filter.operation !== undefined && version.operation !== filter.operation) return false
  // This server has no such accounts.
  if (filter.service_account_id !== undefined) return false
  if (filter.session_id !== undefined && !(by.type === 'session_actor' && by.session_id === filter.session_id))
    return false
  return filter.api_key_id === undefined || (by.type === 'api_actor' && by.api_key_id === filter.api_key_id)
}
