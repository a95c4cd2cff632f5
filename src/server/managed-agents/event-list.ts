import type { Context } from 'hono'
import { parseWall } from '../../clock.ts'
import type { NumberedEvent, Session } from '../../index.ts'
import type { ServerEnv } from '../context.ts'
import { ApiError } from '../errors.ts'
import { EVENT_TYPES } from './event-types.ts'
import { readLimit } from './pages.ts'
import { readBounds, readList, readOrder } from './query.ts'
import { wireEvent } from './wire-event.ts'

const MAX_EVENTS_PAGE = 1_000

/** A list of events, in either order, with its cursor. */
export async function listEvents(
  c: Context<ServerEnv>,
  session: Session,
): Promise<{ data: unknown[]; next_page: string | null }> {
  const descending = readOrder(c, 'asc') === 'desc'
  const limit = readLimit(c.req.query('limit'), 100, MAX_EVENTS_PAGE)
  const { from = -Infinity, to = Infinity } = readBounds(c)
  const types = readList(c.req.queries(), 'types', EVENT_TYPES)
  const found: NumberedEvent[] = []
  let place = readEventCursor(c.req.query('page'))
  for (;;) {
    const page = await session.history({
      descending,
      limit: limit + 1,
      ...(types === undefined ? {} : { types }),
      ...(place === undefined ? {} : descending ? { before: place } : { after: place }),
    })
    for (const entry of page) if (within(entry, from, to)) found.push(entry)
    place = page.at(-1)?.number
    if (found.length > limit || page.length <= limit) break
  }
  const last = found[limit - 1]
  return {
    data: found.slice(0, limit).map(({ event }) => wireEvent(event)),
    next_page: found.length > limit && last !== undefined ? `page_${last.number}` : null,
  }
}

function within({ event: { processed_at } }: NumberedEvent, from: number, to: number): boolean {
  const at = processed_at === null ? Infinity : parseWall(processed_at)
  return (at >= from || from === -Infinity) && (at <= to || to === Infinity)
}

function readEventCursor(page: string | undefined): number | undefined {
  if (page === undefined || page === '') return undefined
  const number = /^page_(\d{1,15})$/.exec(page)?.[1]
  if (number === undefined)
    throw new ApiError('invalid_request_error', 'page: is not a cursor of this list; take next_page as it came')
  return Number(number)
}
