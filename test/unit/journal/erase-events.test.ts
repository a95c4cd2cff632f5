import { expect, test } from 'vitest'
import { eraseEvents } from '../../../src/journal/erase-events.ts'
import { MemoryStore } from '../../../src/store/memory.ts'
import { event } from '../../conformance/events.ts'
import { OneHost } from '../../conformance/one-host.ts'
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
  store.trimEvents = (claim, before) => {
    trimmed.push(before)
    return trim(claim, before)
  }
  const host = await OneHost.of(store)
  await host.put(record('t', 'k', { uid: 'one' }))
  const json = JSON.stringify('x'.repeat(Math.max(0, bytes - 2)))
  await host.appendEvents(
    'one',
    Array.from({ length: count }, (_, index) => event(index + 1, { json })),
  )
  await eraseEvents(store, host.claimOf('one'))
  expect(trimmed).toEqual(expected)
})
