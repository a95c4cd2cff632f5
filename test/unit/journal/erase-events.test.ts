import { expect, test } from 'vitest'
import { eraseEvents } from '../../../src/journal/erase-events.ts'
import { MemoryStore } from '../../../src/store/memory.ts'
import { event } from '../../conformance/events.ts'
import { record } from '../../conformance/sessions.ts'

test.each([
  [10, 100, []],
  [10, 2_000_000, [3, 5, 7, 9]],
  [1, 20_000_000, [2, 2, 2, 2]],
  [0, 0, []],
])('%i events of %i bytes are removed a few megabytes at a time', async (count, bytes, expected) => {
  const store = new MemoryStore()
  const trimmed: number[] = []
  const trim = store.trimEvents.bind(store)
  store.trimEvents = (uid, before) => {
    trimmed.push(before)
    return trim(uid, before)
  }
  await store.put(record('t', 'k', { uid: 'one' }))
  const json = JSON.stringify('x'.repeat(Math.max(0, bytes - 2)))
  await store.appendEvents(
    'one',
    Array.from({ length: count }, (_, index) => event(index + 1, { json })),
  )
  await eraseEvents(store, 'one')
  expect(trimmed).toEqual(expected)
})
