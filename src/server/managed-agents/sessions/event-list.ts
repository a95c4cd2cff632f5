import type { Context } from 'hono'
import { parseWall } from '../../../clock.ts'
import type { NumberedEvent, Session } from '../../../index.ts'
import type { ServerEnv } from '../../context.ts'
import { ApiError } from '../../errors.ts'
import { EVENT_TYPES } from './event-types.ts'
import { readLimit, rest } from '../pages.ts'
import { readBounds, readList, readOrder } from '../query.ts'
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
  const read = (wanted: number): Promise<NumberedEvent[]> =>
    session.history({
      descending,
      limit: wanted,
      ...(types === undefined ? {} : { types }),
      ...(place === undefined ? {} : descending ? { before: place } : { after: place }),
    })
  for (;;) {
    const wanted = limit + 1 - found.length
    const page = await read(wanted)
    found.push(...page.filter((entry) => within(entry, from, to)))
    place = page.at(-1)?.number
    if (found.length > limit) place = found[limit - 1]?.number
    // A page may be short because it is large.
    if (place === undefined || found.length > limit || (page.length < wanted && found.length > 0)) break
    await rest()
  }
  const more = found.length > limit || (place !== undefined && (await read(1)).length > 0)
  return {
    data: found.slice(0, limit).map(({ event }) => wireEvent(event)),
    next_page: more ? `page_${place}` : null,
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
