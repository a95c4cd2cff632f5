import type { Resource, ResourceStore } from '../../../store/api-store.ts'
import { typeOf } from './event-types.ts'
import type { Told } from './delivery.ts'

interface Announcing {
  /** Whether anybody wants to know of this tenant. */
  isHeard: (tenant: string) => boolean
  /** A session may have news; the function that it gives is called when they are there. */
  expect: (tenant: string, session: string) => Promise<() => void>
  /** Resolves when it is kept. */
  tell: (tenant: string, told: Told) => Promise<void>
}

type Change = 'created' | 'updated' | 'archived' | 'deleted'

/** The same store, which tells what is done to resources. */
export function announced(store: ResourceStore, { isHeard, expect, tell }: Announcing): ResourceStore {
  const tellOf = async ({ kind, tenant, id, parent }: Resource, change: Change): Promise<void> => {
    const type = typeOf(kind, change)
    if (type === undefined || !isHeard(tenant)) return
    await tell(tenant, { type, id, more: kind === 'vault_credential' ? { vault_id: parent ?? '' } : undefined })
  }
  const around = async <T>(tenant: string, session: string, work: () => Promise<T>): Promise<T> => {
    if (!isHeard(tenant)) return work()
    const done = await expect(tenant, session)
    try {
      return await work()
    } finally {
      done()
    }
  }
  return {
    get: (...words) => store.get(...words),
    version: (...words) => store.version(...words),
    versions: (...words) => store.versions(...words),
    list: (...words) => store.list(...words),
    tenantsWith: (...words) => store.tenantsWith(...words),
    count: (...words) => store.count(...words),
    size: (...words) => store.size(...words),
    async create(resource) {
      if (resource.kind === 'session') return around(resource.tenant, resource.id, () => store.create(resource))
      await store.create(resource)
      await tellOf(resource, 'created')
    },
    async replace(before, after) {
      const isArchived = before.archivedAt === null && after.archivedAt !== null
      const replace = (): Promise<boolean> => store.replace(before, after)
      // What else changes in a session is among its events.
      if (before.kind === 'session') return isArchived ? around(before.tenant, before.id, replace) : replace()
      const isDone = await replace()
      if (isDone) await tellOf(before, isArchived ? 'archived' : 'updated')
      return isDone
    },
    async remove(kind, tenant, id) {
      const remove = (): Promise<void> => store.remove(kind, tenant, id)
      const isTold = isHeard(tenant) && (kind === 'session' || typeOf(kind, 'deleted') !== undefined)
      const row = isTold ? await store.get(kind, tenant, id) : undefined
      if (row === undefined) return remove()
      if (kind === 'session') return around(tenant, id, remove)
      await remove()
      await tellOf(row, 'deleted')
    },
  }
}
