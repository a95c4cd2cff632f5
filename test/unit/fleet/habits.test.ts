import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Habits, unlearned } from '../../../src/fleet/habits.ts'
import type { Forecast } from '../../../src/fleet/habits.ts'

const SECOND = 1_000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE

/** Sessions that speak again after this long, over and over; resolves to the time when it is over. */
function repeat(
  habits: Habits,
  inactivityTimeoutMs: number,
  { sessions = 20, times = 20, agent = 'a', from = 0 } = {},
): number {
  for (let time = 0; time <= times; time += 1) {
    for (let session = 0; session < sessions; session += 1) {
      const now = from + time * inactivityTimeoutMs + session
      if (time > 0) habits.speaks(`${agent}-${inactivityTimeoutMs}-${session}`, now)
      habits.fallsSilent(`${agent}-${inactivityTimeoutMs}-${session}`, agent, now)
    }
  }
  return from + times * inactivityTimeoutMs + sessions
}

/** Sessions that say one thing each, one every second, and never come back. */
function once(habits: Habits, count: number, agent = 'a'): number {
  for (let number = 0; number < count; number += 1)
    habits.fallsSilent(`${agent}-once-${number}`, agent, number * SECOND)
  return count * SECOND
}

describe('where nothing was seen', () => {
  test('every number is one, and the longer a silence the less is expected', () => {
    const habits = new Habits()
    let last: Forecast | undefined
    for (const silentMs of [-5, 0, 1, SECOND, MINUTE, HOUR, 25 * HOUR, 1e12, Number.MAX_SAFE_INTEGER]) {
      for (const withinMs of [0, MINUTE, Infinity]) {
        const forecast = habits.forecast('s', 'a', silentMs, withinMs)
        expect([forecast.savedPerMs, forecast.chance].every(Number.isFinite)).toBe(true)
        expect(forecast.learned).toBe(false)
        expect(forecast.chance).toBeGreaterThanOrEqual(0)
        expect(forecast.chance).toBeLessThanOrEqual(1)
        expect(forecast.savedPerMs).toBeLessThanOrEqual(last?.savedPerMs ?? Infinity)
        last = forecast
      }
    }
  })

  test('it is likely enough that a session speaks again within the day', () => {
    expect(unlearned(0).chance).toBeGreaterThan(0.9)
    expect(unlearned(30 * MINUTE).chance).toBeGreaterThan(0.5)
  })
})

test('the time of day makes no number that is none, whatever happens', () => {
  const steps = fc.array(
    fc.record({
      what: fc.constantFrom('speaks', 'fallsSilent', 'forget', 'forecast'),
      session: fc.constantFrom('x', 'y', 'z'),
      agent: fc.constantFrom('a', 'b'),
      laterMs: fc.integer({ min: 0, max: 40 * HOUR }),
    }),
    { maxLength: 60 },
  )
  fc.assert(
    fc.property(steps, (history) => {
      const habits = new Habits()
      let now = 0
      for (const { what, session, agent, laterMs } of history) {
        now += laterMs
        if (what === 'speaks') habits.speaks(session, now)
        else if (what === 'fallsSilent') habits.fallsSilent(session, agent, now)
        else if (what === 'forget') habits.forget(session)
        const { savedPerMs, chance } = habits.forecast(session, agent, laterMs, 6 * HOUR)
        expect(savedPerMs).toBeGreaterThan(0)
        expect(Number.isFinite(savedPerMs)).toBe(true)
        expect(chance >= 0 && chance <= 1).toBe(true)
      }
    }),
  )
})

test('a few silences are not enough to conclude anything', () => {
  const habits = new Habits()
  repeat(habits, 15 * MINUTE, { sessions: 1, times: 19 })
  expect(habits.forecast('a-900000-0', 'a', MINUTE, HOUR)).toEqual(new Habits().forecast('s', 'a', MINUTE, HOUR))
  repeat(habits, 15 * MINUTE, { sessions: 1, times: 2, from: 24 * HOUR })
  expect(habits.forecast('a-900000-0', 'a', MINUTE, HOUR)).not.toEqual(new Habits().forecast('s', 'a', MINUTE, HOUR))
})

