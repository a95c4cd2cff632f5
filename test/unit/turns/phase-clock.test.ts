import { expect, test } from 'vitest'
import { FakeClock } from '../../../src/testing/clock.ts'
import { PhaseClock } from '../../../src/turns/phase-clock.ts'

test('The times of all phases sum up to the time of the turn, and stay when it has ended', async () => {
  const clock = new FakeClock()
  const phases = new PhaseClock(clock)
  await clock.advance(5)
  phases.enter('model', undefined)
  await clock.advance(7)
  expect(phases.times).toMatchObject({ queued: 5, model: 7 })
  phases.enter('tool', 'Bash')
  await clock.advance(11)
  phases.end()
  await clock.advance(100)
  phases.enter('saving', undefined)
  expect([phases.name, phases.totalMs, phases.tools]).toEqual(['tool', 23, { Bash: 11 }])
  expect(phases.times).toMatchObject({ queued: 5, model: 7, tool: 11, saving: 0 })
})

test('Since when a turn is in its phase does not change while it stays there', async () => {
  const clock = new FakeClock()
  const phases = new PhaseClock(clock)
  await clock.advance(5)
  phases.enter('tool', 'Bash')
  const since = clock.wall()
  await clock.advance(5)
  phases.enter('tool', 'Bash')
  expect(phases.now).toEqual({ name: 'tool', detail: 'Bash', since })
  phases.enter('tool', 'Read')
  expect(phases.now).toEqual({ name: 'tool', detail: 'Read', since: since + 5 })
})

test('A detail that changes without an event is read when it is asked for', () => {
  let reason: string | undefined = 'turns'
  const phases = new PhaseClock(new FakeClock())
  phases.enter('queued', () => reason)
  expect(phases.now.detail).toBe('turns')
  reason = 'suspended'
  expect(phases.now.detail).toBe('suspended')
  reason = undefined
  expect('detail' in phases.now).toBe(false)
})

test('An agent that calls tools of ever new names fills no memory with them', async () => {
  const clock = new FakeClock()
  const phases = new PhaseClock(clock)
  for (let index = 0; index < 60; index += 1) {
    phases.enter('tool', `T${index}${'x'.repeat(1_000)}`)
    await clock.advance(1)
  }
  const { tools } = phases
  expect([Object.keys(tools).length, tools['other']]).toEqual([51, 10])
  for (const name of Object.keys(tools)) expect(name.length).toBeLessThanOrEqual(128)
})
