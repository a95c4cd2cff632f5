import { expect, test } from 'vitest'
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
