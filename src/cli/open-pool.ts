import { blame, loadConfig } from '../config/load.ts'
import { createPool } from '../index.ts'
import type { Pool, PoolOptions } from '../index.ts'
import { startSimulator } from '../simulator/server.ts'
import { credentialSource, onSimulatedModel } from './simulated-model.ts'

/** The flags of every command that opens a pool. */
export interface PoolFlags {
  config?: string
  dataDir?: string
  simulate?: true
}

/** A pool, and what it was opened with. Disposing of it leaves no process. */
export interface OpenPool extends AsyncDisposable {
  readonly pool: Pool
  readonly options: PoolOptions
  /** Why the model is a simulated one; undefined: it is real. */
  readonly simulatedBecause: 'asked' | 'no credential' | undefined
}

/** Opens the pool of the config, as `adapt` changes it (`file`: undefined where there is no config). Throws ConfigError that names the file, and what createPool() throws. */
export async function openPool(
  flags: PoolFlags,
  adapt: (options: PoolOptions, file: string | undefined) => PoolOptions,
): Promise<OpenPool> {
  const config = await loadConfig(flags.config, process.cwd())
  const given = flags.dataDir === undefined ? config.options : { ...config.options, dataDir: flags.dataDir }
  // createPool() checks what this type only claims.
  const options = adapt(given as PoolOptions, config.file)
  const simulatedBecause =
    flags.simulate === true
      ? 'asked'
      : credentialSource(options, process.env) === undefined
        ? 'no credential'
        : undefined
  await using unwinding = new AsyncDisposableStack()
  let model = options
  if (simulatedBecause !== undefined) {
    const simulator = unwinding.use(await startSimulator({ recordLimit: 0 }))
    model = onSimulatedModel(options, simulator.url)
  }
  const pool = unwinding.use(
    await createPool(model).catch((error: unknown) => Promise.reject(blame(config.file, error))),
  )
  const owned = unwinding.move()
  return { pool, options, simulatedBecause, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}
