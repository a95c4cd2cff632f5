import { expect, test } from 'vitest'
import type { TurnMessage } from '../../../src/index.ts'
import { TurnFeed } from '../../../src/server/turn-feed.ts'
import { fakes } from '../../fixtures/fakes.ts'
import type { Fakes } from '../../fixtures/fakes.ts'
import type { FakeProcess } from '../../../src/testing/index.ts'

async function running(all: Fakes): Promise<{ feed: TurnFeed; process: FakeProcess }> {
  all.driver.onStart = (process) => (process.answersAtOnce = false)
  const session = await all.session('s')
  const feed = new TurnFeed(session.send('go', { onLeave: 'detach' }), session, all.clock)
  const process = await all.driver.process(0)
  await all.driver.until(() => process.unanswered === 1)
  return { feed, process }
}

const KiB = 1024

test('readers come at any time and find what is still there', async () => {
  const all = await fakes()
  const { feed, process } = await running(all)
  process.sayText('one')
  process.finish()
  await feed.ended
  const numbers: number[] = []
  const reader = feed.read(0, Infinity)
  for (let next = await reader.next(); next.done !== true; next = await reader.next()) numbers.push(next.value.number)
  expect(numbers).toEqual([1, 2])
  expect((await feed.read(1, Infinity).next()).value).toMatchObject({ number: 2 })
  expect((await feed.read(2, Infinity).next()).done).toBe(true)
})

test('a turn that nobody reads keeps about a mebibyte of what it said', async () => {
  const all = await fakes()
  const { feed, process } = await running(all)
  for (let number = 0; number < 40; number += 1) process.sayText('x'.repeat(100 * KiB))
  process.finish()
  await feed.ended
  const kept: TurnMessage[] = []
  const reader = feed.read(0, Infinity)
  for (let next = await reader.next(); next.done !== true; next = await reader.next()) kept.push(next.value)
  const size = kept.reduce((sum, { json }) => sum + json.length, 0)
  expect(size).toBeLessThanOrEqual(1024 * KiB)
  expect(size).toBeGreaterThan(900 * KiB)
  expect(kept.at(-1)?.number).toBe(41)
})

test('a turn waits for a reader that is behind, until it has read or left', async () => {
  const all = await fakes()
  const { feed, process } = await running(all)
  const reader = feed.read(0, Infinity)
  const before = process.consumptions
  for (let number = 0; number < 10; number += 1) process.sayText('x'.repeat(100 * KiB))
  await all.clock.settle()
  expect(process.consumptions).toBe(before + 2)
  for (let number = 0; number < 7; number += 1) await reader.next()
  expect(process.consumptions).toBe(before + 2)
  await reader.next()
  expect(process.consumptions).toBe(before + 3)
  process.sayText('x'.repeat(100 * KiB))
  await all.clock.settle()
  expect(process.consumptions).toBe(before + 3)
  reader.leave(true)
  expect(process.consumptions).toBe(before + 4)
  process.finish()
  await feed.ended
  expect(feed.last).toBe(12)
})
