import { expect, test } from 'vitest'
import { MODEL, openSite, until } from '../fixtures/real-pool.ts'

const MIB = 2 ** 20

const AGENT = {
  model: MODEL,
  spares: { max: 0 },
  unboundSpares: { max: 0 },
  permissionMode: 'bypassPermissions',
  allowDangerouslySkipPermissions: true,
  env: { IS_SANDBOX: '1' },
} as const

test('A turn whose tool takes more than limits.workerMemory ends by name, nothing is left of it, and its session goes on', async () => {
  const site = await openSite()
  const pool = await site.pool({ agents: { a: { ...AGENT, limits: { workerMemory: '400MiB' } } } })
  const session = await pool.session('one', { agent: 'a' })
  await session.send('first').result
  const [worker] = pool.workers()
  const error: unknown = await session.send('@sim allocate 600 for 60000').result.catch((reason: unknown) => reason)
  expect(error).toMatchObject({
    name: 'WorkerMemoryError',
    code: 'worker_memory',
    limit: 'worker',
    limitBytes: 400 * MIB,
  })
  const { usedBytes } = error as { usedBytes: number }
  expect(usedBytes).toBeGreaterThan(400 * MIB)
  expect(usedBytes).toBeLessThan(1_200 * MIB)
  expect(pool.workers().map(({ id }) => id)).not.toContain(worker?.id)
  expect(pool.stats()).toMatchObject({ turns: { running: 0 }, totals: { closedByReason: { outgrown: 1 } } })
  expect(await session.send('next').result).toMatchObject({ subtype: 'success', result: '[turn 3] You said: next' })
})

test('What a tool takes is its worker’s, and learned as what a turn needs', async () => {
  const site = await openSite()
  const pool = await site.pool({ agents: { a: AGENT } })
  const session = await pool.session('one', { agent: 'a' })
  await session.send('@sim allocate 300 for 3000').result
  // With the next look, so that nobody's answer waits for a reading.
  await until(() => expect(pool.stats().memory.agents['a']?.runningSamples).toBe(1))
  const need = pool.stats().memory.agents['a']?.runningBytes ?? 0
  expect(need / MIB).toBeGreaterThan(350)
  expect(need / MIB).toBeLessThan(800)
  // The tool's process may end after the turn does.
  await until(() => expect(pool.workers()[0]?.memoryBytes ?? Infinity).toBeLessThan(300 * MIB))
  expect(pool.workers()[0]?.memoryBytes ?? 0).toBeGreaterThan(60 * MIB)
})