describe('sessions that come back every quarter of an hour', () => {
  const habits = new Habits()
  repeat(habits, 15 * MINUTE)
  const at = (silentMs: number, withinMs = HOUR): Forecast => habits.forecast('a-900000-0', 'a', silentMs, withinMs)

  test('are expected then, and not before', () => {
    expect(at(0).chance).toBeGreaterThan(0.9)
    expect(at(MINUTE, 5 * MINUTE).chance).toBeLessThan(0.1)
  })

  test('are worth more the nearer their time comes, and little when it has passed', () => {
    expect(at(10 * MINUTE).savedPerMs).toBeGreaterThan(2 * at(MINUTE).savedPerMs)
    expect(at(40 * MINUTE).savedPerMs).toBeLessThan(at(MINUTE).savedPerMs)
  })

  test('are worth nothing more in the time left if that ends before', () => {
    expect(at(10 * MINUTE, MINUTE).savedPerMs).toBeLessThan(at(10 * MINUTE).savedPerMs / 2)
  })
})

test('sessions that never come back are not expected, as soon as that was seen', () => {
  const habits = new Habits()
  const now = once(habits, 2_000)
  habits.fallsSilent('new', 'a', now)
  expect(habits.forecast('new', 'a', 0, 10 * MINUTE).chance).toBeLessThan(0.03)
  expect(habits.forecast('new', 'a', 0, 10 * MINUTE).savedPerMs).toBeLessThan(unlearned(0).savedPerMs / 20)
})

test('an agent’s habits are its own', () => {
  const habits = new Habits()
  once(habits, 2_000, 'tasks')
  expect(habits.forecast('s', 'chat', MINUTE, HOUR)).toEqual(new Habits().forecast('s', 'chat', MINUTE, HOUR))
})

test('a session that came back quickly is expected sooner than one of the same agent that did not', () => {
  const habits = new Habits()
  const now = Math.max(repeat(habits, 2 * SECOND), repeat(habits, HOUR))
  expect(now).toBeGreaterThan(0)
  const quick = habits.forecast('a-2000-0', 'a', 0, MINUTE)
  const slow = habits.forecast('a-3600000-0', 'a', 0, MINUTE)
  expect(quick.chance).toBeGreaterThan(0.9)
  expect(slow.chance).toBeLessThan(0.1)
})

test('habits change: what was seen lately counts more', () => {
  const habits = new Habits()
  const now = repeat(habits, 10 * SECOND, { sessions: 100, times: 40 })
  expect(habits.forecast('other', 'a', 0, MINUTE).chance).toBeGreaterThan(0.9)
  repeat(habits, 20 * MINUTE, { sessions: 100, times: 80, from: now })
  expect(habits.forecast('other', 'a', 0, MINUTE).chance).toBeLessThan(0.5)
})

test('what takes longer to start is worth more', () => {
  const habits = new Habits()
  for (let start = 0; start < 50; start += 1) habits.recordStart('slow', 4_000)
  const ratio = habits.forecast('s', 'slow', 0, HOUR).savedPerMs / habits.forecast('s', 'other', 0, HOUR).savedPerMs
  expect(ratio).toBeCloseTo(10, 1)
})

test('a deleted session says nothing about the others', () => {
  const habits = new Habits()
  const before = habits.forecast('s', 'a', 0, HOUR)
  for (let number = 0; number < 500; number += 1) {
    habits.fallsSilent(`q-${number}`, 'a', 0)
    habits.forget(`q-${number}`)
  }
  habits.fallsSilent('s', 'a', 10 * HOUR)
  expect(habits.forecast('s', 'a', 0, HOUR)).toEqual(before)
})

test('memory stays bounded: of many sessions and agents the oldest are forgotten', () => {
  const habits = new Habits()
  repeat(habits, 10 * SECOND, { sessions: 1, times: 50, agent: 'first' })
  expect(habits.forecast('first-10000-0', 'first', 0, HOUR)).not.toEqual(unlearnedWithin(HOUR))
  for (let number = 0; number < 20_000; number += 1) habits.fallsSilent(`s-${number}`, 'a', HOUR)
  for (let number = 0; number < 250; number += 1) habits.recordStart(`agent-${number}`, 400)
  expect(habits.forecast('first-10000-0', 'first', 0, HOUR)).toEqual(unlearnedWithin(HOUR))
})

/** Where nothing was seen. */
const unlearnedWithin = (withinMs: number): Forecast => new Habits().forecast('s', 'a', 0, withinMs)
