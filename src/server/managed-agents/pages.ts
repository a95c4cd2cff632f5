import { parseWall } from '../../clock.ts'
import type { ReadBounds, Rows } from '../../store/api-store.ts'
import { ApiError } from '../errors.ts'

const DEFAULT_LIMIT = 20
const MAX_LIMIT = 100

/** Where a page begins: behind this place, towards `next` or back towards `prev`. */
export interface Cursor extends Placed {
  direction: 'next' | 'prev'
}

/** What `?page=` holds. Opaque to clients. */
const encodeCursor = ({ direction, createdAt, id }: Cursor): string =>
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

interface PageRequest<T extends Placed & Sized> {
  /** As a list was asked to sort. */
  order: 'asc' | 'desc'
  cursor: Cursor | undefined
  limit: number
  /** Some in this order behind `after`. */
  read: (order: 'asc' | 'desc', after: Placed | undefined, bounds: ReadBounds) => Promise<Rows<T>>
  /** What the page shows; the rest is passed over. */
  matches: (item: T) => boolean
}

/** What takes memory as it is read. */
interface Sized {
  body: string
}

export interface Page<T> {
  items: T[]
  nextPage: string | null
  prevPage: string | null
}

/** Characters of a page: it has one item at least, and no more than the one that makes it so large. */
const PAGE_CHARS = 2 ** 20

/** What is looked at in one go. */
const CHUNK: ReadBounds = { limit: 200, maxSize: 2 ** 18 }

/** One page of a list, in either direction, with the cursors to its neighbours. Others have their turn after each look at many rows. */
export async function readPage<T extends Placed & Sized>(request: PageRequest<T>): Promise<Page<T>> {
  const { order, cursor, limit } = request
  const back = cursor?.direction === 'prev'
  const search = new Search(request, back === (order === 'desc') ? 'asc' : 'desc')
  while (!(await search.step())) await rest()
  const { found: items, more } = search
  if (back) items.reverse()
  const at = (direction: Cursor['direction'], item: T | undefined): string | null =>
    item === undefined ? null : encodeCursor({ direction, createdAt: item.createdAt, id: item.id })
  return {
    items: items.slice(0, limit),
    nextPage: back || more ? at('next', items.at(-1)) : null,
    prevPage: (back && more) || (!back && cursor !== undefined) ? at('prev', items[0]) : null,
  }
}

/** Looks for what a page shows, a bounded number of rows at a time. */
class Search<T extends Placed & Sized> {
  readonly #request: PageRequest<T>
  readonly #order: 'asc' | 'desc'
  #after: Placed | undefined
  #chars = 0
  readonly found: T[] = []
  /** There is more of it than the page has room for. */
  more = false

  constructor(request: PageRequest<T>, order: 'asc' | 'desc') {
    this.#request = request
    this.#order = order
    this.#after = request.cursor
  }

  /** Looks at some rows; true when the page is complete. */
  async step(): Promise<boolean> {
    const { read, matches, limit } = this.#request
    const { rows, more } = await read(this.#order, this.#after, CHUNK)
    for (const item of rows) {
      this.#after = item
      if (!matches(item)) continue
      this.more = this.found.length === limit || this.#chars >= PAGE_CHARS
      if (this.more) return true
      this.found.push(item)
      this.#chars += item.body.length
    }
    return !more
  }
}

/** Lets others have their turn. */
export const rest = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
