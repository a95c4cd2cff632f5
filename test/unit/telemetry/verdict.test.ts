import { expect, test } from 'vitest'
import { verdictOf } from '../../../src/telemetry/verdict.ts'
import type { Verdict } from '../../../src/telemetry/verdict.ts'
import { fakes } from '../../fixtures/fakes.ts'
import type { Fakes } from '../../fixtures/fakes.ts'

const judge = ({ pool, clock }: Fakes, recentlyRefused = 0): Verdict =>
  verdictOf({ stats: pool.stats(), turns: pool.turns(), now: clock.wall(), recentlyRefused })

/** Sessions with a turn that their processes have not answered. */
async function running(all: Fakes, ...keys: string[]): Promise<void> {
  const { driver, pool } = all
  driver.onStart = (process) => (process.answersAtOnce = false)
  for (const key of keys) {
    const before = driver.processes.length
    const session = await pool.session(key, { agent: 'assistant' })
    session.send('go').result.catch(() => undefined)
    await driver.until(() => driver.processes[before]?.unanswered === 1)
  }
}

test('A pool without turns is idle, and one with a free place flows', async () => {
  const all = await fakes()
  expect(judge(all).state).toBe('idle')
  await running(all, 'one')
  expect(judge(all)).toMatchObject({ state: 'flowing', says: expect.stringContaining('1 runs'), next: [] })
})

test('A full pool that refuses says so, why, and what to do', async () => {
  const all = await fakes({ limits: { turns: 1 } })
  await running(all, 'one')
  expect(judge(all)).toMatchObject({ state: 'flowing', says: expect.stringMatching(/full: all 1 places.*next turn/) })
  expect(judge(all, 3)).toMatchObject({
    state: 'refusing',
    says: expect.stringContaining('3 turns were refused within the last minute'),
    next: [expect.stringContaining('limits.turns')],
  })
})

test('Turns that wait are told with how long the oldest one waits and for what', async () => {
  const all = await fakes({ limits: { turns: 1 }, admission: { mode: 'wait', timeout: '1h' } })
  await running(all, 'one')
  const waiting = (await all.session('two')).send('go')
  waiting.result.catch(() => undefined)
  await all.clock.advance(12_000)
  expect(judge(all)).toMatchObject({
    state: 'waiting',
    says: expect.stringMatching(/1 in the queue.*12s because of turns/),
  })
  await waiting.interrupt()
})

test('A suspended pool refuses, and a suspended tenant is a thing to do', async () => {
  const all = await fakes()
  all.pool.suspend({ tenant: 'acme' })
  expect(judge(all)).toMatchObject({ state: 'idle', next: [expect.stringContaining('resume --tenant')] })
  all.pool.suspend()
  expect(judge(all)).toMatchObject({ state: 'refusing', next: [expect.stringContaining('resume'), expect.anything()] })
})

test('Turns that are long in one phase are told with the phase and its remedy', async () => {
  const all = await fakes()
  await running(all, 'one', 'two')
  await all.clock.advance(90_000)
  expect(judge(all)).toMatchObject({
    state: 'flowing',
    next: [expect.stringMatching(/^2 turns are long in "prompt" \(1\.5m\): fix the MCP server/)],
  })
})
