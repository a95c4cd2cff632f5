import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { closePool, createPool, getPool, initPool } from '../../src/index.ts'
import type { PoolOptions } from '../../src/index.ts'
import { FakeClock, FakeDriver } from '../../src/testing/index.ts'

let dataDir: string
let fake: Pick<PoolOptions, 'dataDir' | 'clock' | 'driver'>

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'pool-create-'))
  const clock = new FakeClock()
  fake = { dataDir, clock, driver: new FakeDriver(clock) }
})

afterEach(() => rm(dataDir, { recursive: true, force: true }))

const bad = (options: unknown): Promise<unknown> => createPool({ ...fake, ...(options as PoolOptions) })

describe('a pool with bad options is not made', () => {
  test.each<[string, unknown]>([
    ['agents: names no agent', {}],
    ['agents: names no agent', { agents: {} }],
    ['agents.Support: duplicates agents.support', { agents: { support: {}, Support: {} } }],
    ['agents.a b: a name is a letter or digit', { agents: { 'a b': {} } }],
    [
      'agents.a.sytemPrompt: is not an option of an agent; did you mean systemPrompt?',
      { agents: { a: { sytemPrompt: '' } } },
    ],
    ['residancy: is not an option of a pool; did you mean residency?', { agents: { a: {} }, residancy: {} }],
    ['limits.turns: 0 is not a whole number', { agents: { a: {} }, limits: { turns: 0 } }],
    ['residency.idleTtl: "30" is not a number with a unit', { agents: { a: {} }, residency: { idleTtl: '30' } }],
    ['limits.turns: 8 contradicts', { agents: { a: {} }, residency: { pattern: 'single' }, limits: { turns: 8 } }],
    ['agents.a.residency.idleTtl: "30"', { agents: { a: { residency: { idleTtl: '30' } } } }],
    ['admission.maxWaiting: ', { agents: { a: {} }, admission: { mode: 'wait', maxWaiting: NaN } }],
    ['starts.concurrent: ', { agents: { a: {} }, starts: { concurrent: -1 } }],
    ['store.postgres: is not a URL', { agents: { a: {} }, store: { postgres: 'db.example' } }],
    ['store.postgers: is not an option; did you mean postgres?', { agents: { a: {} }, store: { postgers: '' } }],
    [
      'agents.a.remotes: need the credential proxy; it serves the Agent SDK alone',
      { agents: { a: { remotes: { shop: { url: 'https://shop.example', bearer: 'b' } } } } },
    ],
    ['budgets: need the credential proxy, which serves', { agents: { a: {} }, budgets: { tenant: { tokens: 1 } } }],
    [
      'agents.a.remotes: need the credential proxy; leave out isolation.credentials',
      {
        agents: { a: { remotes: { shop: { url: 'https://shop.example', bearer: 'b' } } } },
        isolation: { credentials: 'environment' },
        driver: undefined,
      },
    ],
    ['events: must be true or false', { agents: { a: {} }, events: 'no' }],
    ['dataDir: is not the path', { agents: { a: {} }, dataDir: '' }],
    [
      'cluster: needs a store that hosts share',
      { agents: { a: {} }, cluster: { listen: '127.0.0.1:1', secret: 'x'.repeat(32) } },
    ],
    ['api.baseUrl: is not an http(s) URL', { agents: { a: {} }, api: { baseUrl: '' } }],
  ])('%s', async (message, options) => {
    await expect(bad(options)).rejects.toThrow(message)
    await expect(bad(options)).rejects.toMatchObject({ code: 'invalid_config' })
  })

  test('and gives its directory back, so that the next one is', async () => {
    await expect(createPool({ ...fake, agents: { a: {} }, limits: { turns: -1 } })).rejects.toThrow('limits.turns')
    const pool = await createPool({ ...fake, agents: { a: {} } })
    await expect(createPool({ ...fake, agents: { a: {} } })).rejects.toMatchObject({ code: 'host_running' })
    await pool.close()
    await (await createPool({ ...fake, agents: { a: {} } })).close()
  })
})

test('a pool with a driver of its own looks for no claude', async () => {
  const clock = new FakeClock()
  const driver = new FakeDriver(clock)
  await using pool = await createPool({ dataDir, clock, driver, agents: { a: { spares: { max: 0 } } } })
  await (await pool.session('k', { agent: 'a' })).send('Hello').result
  expect(driver.processes[0]?.spec.options.pathToClaudeCodeExecutable).toBeUndefined()
})

describe('the process-wide pool', () => {
  test('is there once, between its beginning and its end', async () => {
    await expect(getPool()).rejects.toMatchObject({ code: 'pool_closed' })
    const pool = await initPool({ ...fake, agents: { a: {} } })
    await expect(initPool({ ...fake, agents: { a: {} } })).rejects.toMatchObject({ code: 'invalid_config' })
    expect(await getPool()).toBe(pool)
    await closePool()
    await closePool()
    await expect(getPool()).rejects.toMatchObject({ code: 'pool_closed' })
  })

  test('can be tried again when it could not be made', async () => {
    await expect(initPool({ ...fake, agents: {} })).rejects.toMatchObject({ code: 'invalid_config' })
    await initPool({ ...fake, agents: { a: {} } })
    await closePool()
  })
})
