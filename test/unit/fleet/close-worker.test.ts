import { expect, test } from 'vitest'
import { ConfigError, SessionBusyError } from '../../../src/errors.ts'
import type { SDKMessage } from '../../../src/driver/driver.ts'
import { fakes, outcome } from '../../fixtures/fakes.ts'
import type { Fakes } from '../../fixtures/fakes.ts'

const idOf = ({ pool }: Fakes): string => pool.workers()[0]?.id ?? ''

test('An idle worker that an operator closes ends at once, and its session resumes with the next turn', async () => {
  const all = await fakes()
  const session = await all.session('one')
  await session.send('hello').result
  expect(await all.pool.closeWorker(idOf(all))).toBe('closed')
  expect([all.pool.workers(), all.reasons()]).toEqual([[], ['operator']])
  const turn = session.send('again')
  await turn.result
  expect(turn.warmth).toBe('resumed')
})

test('A busy worker ends its turn before it closes, unless it is closed now', async () => {
  const all = await fakes()
  all.driver.onStart = (process) => (process.answersAtOnce = false)
  const session = await all.session('one')
  const turn = session.send('hello')
  const first = await all.driver.process(0)
  await all.driver.until(() => first.unanswered === 1)
  expect(await all.pool.closeWorker(idOf(all))).toBe('after_turn')
  first.finish()
  expect(await outcome(turn)).toBe('success')
  await all.clock.settle()
  expect(all.reasons()).toEqual(['operator'])
  const second = session.send('again')
  const next = await all.driver.process(1)
  await all.driver.until(() => next.unanswered === 1)
  next.heedsInterrupts = false
  const closing = all.pool.closeWorker(idOf(all), { now: true })
  await all.clock.advance(1_000)
  expect([await closing, await outcome(second)]).toEqual(['closed', 'worker_exited'])
})

test('An idle worker with background tasks is closed only on request, because they would be lost', async () => {
  const all = await fakes()
  await (await all.session('one')).send('hello').result
  const tasks = [{ task_id: 't1' }]
  const changed = { type: 'system', subtype: 'background_tasks_changed', tasks } as unknown as SDKMessage
  all.driver.processes[0]?.say(changed)
  await all.clock.settle()
  const refusal = all.pool.closeWorker(idOf(all))
  await expect(refusal).rejects.toThrow(SessionBusyError)
  await expect(refusal).rejects.toThrow('has 1 background tasks of its agent; wait for the end, or close it now')
  expect(await all.pool.closeWorker(idOf(all), { now: true })).toBe('closed')
})

test('A worker that is not there is named in the error', async () => {
  const { pool } = await fakes()
  await expect(pool.closeWorker('w-none')).rejects.toThrow(ConfigError)
  await expect(pool.closeWorker('w-none')).rejects.toThrow('worker: there is no worker "w-none"')
})
