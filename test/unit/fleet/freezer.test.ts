import { describe, expect, test } from 'vitest'
import type { TestPoolOptions } from '../../../src/testing/index.ts'
import { readAgentResidency, readResidency } from '../../../src/options/residency.ts'
import { problemOf } from '../../fixtures/config-problem.ts'
import { NO_SPARES, answer, fakes } from '../../fixtures/fakes.ts'
import type { Fakes } from '../../fixtures/fakes.ts'

const MIB = 2 ** 20
const SECOND = 1_000
const MINUTE = 60 * SECOND

/** Fakes whose processes can be frozen. */
async function freezable(options: TestPoolOptions = {}): Promise<Fakes> {
  const setup = await fakes({ agents: { assistant: NO_SPARES }, residency: { freeze: 'auto' }, ...options })
  setup.driver.onStart = (process) => (process.freezes = true)
  return setup
}

/** The session `key` with a process that was frozen after its first turn. */
async function frozen(setup: Fakes, key = 'k'): Promise<Awaited<ReturnType<Fakes['session']>>> {
  const session = await setup.session(key)
  await session.send('first').result
  await setup.clock.advance(21 * SECOND)
  return session
}

describe('An idle worker is frozen', () => {
  test('after 20 seconds, and shows what it has paged out; its memory is what is resident', async () => {
    const setup = await freezable()
    const session = await setup.session('k')
    await session.send('first').result
    await setup.clock.advance(19 * SECOND)
    expect(setup.pool.workers()).toMatchObject([{ state: 'idle', swappedBytes: undefined }])
    await setup.clock.advance(2 * SECOND)
    expect(setup.pool.workers()).toMatchObject([{ state: 'frozen', swappedBytes: 75 * MIB, memoryBytes: 25 * MIB }])
    expect(setup.pool.stats().workers).toMatchObject({ frozen: 1, idle: 0, total: 1 })
    expect(setup.pool.stats().memory.reclaimableBytes).toBe(25 * MIB)
    expect((await session.info()).state).toBe('idle')
  })

  test('and its next turn goes on in it: warmth "thawed", and "live" after that', async () => {
    const setup = await freezable()
    const session = await frozen(setup)
    const turn = session.send('second')
    expect([await answer(turn), turn.warmth]).toEqual(['[turn 2] You said: second', 'thawed'])
    const next = session.send('third')
    await next.result
    expect(next.warmth).toBe('live')
    expect(setup.driver.processes).toHaveLength(1)
    expect(setup.pool.stats().totals.turnsByWarmth).toMatchObject({ cold: 1, thawed: 1, live: 1 })
  })

  test('until session.warm(), which also has it answer ahead of the turn', async () => {
    const setup = await freezable()
    const session = await frozen(setup)
    await session.warm()
    expect([setup.driver.processes[0]?.frozen, setup.driver.processes[0]?.probes]).toEqual([false, 1])
    expect(setup.pool.workers()).toMatchObject([{ state: 'idle' }])
  })

  test('only by the option, by drivers that can, between turns of a session, and without work of its own', async () => {
    for (const residency of [{}, { freeze: 'off' } as const]) {
      const setup = await freezable({ residency })
      await frozen(setup)
      expect(setup.pool.workers()).toMatchObject([{ state: 'idle' }])
    }
    const cannot = await freezable()
    cannot.driver.onStart = () => undefined
    await frozen(cannot)
    expect(cannot.pool.workers()).toMatchObject([{ state: 'idle' }])
    const spare = await freezable({ agents: { assistant: { spares: { min: 1 }, unboundSpares: { max: 0 } } } })
    await spare.clock.advance(MINUTE)
    expect(spare.pool.workers()).toMatchObject([{ state: 'idle' }])
    const working = await freezable()
    const session = await working.session('k')
    await session.send('first').result
    working.driver.processes[0]?.say({
      type: 'system',
      subtype: 'background_tasks_changed',
      tasks: [{ task_id: 't-1' }],
    } as never)
    await working.clock.advance(MINUTE)
    expect(working.pool.workers()).toMatchObject([{ state: 'idle', pinnedBy: { tasks: 1 } }])
  })

  test('at once where its agent is known to be silent for long, and later where it is known to speak soon', async () => {
    const frozenAfter = async (silenceMs: number, pausesMs: readonly number[]): Promise<boolean[]> => {
      const setup = await freezable()
      const session = await setup.session('k')
      for (let turn = 0; turn < 24; turn += 1) {
        await session.send('hello').result
        await setup.clock.advance(silenceMs)
      }
      await session.send('hello').result
      const states: boolean[] = []
      for (const pauseMs of pausesMs) {
        await setup.clock.advance(pauseMs)
        states.push(setup.pool.workers()[0]?.state === 'frozen')
      }
      return states
    }
    expect(await frozenAfter(3 * MINUTE, [3 * SECOND])).toEqual([true])
    expect(await frozenAfter(10 * SECOND, [9 * SECOND, 3 * MINUTE])).toEqual([false, true])
  })

  test('when there is no room for another process, the one that saves least first', async () => {
    const setup = await freezable({ residency: { freeze: 'auto', freezeAfter: '1h' } })
    setup.memory.limitBytes = 1_024 * MIB
    for (const key of ['one', 'two']) await (await setup.session(key)).send('first').result
    await setup.clock.advance(SECOND)
    expect(setup.pool.stats().workers.frozen).toBe(0)
    setup.memory.othersBytes = 450 * MIB
    await setup.clock.advance(SECOND)
    expect(setup.pool.stats().memory.pressure).toBe('none')
    expect(setup.pool.workers().map(({ session, state }) => [session, state])).toEqual([
      ['one', 'frozen'],
      ['two', 'idle'],
    ])
  })

  test('when memory is short, before any is closed; and closed, if that does not help', async () => {
    const setup = await freezable()
    setup.memory.limitBytes = 1_024 * MIB
    await (await setup.session('one')).send('first').result
    await (await setup.session('two')).send('first').result
    setup.memory.othersBytes = 680 * MIB
    await setup.clock.advance(SECOND)
    expect([setup.pool.stats().workers.frozen, setup.reasons()]).toEqual([1, []])
    setup.memory.othersBytes = 800 * MIB
    await setup.clock.advance(5 * SECOND)
    expect(setup.reasons()[0]).toBe('pressure')
  })
})

