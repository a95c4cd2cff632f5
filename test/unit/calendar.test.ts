import { expect, test } from 'vitest'
import type { Clock } from '../../src/clock.ts'
import { calendarOf } from '../../src/calendar.ts'

const HOUR = 3_600_000

/** A clock that stands at noon, an hour after the machine has begun. */
function clockAt(): { clock: Clock; wall: number; passed: number } {
  const state = { wall: 12 * HOUR, passed: HOUR, clock: undefined as unknown as Clock }
  state.clock = {
    now: () => 0,
    wall: () => state.wall,
    uptime: () => state.passed,
    after: () => () => undefined,
  }
  return state
}

test('while the clock is not set, dates are what it says', () => {
  const state = clockAt()
  const calendar = calendarOf(state.clock)
  state.wall += HOUR
  state.passed += HOUR
  expect([calendar.earliest, calendar.latest, calendar.shift]).toEqual([13 * HOUR, 13 * HOUR, 0])
  expect(calendarOf(state.clock)).toBe(calendar)
})

test('a clock that was set forward makes nothing older than it is', () => {
  const state = clockAt()
  const calendar = calendarOf(state.clock)
  state.wall += 1_000 * HOUR
  state.passed += HOUR
  expect([calendar.earliest, calendar.latest, calendar.shift]).toEqual([13 * HOUR, 1_012 * HOUR, 999 * HOUR])
})

test('what is used while the clock was set back is not old when that is mended', () => {
  const state = clockAt()
  const calendar = calendarOf(state.clock)
  state.wall -= 5 * HOUR
  state.passed += HOUR
  const usedAt = calendar.latest
  state.wall = 14 * HOUR
  state.passed += HOUR
  expect(calendar.earliest - usedAt).toBe(HOUR)
})

test('what must last exactly so long goes by the time that has passed, in whole milliseconds', () => {
  const state = clockAt()
  const calendar = calendarOf(state.clock)
  for (const wall of [1, 1_000 * HOUR]) {
    state.wall = wall
    state.passed += HOUR + 0.5
  }
  expect(calendar.steady).toBe(14 * HOUR + 1)
})

test('the time of a machine that was suspended counts', () => {
  const state = clockAt()
  const calendar = calendarOf(state.clock)
  state.wall += 48 * HOUR
  state.passed += 48 * HOUR
  expect([calendar.earliest, calendar.shift]).toEqual([60 * HOUR, 0])
})

test('dates are whole numbers, whatever fractions the clocks read', () => {
  const state = clockAt()
  const calendar = calendarOf(state.clock)
  state.passed += 0.1
  expect([calendar.earliest, calendar.latest].every(Number.isInteger)).toBe(true)
  state.passed += HOUR + 0.3
  expect([calendar.earliest, calendar.latest].every(Number.isInteger)).toBe(true)
})
