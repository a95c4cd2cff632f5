import { expect, test } from 'vitest'
import { operate } from '../../../../src/control/operations.ts'
import type { HostOverview } from '../../../../src/control/operations.ts'
import { redactedConfig, redactedHost } from '../../../../src/cli/report/redact.ts'
import { fakes } from '../../../fixtures/fakes.ts'

test('A host is described without names of tenants and sessions, paths, and what was said; equal names stay equal', async () => {
  const { pool, driver } = await fakes({ limits: { turns: 2 } })
  const ended = await pool.session('SECRET-one', { agent: 'assistant', tenant: 'SECRET-acme' })
  await ended.send('SECRET words').result
  driver.onStart = (process) => (process.answersAtOnce = false)
  const other = await pool.session('SECRET-two', { agent: 'assistant', tenant: 'SECRET-acme' })
  other.send('SECRET words').result.catch(() => undefined)
  await driver.until(() => driver.processes[1]?.unanswered === 1)
  pool.suspend({ tenant: 'SECRET-acme' })
  const { value } = await operate(pool, { do: 'overview' }, (async function* () {})()).next()
  const text = JSON.stringify(redactedHost(value as HostOverview))
  expect(text).not.toContain('SECRET')
  for (const worker of pool.workers()) {
    expect(text).not.toContain(worker.cwd)
    expect(text).toContain(worker.id)
  }
  const shown = JSON.parse(text) as {
    turns: { tenant: string; session: string }[]
    workers: { tenant: string; session: string }[]
    stats: { suspended: { tenants: string[] } }
  }
  const [turn] = shown.turns
  expect(turn?.tenant).toBe('tenant-1')
  expect(shown.stats.suspended.tenants).toEqual(['tenant-1'])
  expect(shown.workers.map(({ session }) => session)).toContain(turn?.session)
})

test('Of a config only numbers, measures and modes are shown', () => {
  const config = {
    limits: { turns: 8, workerMemory: '1GiB', turnTimeout: '10m' },
    admission: { mode: 'wait' },
    api: { key: 'sk-ant-SECRET', env: { ANTHROPIC_SECRET: 'x' } },
    agents: { writer: { systemPrompt: 'SECRET prompt', permissionMode: 'default', canUseTool: () => 'SECRET' } },
    server: { keys: [{ tenant: 'SECRET', sha256: '8e39'.repeat(16) }], host: '10.1.2.3' },
  }
  expect(redactedConfig(config)).toEqual({
    limits: { turns: 8, workerMemory: '1GiB', turnTimeout: '10m' },
    admission: { mode: 'wait' },
    api: { key: '(text)', env: '(1 entries)' },
    agents: { writer: { systemPrompt: '(text)', permissionMode: 'default', canUseTool: '(function)' } },
    server: { keys: [{ tenant: '(text)', sha256: '(text)' }], host: '(text)' },
  })
})
