import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Demand } from '../../../src/fleet/demand.ts'

const bounds = { min: 0, max: 10 }

test('nobody is expected before anybody came', () => {
  expect(new Demand(0, 400).target(bounds, 0)).toBe(0)
})

test('after an arrival one spare waits for the next, and for some minutes', () => {
  const demand = new Demand(0, 400)
  demand.recordArrival(1_000)
  expect(demand.target(bounds, 1_000)).toBe(1)
  expect(demand.target(bounds, 5 * 60_000)).toBe(1)
  expect(demand.target(bounds, 30 * 60_000)).toBe(0)
})

test('the target is what arrives while a process starts, twice over', () => {
  const demand = new Demand(0, 400)
  // Four a second for five minutes: 1.6 arrive while one starts.
  let now = 0
  for (; now < 5 * 60_000; now += 250) demand.recordArrival(now)
  expect(demand.rate(now) * 1_000).toBeCloseTo(4, 0)
  expect(demand.target(bounds, now)).toBe(4)
})

test('slow starts ask for more spares', () => {
  const slow = new Demand(0, 400)
  for (let start = 0; start < 50; start += 1) slow.recordStart(2_000)
  for (let now = 0; now < 5 * 60_000; now += 1_000) slow.recordArrival(now)
  expect(slow.target(bounds, 5 * 60_000)).toBe(4)
})

test('whatever happens, the target keeps to its bounds and is a whole number', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 100_000 }), { maxLength: 200 }),
      fc.array(fc.integer({ min: 1, max: 100_000 }), { maxLength: 10 }),
      fc.integer({ min: 0, max: 3 }),
      fc.integer({ min: 0, max: 3 }),
      (gaps, starts, min, more) => {
        const demand = new Demand(0, 400)
        let now = 0
        for (const ms of starts) demand.recordStart(ms)
        for (const gap of gaps) demand.recordArrival((now += gap))
        const target = demand.target({ min, max: min + more }, now)
        expect(Number.isInteger(target) && target >= min && target <= min + more).toBe(true)
      },
    ),
  )
})
