import { expect, onTestFinished, test } from 'vitest'
import { createPool } from '../../../src/index.ts'
import { systemClock } from '../../../src/clock.ts'
import { FakeDriver } from '../../../src/testing/index.ts'
import { outcome } from '../../fixtures/fakes.ts'
import { startOwnPostgres } from '../../fixtures/postgres-server.ts'
import { temporaryFolder } from '../../fixtures/temporary-folder.ts'

test('A pool closes within seconds while its database is away', async () => {
  const server = await startOwnPostgres()
  onTestFinished(() => server[Symbol.asyncDispose]())
  const pool = await createPool({
    agents: { assistant: { spares: { max: 0 }, unboundSpares: { max: 0 } } },
    store: { postgres: server.url('away') },
    cluster: {},
    dataDir: await temporaryFolder(),
    driver: new FakeDriver(systemClock),
  })
  const session = await pool.session('k', { agent: 'assistant' })
  expect(await outcome(session.send('hello'))).toBe('success')
  await server.end()
  await session.hibernate()
  // A write alone is repeated for a minute.
  const closed = pool.close().then(() => 'closed')
  const minute = new Promise((resolve) => systemClock.after(30_000, () => resolve('still closing')))
  expect(await Promise.race([closed, minute])).toBe('closed')
})
