import { formatWall, parseWall } from '../../clock.ts'
import { decodeCursor, readPage } from './pages.ts'
import type { Page, Placed } from './pages.ts'
import type { Resource, ResourceKind, ResourceQuery, ResourceStore } from './resource-store.ts'

/** What all resources have, as the wire shows them and as they are kept. */
interface Kept {
  id: string
  created_at: string
  updated_at: string
  archived_at: string | null
}

/** The row of a resource; its body is the resource itself. */
export const toRow = (
  kind: ResourceKind,
  tenant: string,
  resource: Kept & { version?: number },
  parent: string | null = null,
): Resource => ({
  kind,
  tenant,
  id: resource.id,
  version: resource.version ?? 1,
  createdAt: parseWall(resource.created_at),
  archivedAt: resource.archived_at === null ? null : parseWall(resource.archived_at),
  parent,
  body: JSON.stringify(resource),
})

/** The resource as it is once it is archived. `now`: milliseconds since the epoch. */
export function archived<T extends Kept>(resource: T, now: number): T {
  const at = formatWall(now)
  return { ...resource, archived_at: at, updated_at: at }
}

/** What every list can be asked for. */
export interface ListRequest {
  /** The cursor, as it came. */
  page: string | undefined
  limit: number
  includeArchived: boolean
  /** Bounds of the time of creation, both included, in milliseconds since the epoch. */
  from: number | undefined
  to: number | undefined
}

interface KeptList<T> extends ListRequest, Pick<ResourceQuery, 'kind' | 'tenant' | 'parent'> {
  /** Default: newest first. */
  order?: 'asc' | 'desc'
  /** Those that no store has: to lists they are older than all others. */
  builtIn?: readonly T[]
  /** Default: all. */
  matches?: (item: T) => boolean
}

/** One page of the resources of a kind, with rests. Throws ApiError for a cursor that no list has given out. */
export function* listKept<T extends Kept>(
  store: ResourceStore,
  { page, limit, order = 'desc', from, to, builtIn = [], matches, ...query }: KeptList<T>,
): Generator<undefined, Page<T>> {
  const within = ({ created_at }: T): boolean =>
    parseWall(created_at) >= (from ?? -Infinity) && parseWall(created_at) <= (to ?? Infinity)
  const others = builtIn.filter(within).map((item) => ({ createdAt: 0, id: item.id, body: JSON.stringify(item) }))
  const read = ({ body }: Pick<Resource, 'body'>): T => JSON.parse(body) as T
  const found = yield* readPage<Pick<Resource, 'createdAt' | 'id' | 'body'>>({
    order,
    cursor: page === undefined ? undefined : decodeCursor(page),
    limit,
    matches: (row) => matches === undefined || matches(read(row)),
    read(readOrder, after, count) {
      const compare = (a: Placed, b: Placed): number => (readOrder === 'asc' ? byPlace(a, b) : byPlace(b, a))
      const rows = store.list({ ...query, order: readOrder, after, limit: count, from, to })
      const behind = others.filter((row) => after === undefined || compare(after, row) < 0).toSorted(compare)
      return merged(rows, behind, compare)
    },
  })
  return { ...found, items: found.items.map(read) }
}

/** Both in their common order, the rows read one by one. */
function* merged<T extends Placed>(
  rows: Iterable<T>,
  others: readonly T[],
  compare: (a: Placed, b: Placed) => number,
): Generator<T> {
  const waiting = [...others]
  for (const row of rows) {
    while (waiting[0] !== undefined && compare(waiting[0], row) < 0) yield waiting.shift() as T
    yield row
  }
  yield* waiting
}

const byPlace = (a: Placed, b: Placed): number => a.createdAt - b.createdAt || (a.id < b.id ? -1 : Number(a.id > b.id))
