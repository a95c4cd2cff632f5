import type { Resource, ResourceStore } from '../../../store/api-store.ts'
import { decodeCursor, readPage } from '../pages.ts'
import type { Page } from '../pages.ts'
import { toDelivery, wireDelivery } from './delivery.ts'

interface DeliveryList {
  tenant: string
  /** The ids of those whose deliveries are shown. */
  endpoints: ReadonlySet<string>
  /** Undefined: all. */
  statuses: readonly string[] | undefined
  page: string | undefined
  limit: number
}

/** A page of deliveries, newest first. Throws ApiError for a cursor that no list has given out. */
export async function listDeliveries(
  store: ResourceStore,
  { tenant, endpoints, statuses, page, limit }: DeliveryList,
): Promise<Page<object>> {
  const query = { kind: 'webhook_delivery', tenant, includeArchived: true } as const
  const found = await readPage<Resource>({
    order: 'desc',
    cursor: page === undefined ? undefined : decodeCursor(page),
    limit,
    read: (order, after, bounds) => store.list({ ...query, order, after, ...bounds }),
    matches: (row) =>
      endpoints.has(row.parent ?? '') && (statuses === undefined || statuses.includes(toDelivery(row).kept.status)),
  })
  return { ...found, items: found.items.map((row) => wireDelivery(toDelivery(row))) }
}
