import { createHash } from 'node:crypto'
import { formatWall } from '../../../clock.ts'
import type { ResourceStore } from '../../../store/api-store.ts'
import { ApiError } from '../../errors.ts'
import { newId } from '../ids.ts'
import { MOST_TRIES, changeKept, changedMeanwhile, toRow } from '../kept.ts'
import type { MemoryCreate, MemoryUpdate } from './memory-schema.ts'
import { refuseArchived, storeNotFound } from './memory-stores.ts'
import type { MemoryStores } from './memory-stores.ts'

/** Who has changed a memory. */
export type Actor = { type: 'api_actor'; api_key_id: string } | { type: 'session_actor'; session_id: string }

/** What is known of a memory beside its content, which its version has. */
export interface MemoryFacts {
  id: string
  path: string
  content_sha256: string
  content_size_bytes: number
  memory_version_id: string
  created_at: string
  updated_at: string
}

/** The memories of one store. One row has them, so that each change finds all others as they are. */
interface MemoryIndex {
  id: string
  memories: MemoryFacts[]
  created_at: string
  updated_at: string
  archived_at: null
}

export interface Memory extends MemoryFacts {
  type: 'memory'
  memory_store_id: string
  content: string | null
}

/** A version as it is kept. */
export interface StoredVersion {
  type: 'memory_version'
  id: string
  memory_id: string
  memory_store_id: string
  operation: 'created' | 'modified' | 'deleted'
  path: string | null
  content: string | null
  content_sha256: string | null
  content_size_bytes: number | null
  created_by: Actor
  redacted_at: string | null
  redacted_by: Actor | null
  created_at: string
  updated_at: string
  archived_at: null
}

/** Of one store. */
export const MAX_MEMORIES = 2_000

/** How long a version stays that is not the current one. */
const VERSION_MS = 30 * 24 * 60 * 60_000

/** Old versions that go with one write. */
const PRUNED = { limit: 50, maxSize: 2 ** 20 }

const shaOf = (content: string): string => createHash('sha256').update(content).digest('hex')

const byPath = (a: MemoryFacts, b: MemoryFacts): number => (a.path < b.path ? -1 : Number(a.path > b.path))

interface Request {
  tenant: string
  storeId: string
}

/** The memories of stores: a change writes a version first, and then what leads to it. */
export class Memories {
  readonly #store: ResourceStore
  readonly #stores: MemoryStores
  readonly #now: () => number

  /** `now`: milliseconds since the epoch. */
  constructor(store: ResourceStore, stores: MemoryStores, now: () => number) {
    this.#store = store
    this.#stores = stores
    this.#now = now
  }

  /** All of a store, by their paths. Throws ApiError. */
  async all(tenant: string, storeId: string): Promise<MemoryFacts[]> {
    const row = await this.#store.get('memory_index', tenant, storeId)
    if (row === undefined) throw storeNotFound(storeId)
    return (JSON.parse(row.body) as MemoryIndex).memories
  }

  /** Throws ApiError (not_found_error), also for another tenant's. */
  async retrieve(tenant: string, storeId: string, id: string): Promise<MemoryFacts> {
    const found = (await this.all(tenant, storeId)).find((memory) => memory.id === id)
    if (found === undefined) throw memoryNotFound(id)
    return found
  }

  /** What a memory says. */
  async contentOf(tenant: string, { memory_version_id: id }: MemoryFacts): Promise<string> {
    const row = await this.#store.get('memory_version', tenant, id)
    return row === undefined ? '' : ((JSON.parse(row.body) as StoredVersion).content ?? '')
  }

  async show(tenant: string, storeId: string, facts: MemoryFacts, full: boolean): Promise<Memory> {
    const content = full ? await this.contentOf(tenant, facts) : null
    return { type: 'memory', memory_store_id: storeId, ...facts, content }
  }

