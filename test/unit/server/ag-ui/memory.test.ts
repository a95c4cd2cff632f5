import { expect, test } from 'vitest'
import { Threads } from '../../../../src/server/ag-ui/threads.ts'
import { TurnFeed } from '../../../../src/server/turn-feed.ts'
import { fakes } from '../../../fixtures/fakes.ts'

test('a thread is remembered while its turn runs, and of the others the thousand that were used last', async () => {
  const { pool, driver, clock, session } = await fakes()
  driver.onStart = (process) => (process.answersAtOnce = false)
  const threads = new Threads(pool)
  const running = await session('running')
  const thread = threads.of(running)
  const feed = new TurnFeed(running.send('go', { onLeave: 'detach' }), running, clock)
  const turn = thread.begin(feed, [], { messages: [] })
  await driver.until(() => driver.processes[0]?.unanswered === 1)
  const others = await Promise.all(Array.from({ length: 1_000 }, (_, index) => session(`other ${index}`)))
  const [oldest, second] = others.map((other) => threads.of(other))
  expect(threads.of(running)).toBe(thread)
  expect(threads.of(others[1] as (typeof others)[0])).toBe(second)
  expect(threads.of(others[0] as (typeof others)[0])).not.toBe(oldest)
  driver.processes[0]?.finish()
  await turn.noted
  for (const other of others) threads.of(other)
  expect(threads.of(running)).not.toBe(thread)
})
