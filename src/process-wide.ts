import { createPool } from './create-pool.ts'
import type { PoolOptions } from './create-pool.ts'
import { ConfigError, PoolClosedError } from './errors.ts'
import type { Pool } from './pool/pool.ts'

let current: Promise<Pool> | undefined

/** Makes the process-wide pool, once. Throws ConfigError when there is one already, and what createPool() throws. */
export async function initPool(options: PoolOptions): Promise<Pool> {
  if (current !== undefined) throw new ConfigError('initPool', 'was called before; use getPool(), or closePool() first')
  current = createPool(options)
  try {
    return await current
  } catch (error) {
    current = undefined
    throw error
  }
}

/** The process-wide pool. Throws PoolClosedError when there is none. */
export function getPool(): Promise<Pool> {
  return current ?? Promise.reject(new PoolClosedError('there is no process-wide pool; call initPool() first'))
}

/** Closes the process-wide pool, if there is one. */
export async function closePool(): Promise<void> {
  const closing = current
  current = undefined
  await (await closing)?.close()
}