  /** Throws ApiError, also for a path that another memory has or goes through. */
  create(request: Request, { path, content }: MemoryCreate, by: Actor): Promise<MemoryFacts> {
    const at = formatWall(this.#now())
    const facts = { id: newId('memory'), path, ...hashed(content), created_at: at, updated_at: at }
    return this.#write(request, { facts, content, operation: 'created', by }, (memories, memory) => {
      refuseConflict(memories, path, undefined)
      if (memories.length >= MAX_MEMORIES)
        throw new ApiError('invalid_request_error', `a memory store has at most ${MAX_MEMORIES} memories`)
      return [...memories, memory].toSorted(byPath)
    })
  }

  /** A new version, unless nothing changes. Throws ApiError. */
  async update(request: Request, id: string, params: MemoryUpdate, by: Actor): Promise<MemoryFacts> {
    const { tenant, storeId } = request
    for (let tries = 0; tries < MOST_TRIES; tries += 1) {
      const before = await this.retrieve(tenant, storeId, id)
      refuseArchived(await this.#stores.retrieve(tenant, storeId))
      const path = params.path ?? before.path
      const content = params.content ?? (await this.contentOf(tenant, before))
      const facts = { ...before, path, ...hashed(content), updated_at: formatWall(this.#now()) }
      if (path === before.path && facts.content_sha256 === before.content_sha256) return before
      const expected = params.precondition?.content_sha256
      if (expected !== undefined && expected !== before.content_sha256) throw notAsExpected(id)
      const written = await this.#write(request, { facts, content, operation: 'modified', by }, (memories, memory) => {
        const now = memories.find((one) => one.id === id)
        if (now === undefined) throw memoryNotFound(id)
        if (now.memory_version_id !== before.memory_version_id) throw new ChangedError()
        refuseConflict(memories, path, id)
        return memories.map((one) => (one.id === id ? memory : one)).toSorted(byPath)
      }).catch((error: unknown) => {
        if (!(error instanceof ChangedError)) throw error
        return undefined
      })
      if (written !== undefined) return written
    }
    throw changedMeanwhile('memory_index', storeId)
  }

  /** Its versions stay. `expected`: the hash that it must have. Throws ApiError. */
  async delete(request: Request, id: string, expected: string | undefined, by: Actor): Promise<void> {
    const before = await this.retrieve(request.tenant, request.storeId, id)
    await this.#write(request, { facts: before, content: null, operation: 'deleted', by }, (memories) => {
      const now = memories.find((one) => one.id === id)
      if (now === undefined) throw memoryNotFound(id)
      if (expected !== undefined && expected !== now.content_sha256) throw notAsExpected(id)
      return memories.filter((one) => one !== now)
    })
  }

  /** Writes a version, and then the list of memories as `change` makes it. Nothing is left of what that refuses. */
  async #write(
    { tenant, storeId }: Request,
    {
      facts,
      content,
      operation,
      by,
    }: {
      facts: Omit<MemoryFacts, 'memory_version_id'>
      content: string | null
      operation: StoredVersion['operation']
      by: Actor
    },
    change: (memories: readonly MemoryFacts[], memory: MemoryFacts) => MemoryFacts[],
  ): Promise<MemoryFacts> {
    const store = await this.#stores.retrieve(tenant, storeId)
    if (operation !== 'deleted') refuseArchived(store)
    const at = formatWall(this.#now())
    const isGone = content === null
    const version: StoredVersion = {
      type: 'memory_version',
      id: newId('memoryVersion'),
      memory_id: facts.id,
      memory_store_id: storeId,
      operation,
      path: facts.path,
      content,
      content_sha256: isGone ? null : facts.content_sha256,
      content_size_bytes: isGone ? null : facts.content_size_bytes,
      created_by: by,
      redacted_at: null,
      redacted_by: null,
      created_at: at,
      updated_at: at,
      archived_at: null,
    }
    const memory: MemoryFacts = { ...facts, memory_version_id: version.id }
    await this.#store.create(toRow('memory_version', tenant, version, storeId))
    try {
      const after = await changeKept<MemoryIndex>(
        this.#store,
        { kind: 'memory_index', tenant, id: storeId },
        (index) => ({ ...index, memories: change(index.memories, memory), updated_at: at }),
      )
      if (after === undefined) throw storeNotFound(storeId)
      await this.#prune(tenant, storeId, after.memories)
    } catch (error) {
      await this.#store.remove('memory_version', tenant, version.id)
      throw error
    }
    return memory
  }

  /** Removes some versions that are older than they are kept. */
  async #prune(tenant: string, storeId: string, memories: readonly MemoryFacts[]): Promise<void> {
    const current = new Set(memories.map((memory) => memory.memory_version_id))
    const to = this.#now() - VERSION_MS
    const found = { kind: 'memory_version', tenant, parent: storeId, order: 'asc', to, ...PRUNED } as const
    const { rows } = await this.#store.list(found)
    for (const { id } of rows) if (!current.has(id)) await this.#store.remove('memory_version', tenant, id)
  }
}

/** Another request has changed the memory meanwhile. */
class ChangedError extends Error {}

const hashed = (content: string): Pick<MemoryFacts, 'content_sha256' | 'content_size_bytes'> => ({
  content_sha256: shaOf(content),
  content_size_bytes: Buffer.byteLength(content),
})

/** Throws ApiError if another memory has this path, or one of both would be a folder of the other. */
function refuseConflict(memories: readonly MemoryFacts[], path: string, id: string | undefined): void {
  const other = memories.find(
    (one) => one.id !== id && (one.path === path || one.path.startsWith(`${path}/`) || path.startsWith(`${one.path}/`)),
  )
  if (other === undefined) return
  throw new ApiError('memory_path_conflict_error', `path: memory ${other.id} is at ${other.path}`, {
    details: { conflicting_memory_id: other.id, conflicting_path: other.path },
    headers: { 'x-should-retry': 'false' },
  })
}

const notAsExpected = (id: string): ApiError =>
  new ApiError('memory_precondition_failed_error', `memory ${id} has another content by now; read it again`, {
    headers: { 'x-should-retry': 'false' },
  })

const memoryNotFound = (id: string): ApiError => new ApiError('not_found_error', `memory ${id} was not found`)
