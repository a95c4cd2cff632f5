import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createPool } from '../index.ts'
import type { Pool, PoolOptions } from '../index.ts'
import { MemoryStore } from '../store/memory.ts'
import { FakeClock } from './clock.ts'
import { FakeDriver } from './driver.ts'
import { FakeMemory } from './memory.ts'

/** What `createTestPool()` takes: all options of a pool, none of them needed. */
export interface TestPoolOptions extends Partial<Omit<PoolOptions, 'driver' | 'clock' | 'memory'>> {
  /** Default: a new one. Pass that of another pool to act out a restart of the host: its conversations are still there. */
  driver?: FakeDriver
  clock?: FakeClock
}

/** A pool without processes and without time of its own. Dispose of it (`await using`) to close it and remove its files. */
export interface TestPool extends AsyncDisposable {
  pool: Pool
  driver: FakeDriver
  clock: FakeClock
  /** What the pool takes for the machine's memory: 64 GiB, of which the fake processes use little. */
  memory: FakeMemory
}

/** Enough for any test that is not about memory. */
const MEMORY_BYTES = 64 * 2 ** 30
const STARTS_AT_ONCE = 4

/** An agent that starts nothing ahead, so that a test sees the processes it asked for and no others. */
const PLAIN_AGENT = { spares: { max: 0 }, unboundSpares: { max: 0 } }

/**
 * Makes a pool on a fake driver and a fake clock. Defaults: one agent `assistant` without spares, a store in memory, a
 * temporary data directory, 64 GiB of memory, four starts at a time.
 */
export async function createTestPool(options: TestPoolOptions = {}): Promise<TestPool> {
  const clock = options.clock ?? new FakeClock()
  const driver = options.driver ?? new FakeDriver(clock)
  const memory = new FakeMemory(MEMORY_BYTES, driver)
  const temporary = options.dataDir === undefined ? await mkdtemp(join(tmpdir(), 'claude-agent-pool-')) : undefined
  const clean = async (): Promise<void> => {
    if (temporary !== undefined) await rm(temporary, { recursive: true, force: true, maxRetries: 3 })
  }
  try {
    const pool = await createPool({
      agents: { assistant: PLAIN_AGENT },
      store: new MemoryStore(),
      ...options,
      dataDir: options.dataDir ?? (temporary as string),
      starts: { concurrent: STARTS_AT_ONCE, ...options.starts },
      driver,
      clock,
      memory,
    })
    return {
      pool,
      driver,
      clock,
      memory,
      async [Symbol.asyncDispose]() {
        await pool.close()
        await clean()
      },
    }
  } catch (error) {
    await clean()
    throw error
  }
}
