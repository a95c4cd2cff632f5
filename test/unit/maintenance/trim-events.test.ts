import { expect, test } from 'vitest'
import { EventTrim } from '../../../src/maintenance/trim-events.ts'
import { newRecord } from '../../../src/sessions/session-record.ts'
import { FakeClock, MemoryStore } from '../../../src/testing/index.ts'
import { OneHost } from '../../conformance/one-host.ts'

const NONE = { maxEvents: Infinity, maxEventAgeMs: Infinity, maxEventSizeBytes: Infinity }

/** A session with ten events of ten bytes, one a second; the last was a second ago. */
async function site() {
  const clock = new FakeClock()
  const store = new MemoryStore()
  const record = newRecord({ tenant: 't', key: 'k', agent: 'a', cwd: undefined }, 0)
  const host = await OneHost.of(store)
  await host.put(record)
  const numbers = Array.from({ length: 10 }, (_, index) => index + 1)
  await host.appendEvents(
    record.uid,
    numbers.map((number) => ({
      number,
      id: `e${number}`,
      type: 'x',
      at: clock.wall() - (11 - number) * 1_000,
      json: '"ten byte"',
    })),
  )
  const events = new EventTrim({
    store,
    clock,
    sessions: { trimEvents: ({ uid }, before) => host.trimEvents(uid, before).then(() => true) },
  })
  return {
    trim: (rules: Partial<typeof NONE>[], dryRun = false): Promise<number> =>
      events.trim(
        record,
        rules.map((rule) => ({ ...NONE, ...rule })),
        { dryRun },
      ),
    first: async (): Promise<number> => (await store.eventTotals(record.uid)).first,
  }
}

test.each([
  ['no rule', [{}], 1],
  ['a number that is not reached', [{ maxEvents: 10 }], 1],
  ['a number', [{ maxEvents: 4 }], 7],
  ['an age', [{ maxEventAgeMs: 4_000 }], 7],
  ['a size', [{ maxEventSizeBytes: 45 }], 7],
  ['a size that is just reached', [{ maxEventSizeBytes: 100 }], 1],
  ['the strictest of a tenant’s rules', [{ maxEvents: 8, maxEventAgeMs: 6_000, maxEventSizeBytes: 45 }], 7],
  ['the stricter rule of tenant and agent', [{ maxEvents: 8 }, { maxEvents: 4 }], 7],
  ['rules that nothing meets', [{ maxEventAgeMs: 1, maxEventSizeBytes: 1 }], 10],
])('By %s the oldest events go, and the last one stays', async (_which, rules, first) => {
  const made = await site()
  expect(await made.trim(rules)).toBe(first - 1)
  expect(await made.first()).toBe(first)
})

test('A dry run counts them, and removes none', async () => {
  const made = await site()
  expect(await made.trim([{ maxEvents: 4 }], true)).toBe(6)
  expect(await made.first()).toBe(1)
})

test('A session without events, and one that another host has now, keep what they have', async () => {
  const clock = new FakeClock()
  const store = new MemoryStore()
  const record = newRecord({ tenant: 't', key: 'k', agent: 'a', cwd: undefined }, 0)
  const host = await OneHost.of(store)
  await host.put(record)
  let asked = 0
  const events = new EventTrim({ store, clock, sessions: { trimEvents: () => Promise.resolve((asked += 1) === 0) } })
  const trim = (rule: Partial<typeof NONE>): Promise<number> =>
    events.trim(record, [{ ...NONE, ...rule }], { dryRun: false })
  for (const rule of [{ maxEvents: 0 }, { maxEventAgeMs: 1 }, { maxEventSizeBytes: 0 }])
    expect(await trim(rule)).toBe(0)
  expect(asked).toBe(0)
  const event = { id: 'e', type: 'x', at: 0, json: '""' }
  await host.appendEvents(
    record.uid,
    [1, 2].map((number) => ({ ...event, id: `e${number}`, number })),
  )
  expect([await trim({ maxEvents: 1 }), asked]).toEqual([0, 1])
})
