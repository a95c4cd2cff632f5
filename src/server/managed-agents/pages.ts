import { parseWall } from '../../clock.ts'
import { ApiError } from '../errors.ts'

const DEFAULT_LIMIT = 20
const MAX_LIMIT = 100

/** Where a page begins: behind this place, towards `next` or back towards `prev`. */
export interface Cursor extends Placed {
  direction: 'next' | 'prev'
}

/** What `?page=` holds. Opaque to clients. */
export const encodeCursor = ({ direction, createdAt, id }: Cursor): string =>
  `page_${Buffer.from(JSON.stringify([direction, createdAt, id])).toString('base64url')}`

/** Throws ApiError for anything that no list has given out. */
export function decodeCursor(page: string): Cursor {
  try {
    const value: unknown = JSON.parse(Buffer.from(page.replace(/^page_/, ''), 'base64url').toString('utf8'))
    if (Array.isArray(value)) {
      const [direction, createdAt, id]: unknown[] = value
      if ((direction === 'next' || direction === 'prev') && Number.isSafeInteger(createdAt) && typeof id === 'string')
        return { direction, createdAt: createdAt as number, id }
    }
  } catch {
    // Not ours: said below.
  }
  throw new ApiError(
    'invalid_request_error',
    'page: is not a cursor of this list; take next_page or prev_page as it came',
  )
}

/** How many a page holds. Throws ApiError for what is not a number from 1 to 100. */
export function readLimit(
  limit: string | undefined,
  fallback: number = DEFAULT_LIMIT,
  max: number = MAX_LIMIT,
): number {
  if (limit === undefined || limit === '') return fallback
  const value = Number(limit)
  if (!Number.isInteger(value) || value < 1 || value > max)
    throw new ApiError('invalid_request_error', `limit: must be a whole number from 1 to ${max}`)
  return value
}

/** The milliseconds of a timestamp in a query. Throws ApiError. */
export function readTime(name: string, value: string | undefined): number | undefined {
  if (value === undefined || value === '') return undefined
  const ms = /^\d{4}-\d\d-\d\d/.test(value) ? parseWall(value) : Number.NaN
  if (Number.isNaN(ms))
    throw new ApiError(
      'invalid_request_error',
      `${name}: must be a timestamp in RFC 3339 format, like 2026-01-31T12:00:00Z`,
    )
  return ms
}

/** Where an item stands in its list. */
export interface Placed {
  createdAt: number
  id: string
}

interface PageRequest<T extends Placed> {
  /** As a list was asked to sort. */
  order: 'asc' | 'desc'
  cursor: Cursor | undefined
  limit: number
  /** Reads at most `limit` in this order behind `after`. */
  read: (order: 'asc' | 'desc', after: Placed | undefined, limit: number) => T[]
  /** What the page shows; the rest is passed over. */
  matches: (item: T) => boolean
}

export interface Page<T> {
  items: T[]
  nextPage: string | null
  prevPage: string | null
}

/** Rows looked at in one read. */
const CHUNK = 200

/** One page of a list, in either direction, with the cursors to its neighbours. */
export function readPage<T extends Placed>({ order, cursor, limit, read, matches }: PageRequest<T>): Page<T> {
  const back = cursor?.direction === 'prev'
  const readOrder = back === (order === 'desc') ? 'asc' : 'desc'
  const found: T[] = []
  let after: Placed | undefined = cursor
  for (;;) {
    const chunk = read(readOrder, after, Math.max(CHUNK, limit + 1))
    for (const item of chunk) if (found.length <= limit && matches(item)) found.push(item)
    after = chunk.at(-1)
    if (found.length > limit || chunk.length < Math.max(CHUNK, limit + 1)) break
  }
  const more = found.length > limit
  const items = found.slice(0, limit)
  if (back) items.reverse()
  const at = (direction: Cursor['direction'], item: T | undefined): string | null =>
    item === undefined ? null : encodeCursor({ direction, createdAt: item.createdAt, id: item.id })
  return {
    items,
    nextPage: back || more ? at('next', items.at(-1)) : null,
    prevPage: (back && more) || (!back && cursor !== undefined) ? at('prev', items[0]) : null,
  }
}
