import { expect, test } from 'vitest'
import type { ResidencyOptions } from '../../../src/index.ts'
import { NO_SPARES, fakes } from '../../fixtures/fakes.ts'
import type { Fakes } from '../../fixtures/fakes.ts'

const SECOND = 1_000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE

const say = async ({ session, clock }: Fakes, key: string): Promise<void> => {
  await (await session(key)).send('Hello').result
  await clock.settle()
}

test('ephemeral: a process for each turn', async () => {
  const setup = await fakes({ residency: { pattern: 'ephemeral' } })
  await say(setup, 'a')
  await setup.clock.advance(SECOND)
  await say(setup, 'a')
  await setup.clock.advance(SECOND)
  expect(setup.reasons()).toEqual(['turns', 'turns'])
  expect(setup.pool.stats().totals).toMatchObject({ starts: 2, turnsByWarmth: { cold: 1, resumed: 1 } })
})

test('hybrid: a process leaves after the idle time', async () => {
  const setup = await fakes({ residency: { pattern: 'hybrid', idleTtl: '20s' } })
  await say(setup, 'a')
  await setup.clock.advance(19 * SECOND)
  expect(setup.reasons()).toEqual([])
  await setup.clock.advance(SECOND)
  expect(setup.reasons()).toEqual(['idle'])
})

test('long-running: a process stays until others need the room', async () => {
  const setup = await fakes({ residency: { pattern: 'long-running' }, limits: { workers: 2 } })
  await say(setup, 'a')
  await say(setup, 'b')
  await setup.clock.advance(HOUR)
  expect(setup.reasons()).toEqual([])
  await say(setup, 'c')
  expect(setup.told('worker.closed')).toMatchObject([{ reason: 'evicted', worker: { session: 'a' } }])
})

test('single: one process, which goes from one session to the next by leaving, and from no turn that runs', async () => {
  const setup = await fakes({ residency: { pattern: 'single' } })
  await say(setup, 'a')
  await say(setup, 'b')
  expect(setup.pool.stats()).toMatchObject({ turns: { limit: 1 }, workers: { total: 1, idle: 1 } })
  setup.driver.onStart = (process) => {
    process.answersAtOnce = false
  }
  const running = (await setup.session('c')).send('Hello')
  await setup.driver.until(() => setup.driver.processes[2]?.unanswered === 1)
  await expect((await setup.session('a')).send('Hello').result).rejects.toMatchObject({ reason: 'turns' })
  setup.driver.processes[2]?.finish()
  await running.result
})

test('an agent may have a residency of its own', async () => {
  const setup = await fakes({
    agents: { assistant: NO_SPARES, task: { ...NO_SPARES, residency: { pattern: 'ephemeral' } } },
    residency: { pattern: 'long-running' },
  })
  await say(setup, 'a')
  await (await setup.pool.session('t', { agent: 'task' })).send('Hello').result
  await setup.clock.advance(HOUR)
  expect(setup.told('worker.closed')).toMatchObject([{ reason: 'turns', worker: { agent: 'task' } }])
})

/** Share of live turns, after a first half to learn from, of eight sessions that speak one after the other where five have room. */
async function liveInTurn(residency: ResidencyOptions): Promise<number> {
  const setup = await fakes({ residency, limits: { workers: 5 } })
  const { pool, clock } = setup
  let before = 0
  for (let turn = 0; turn < 192; turn += 1) {
    if (turn === 96) before = pool.stats().totals.turnsByWarmth.live
    await say(setup, `s-${turn % 8}`)
    await clock.advance(2 * SECOND)
  }
  return (pool.stats().totals.turnsByWarmth.live - before) / 96
}

test('adaptive: who will speak last makes room, where by order of last use nobody would ever be met live', async () => {
  expect(await liveInTurn({ pattern: 'long-running' })).toBe(0)
  expect(await liveInTurn({})).toBeGreaterThan(0.45)
})

/** Live turns of ten sessions that speak four times, 40 minutes after each other. */
async function liveWhenLate(residency: ResidencyOptions): Promise<number> {
  const setup = await fakes({ residency })
  for (let turn = 0; turn < 40; turn += 1) {
    if (turn % 10 === 0) await setup.clock.advance(40 * MINUTE)
    await say(setup, `s-${turn % 10}`)
  }
  return setup.pool.stats().totals.turnsByWarmth.live
}

test('adaptive: sessions that were seen to come back late are kept beyond the idle time, unless it was set', async () => {
  expect(await liveWhenLate({})).toBe(10)
  expect(await liveWhenLate({ idleTtl: '30m' })).toBe(0)
})
