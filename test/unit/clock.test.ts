import { afterEach, expect, test, vi } from 'vitest'
import { repeatedly, systemClock } from '../../src/clock.ts'
import { FakeClock } from '../../src/testing/index.ts'

test('What runs repeatedly asks each time when it is to run next, until it is cancelled', async () => {
  const clock = new FakeClock()
  const start = clock.now()
  const ran: number[] = []
  const delays = [100, 300, 500]
  const cancel = repeatedly(
    clock,
    () => delays.shift() ?? 1_000,
    () => ran.push(clock.now() - start),
  )
  await clock.advance(1_000)
  expect(ran).toEqual([100, 400, 900])
  cancel()
  cancel()
  await clock.advance(10_000)
  expect([ran.length, clock.pending]).toEqual([3, 0])
})

test('What runs repeatedly may cancel itself', async () => {
  const clock = new FakeClock()
  let times = 0
  const cancel = repeatedly(
    clock,
    () => 100,
    () => {
      times += 1
      cancel()
    },
  )
  await clock.advance(1_000)
  expect([times, clock.pending]).toEqual([1, 0])
})

afterEach(() => {
  vi.restoreAllMocks()
  vi.useRealTimers()
})

test('A timer that was due while the host stood still waits for what was left of its time, and can still be cancelled', () => {
  vi.useFakeTimers()
  const fired: string[] = []
  const now = performance.now.bind(performance)
  systemClock.after(500, () => fired.push('short'))
  systemClock.after(2_000, () => fired.push('long'))
  const cancel = systemClock.after(500, () => fired.push('cancelled'))
  vi.spyOn(performance, 'now').mockImplementation(() => now() + 7_500)
  vi.advanceTimersByTime(500)
  expect(fired).toEqual([])
  cancel()
  vi.advanceTimersByTime(500)
  expect(fired).toEqual(['short'])
  vi.advanceTimersByTime(1_000)
  expect(fired).toEqual(['short'])
  vi.advanceTimersByTime(2_000)
  expect(fired).toEqual(['short', 'long'])
})
