import type { StoredEvent } from './store.ts'

/** What a page of events has at most, in bytes of JSON, unless it is told otherwise. */
export const EVENTS_PAGE_BYTES: number = 2 ** 20

/** What is wrong with adding these events after number `last`; undefined when nothing is. */
export function badAppend(
  events: readonly StoredEvent[],
  last: number,
  idOf: (number: number) => string | undefined,
): string | undefined {
  let next = last + 1
  for (const { number, id } of events) {
    if (number === next) {
      next += 1
      continue
    }
    if (number > next) return `event ${number} would leave a gap after ${next - 1}`
    if (idOf(number) !== id) return `event ${number} is taken by another; does a second host write this session?`
  }
  return undefined
}
