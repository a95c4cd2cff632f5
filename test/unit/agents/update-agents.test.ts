import { describe, expect, test } from 'vitest'
import type { AgentOptions } from '../../../src/index.ts'
import type { FakeProcess } from '../../../src/testing/index.ts'
import { NO_SPARES, fakes } from '../../fixtures/fakes.ts'

const promptOf = ({ spec }: FakeProcess): unknown => spec.options.systemPrompt

test('the next turn has the new definition, and the old process has left', async () => {
  const { pool, driver, session, reasons } = await fakes()
  const ada = await session('ada')
  await ada.send('one').result
  pool.updateAgents({ assistant: { ...NO_SPARES, systemPrompt: 'new' } })
  await ada.send('two').result
  expect(driver.processes.map(promptOf)).toEqual([undefined, 'new'])
  expect(reasons()).toEqual(['fingerprint'])
  expect(driver.living).toHaveLength(1)
})

test('a turn that runs finishes with what it began with, then its process leaves', async () => {
  const { pool, driver, session, reasons, clock } = await fakes()
  driver.onStart = (process) => (process.answersAtOnce = false)
  const turn = (await session('ada')).send('one')
  const process = await driver.process(0)
  await driver.until(() => process.unanswered === 1)
  pool.updateAgents({ assistant: { ...NO_SPARES, systemPrompt: 'new' } })
  expect(process.interrupts).toBe(0)
  process.finish()
  expect((await turn.result).subtype).toBe('success')
  await clock.settle()
  expect([reasons(), driver.living]).toEqual([['fingerprint'], []])
})

test('processes of what did not change stay', async () => {
  const { pool, driver, session } = await fakes()
  const ada = await session('ada')
  await ada.send('one').result
  pool.updateAgents({ assistant: { ...NO_SPARES }, more: {} })
  await ada.send('two').result
  expect(driver.processes).toHaveLength(1)
  expect(pool.agents).toEqual(['assistant', 'more'])
})

test('spares of an old definition leave, and others come', async () => {
  const spares = { spares: { min: 1, max: 1 } }
  const { pool, driver, clock } = await fakes({ agents: { assistant: { ...NO_SPARES, ...spares } } })
  await driver.process(0)
  await clock.settle()
  pool.updateAgents({ assistant: { ...NO_SPARES, ...spares, systemPrompt: 'new' } })
  await driver.process(1)
  await clock.settle()
  expect(driver.living.map(promptOf)).toEqual(['new'])
})

test('a session of an agent that is gone says so', async () => {
  const { pool, session } = await fakes()
  const ada = await session('ada')
  pool.updateAgents({ other: {} })
  await expect(ada.send('one').result).rejects.toMatchObject({ code: 'invalid_config' })
  pool.updateAgents({ assistant: NO_SPARES })
  await expect(ada.send('two').result).resolves.toMatchObject({ subtype: 'success' })
})

test('definitions that are not valid change nothing', async () => {
  const { pool } = await fakes()
  expect(() => pool.updateAgents({ assistant: {}, bad: { modle: 'x' } as never })).toThrow('agents.bad.modle')
  expect(() => pool.updateAgents({})).toThrow('agents: names no agent')
  expect(pool.agents).toEqual(['assistant'])
})

describe('what concerns no process itself leaves it in place and holds at once', () => {
  test.for<[string, AgentOptions]>([
    ['spares', { ...NO_SPARES, spares: { max: 1 } }],
    ['limits', { ...NO_SPARES, limits: { inactivityTimeout: '5m', workerMemory: '2GiB' } }],
    ['residency', { ...NO_SPARES, residency: { idleTtl: '2h' } }],
    ['what a stale conversation does', { ...NO_SPARES, onStaleResume: 'fresh' }],
  ])('%s', async ([, options]) => {
    const { pool, driver, session, reasons } = await fakes()
    const ada = await session('ada')
    await ada.send('one').result
    pool.updateAgents({ assistant: options })
    await ada.send('two').result
    expect([reasons(), driver.processes.length]).toEqual([[], 1])
  })

  test('a process that has been idle for too long by the new definition leaves', async () => {
    const { pool, clock, session, reasons } = await fakes()
    await (await session('ada')).send('one').result
    await clock.advance(10_000)
    pool.updateAgents({ assistant: { ...NO_SPARES, residency: { idleTtl: '20s' } } })
    expect(reasons()).toEqual([])
    pool.updateAgents({ assistant: { ...NO_SPARES, residency: { idleTtl: '10s' } } })
    await clock.settle()
    expect(reasons()).toEqual(['idle'])
  })

  test('a process that uses more than the new definition allows leaves', async () => {
    const { pool, clock, session, driver, reasons } = await fakes()
    await (await session('ada')).send('one').result
    const process = await driver.process(0)
    process.memoryBytes = 300 * 2 ** 20
    pool.updateAgents({ assistant: { ...NO_SPARES, limits: { workerMemory: '200MiB' } } })
    await clock.advance(1_000)
    expect(reasons()).toEqual(['memory'])
  })

  test('processes that start, or wait for their start, follow too', async () => {
    const { pool, clock, driver, session, reasons } = await fakes({ starts: { concurrent: 1 } })
    driver.onStart = (process) => (process.readyAtOnce = false)
    const turns = [(await session('ada')).send('one'), (await session('bob')).send('one')]
    const starting = await driver.process(0)
    pool.updateAgents({ assistant: { ...NO_SPARES, residency: { pattern: 'ephemeral' } } })
    starting.becomeReady()
    const waiting = await driver.process(1)
    waiting.becomeReady()
    await Promise.all(turns.map(({ result }) => result))
    await clock.advance(1_000)
    expect(reasons()).toEqual(['turns', 'turns'])
  })

  test('spares become more or fewer', async () => {
    const agent = (min: number): AgentOptions => ({ ...NO_SPARES, spares: { min, max: min } })
    const { pool, driver, clock, reasons } = await fakes({ agents: { assistant: agent(1) } })
    const first = await driver.process(0)
    await clock.settle()
    pool.updateAgents({ assistant: agent(2) })
    await driver.process(1)
    await clock.settle()
    expect(driver.living).toContain(first)
    pool.updateAgents({ assistant: agent(0) })
    await clock.settle()
    expect([driver.living, reasons()]).toEqual([[], ['surplus', 'surplus']])
  })
})