describe('A frozen worker', () => {
  test('is not asked whether it answers', async () => {
    const setup = await freezable()
    await frozen(setup)
    await setup.clock.advance(2 * MINUTE)
    expect(setup.driver.processes[0]?.probes).toBe(0)
    expect(setup.pool.workers()).toMatchObject([{ state: 'frozen' }])
  })

  test.each([
    ['age', async ({ clock }: Fakes) => clock.advance(10 * MINUTE)],
    ['hibernate', async (setup: Fakes) => (await setup.session('k')).hibernate()],
    ['deleted', async (setup: Fakes) => (await setup.session('k')).delete()],
    ['operator', async ({ pool }: Fakes) => pool.closeWorker(pool.workers()[0]?.id ?? '')],
    ['exited', async ({ driver, clock }: Fakes) => (driver.processes[0]?.exit({ signal: 'SIGKILL' }), clock.settle())],
    [
      'fingerprint',
      async ({ pool, clock }: Fakes) => {
        pool.updateAgents({ assistant: { ...NO_SPARES, model: 'another' } })
        await clock.settle()
      },
    ],
  ] as const)('is closed as an idle one is: %s', async (reason, close) => {
    const setup = await freezable({ residency: { freeze: 'auto', maxAge: '10m' } })
    await frozen(setup)
    await close(setup)
    expect(setup.reasons()).toEqual([reason])
  })
})

test('What is frozen, and when, is an option of the pool and of an agent', () => {
  expect(readResidency(undefined)).toMatchObject({ freezes: false, freezeAfterMs: 20_000 })
  expect(readResidency({ freeze: 'auto', freezeAfter: '5s' })).toMatchObject({ freezes: true, freezeAfterMs: 5_000 })
  expect(readAgentResidency('a', { freezeAfter: '1m' }, { freeze: 'auto' })).toMatchObject({ freezes: true })
  expect(problemOf(() => readResidency({ freeze: 'always' as 'auto' }))).toMatch(
    /residency\.freeze: is neither "auto" nor "off"/,
  )
})
