import fc from 'fast-check'
import { expect, test } from 'vitest'
import { readResidency } from '../../../src/options.ts'
import { dueToLeave, isPinned, jitteredMaxAge, leastMissed } from '../../../src/pool/residency.ts'
import type { Resident } from '../../../src/pool/residency.ts'
import type { WorkerState } from '../../../src/worker/lifecycle.ts'

const policy = readResidency({
  idleTtlMs: 1_000,
  maxAgeMs: 10_000,
  maxTurnsPerWorker: 5,
  maxMemoryBytes: 100,
  pinLimitMs: 5_000,
})

const worker = (facts: Partial<Resident> = {}): Resident => ({
  state: 'idle',
  reserved: false,
  session: {},
  startedAt: 0,
  lastUsedAt: 0,
  maxAgeMs: 10_000,
  turns: 1,
  memoryBytes: undefined,
  pin: undefined,
  ...facts,
})

test('a worker idle for less than the TTL stays, and for the TTL leaves', () => {
  expect(dueToLeave(worker(), policy, 999)).toBeUndefined()
  expect(dueToLeave(worker(), policy, 1_000)).toBe('idle')
  expect(dueToLeave(worker({ lastUsedAt: 500 }), policy, 1_000)).toBeUndefined()
})

test.each([
  ['age', { maxAgeMs: 900, lastUsedAt: 900 }],
  ['memory', { memoryBytes: 101, lastUsedAt: 900 }],
  ['turns', { turns: 5, lastUsedAt: 900 }],
  [undefined, { memoryBytes: 100, turns: 4, lastUsedAt: 900 }],
] as const)('the reason %s is told from the facts', (reason, facts) => {
  expect(dueToLeave(worker(facts), policy, 900)).toBe(reason)
})

test('a spare leaves for its age or its size, never for idleness or turns', () => {
  expect(dueToLeave(worker({ session: undefined, turns: 0 }), policy, 9_999)).toBeUndefined()
  expect(dueToLeave(worker({ session: undefined, turns: 0 }), policy, 10_000)).toBe('age')
  expect(dueToLeave(worker({ session: undefined, turns: 0, memoryBytes: 101 }), policy, 1)).toBe('memory')
})

test.each(['starting', 'busy', 'closing', 'closed'] as WorkerState[])(
  'a worker that is %s is never told to leave',
  (state) => {
    const due = worker({ state, maxAgeMs: 1, turns: 99, memoryBytes: 999 })
    expect(dueToLeave(due, policy, 1e9)).toBeUndefined()
    expect(leastMissed([due], policy, 1e9)).toBeUndefined()
  },
)

test('a reserved worker is never told to leave', () => {
  const reserved = worker({ reserved: true, turns: 99 })
  expect(dueToLeave(reserved, policy, 1e9)).toBeUndefined()
  expect(leastMissed([reserved], policy, 1e9)).toBeUndefined()
})

test('a pinned worker stays, but not for ever', () => {
  const pinned = worker({ pin: { sinceMs: 1_000 }, turns: 99 })
  expect(isPinned(pinned, policy, 5_999)).toBe(true)
  expect(dueToLeave(pinned, policy, 5_999)).toBeUndefined()
  expect(leastMissed([pinned], policy, 5_999)).toBeUndefined()
  expect(dueToLeave(pinned, policy, 6_000)).toBe('turns')
  expect(leastMissed([pinned], policy, 6_000)).toBe(pinned)
})

test('"none" never makes a worker leave for idleness, age or size', () => {
  const endless = readResidency({ idleTtl: 'none', maxAge: 'none', maxMemory: 'none' })
  const old = worker({ maxAgeMs: jitteredMaxAge(endless, () => 1), memoryBytes: 2 ** 40 })
  expect(dueToLeave(old, endless, Number.MAX_SAFE_INTEGER)).toBeUndefined()
})

test('spares make room first, then the session that was unused for longest', () => {
  const oldSession = worker({ lastUsedAt: 1 })
  const newSession = worker({ lastUsedAt: 9 })
  const oldSpare = worker({ session: undefined, lastUsedAt: 5 })
  const newSpare = worker({ session: undefined, lastUsedAt: 7 })
  const order: Resident[] = []
  const left = [newSession, newSpare, oldSession, oldSpare]
  for (let next = leastMissed(left, policy, 10); next !== undefined; next = leastMissed(left, policy, 10)) {
    order.push(next)
    left.splice(left.indexOf(next), 1)
  }
  expect(order).toEqual([oldSpare, newSpare, oldSession, newSession])
})

test('nobody leaves where nobody is', () => {
  expect(leastMissed([], policy, 0)).toBeUndefined()
})

test('ages are spread over the last tenth', () => {
  fc.assert(
    fc.property(fc.double({ min: 0, max: 1, noNaN: true }), (chance) => {
      const age = jitteredMaxAge(policy, () => chance)
      expect(age).toBeGreaterThanOrEqual(9_000)
      expect(age).toBeLessThanOrEqual(10_000)
    }),
  )
})
