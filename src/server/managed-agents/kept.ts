import { formatWall, parseWall } from '../../clock.ts'
import { ApiError } from '../errors.ts'
import { decodeCursor, readPage } from './pages.ts'
import type { Page, Placed } from './pages.ts'
import type { Resource, ResourceKind, ResourceQuery, ResourceStore } from '../../store/api-store.ts'

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
  /** Entries that are in no store: lists sort them as older than all others. */
  builtIn?: readonly T[]
  /** Default: all. */
  matches?: (item: T) => boolean
}

/** One page of the resources of a kind. Throws ApiError for a cursor that no list has given out. */
export async function listKept<T extends Kept>(
  store: ResourceStore,
  { page, limit, order = 'desc', from, to, builtIn = [], matches, ...query }: KeptList<T>,
): Promise<Page<T>> {
  const within = ({ created_at }: T): boolean =>
    parseWall(created_at) >= (from ?? -Infinity) && parseWall(created_at) <= (to ?? Infinity)
  const others = builtIn.filter(within).map((item) => ({ createdAt: 0, id: item.id, body: JSON.stringify(item) }))
  const read = ({ body }: Pick<Resource, 'body'>): T => JSON.parse(body) as T
  const found = await readPage<Pick<Resource, 'createdAt' | 'id' | 'body'>>({
    order,
    cursor: page === undefined ? undefined : decodeCursor(page),
    limit,
    matches: (row) => matches === undefined || matches(read(row)),
    async read(readOrder, after, bounds) {
      const compare = (a: Placed, b: Placed): number => (readOrder === 'asc' ? byPlace(a, b) : byPlace(b, a))
      const { rows, more } = await store.list({ ...query, order: readOrder, after, from, to, ...bounds })
      const last = more ? rows.at(-1) : undefined
      // Behind the last row there may be others of the store's, which come first.
      const between = others.filter(
        (row) => (after === undefined || compare(after, row) < 0) && (last === undefined || compare(row, last) < 0),
      )
      return { rows: [...rows, ...between].toSorted(compare), more }
    },
  })
  return { ...found, items: found.items.map(read) }
}

/** How often a change is tried that other requests come before. */
export const MOST_TRIES = 20

/**
 * Changes a resource that other requests may change at the same time: `change` gets it as it is, and gets it again if another
 * request came first. Nothing is written if it gives back what it got. Undefined if there is no such resource. Throws ApiError.
 */
export async function changeKept<T extends Kept & { version?: number }>(
  store: ResourceStore,
  { kind, tenant, id }: Pick<Resource, 'kind' | 'tenant' | 'id'>,
  change: (before: T) => T,
): Promise<T | undefined> {
  for (let tries = 0; tries < MOST_TRIES; tries += 1) {
    const row = await store.get(kind, tenant, id)
    if (row === undefined) return undefined
    const before = JSON.parse(row.body) as T
    const after = change(before)
    if (after === before || (await store.replace(row, toRow(kind, tenant, after, row.parent)))) return after
  }
  throw changedMeanwhile(kind, id)
}

export const changedMeanwhile = (kind: ResourceKind, id: string): ApiError =>
  new ApiError(
    'invalid_request_error',
    `${kind.replaceAll('_', ' ')} ${id} is being changed by other requests; try again`,
    { status: 409 },
  )

const byPlace = (a: Placed, b: Placed): number => a.createdAt - b.createdAt || (a.id < b.id ? -1 : Number(a.id > b.id))
