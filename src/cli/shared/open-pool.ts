import { blame } from '../../config/load.ts'
import type { Config, ConfigSource } from '../../config/load.ts'
import { createPool } from '../../index.ts'
import type { Pool, PoolOptions } from '../../index.ts'
import { startSimulator } from '../../simulator/server.ts'
import { withStore } from './store-flag.ts'
import type { StoreFlag } from './store-flag.ts'
import { credentialSource, onSimulatedModel } from './simulated-model.ts'
import { Unwinding } from '../../unwinding.ts'

/** The flags of every command that opens a pool. */
export interface PoolFlags extends StoreFlag {
  config?: string
  dataDir?: string
  simulate?: true
}

/** Changes what the config says to what a command needs. */
export type Adapt = (options: PoolOptions, config: Config) => PoolOptions

/** A pool, and what it was opened with. Disposing of it leaves no process. */
export interface OpenPool extends AsyncDisposable {
  readonly pool: Pool
  readonly options: PoolOptions
  /** Why the model is a simulated one; undefined: it is real. */
  readonly simulatedBecause: 'asked' | 'no credential' | undefined
  /** What it was opened with. */
  readonly config: Config
  /** Gives the pool the agents of another reading of the config. Throws ConfigError, and changed nothing then. */
  update(next: Config): void
}

function blaming<T>(config: ConfigSource, work: () => T): T {
  try {
    return work()
  } catch (error) {
    throw blame(config, error)
  }
}

/** Opens the pool of a config, as `adapt` changes it. Throws ConfigError that names the file, and what createPool() throws. */
export async function openPool(flags: PoolFlags, config: Config, adapt: Adapt): Promise<OpenPool> {
  const placed = withStore(config.options, flags)
  const given = flags.dataDir === undefined ? placed : { ...placed, dataDir: flags.dataDir }
  // createPool() checks what this type only claims.
  const options = blaming(config, () => adapt(given as PoolOptions, config))
  const simulatedBecause =
    flags.simulate === true
      ? 'asked'
      : credentialSource(options, process.env) === undefined
        ? 'no credential'
        : undefined
  await using unwinding = new Unwinding()
  let onModel = (adapted: PoolOptions): PoolOptions => adapted
  if (simulatedBecause !== undefined) {
    const simulator = unwinding.use(await startSimulator({ recordLimit: 0 }))
    onModel = (adapted) => onSimulatedModel(adapted, simulator.url)
  }
  const pool = unwinding.use(
    await createPool(onModel(options)).catch((error: unknown) => Promise.reject(blame(config, error))),
  )
  const owned = unwinding.move()
  return {
    pool,
    options,
    simulatedBecause,
    config,
    update(next) {
      blaming(next, () => {
        // createPool() checks what this type only claims.
        pool.updateAgents(onModel(adapt(next.options as unknown as PoolOptions, next)).agents)
        if (simulatedBecause === undefined) pool.updateApi((next.options as unknown as PoolOptions).api ?? {})
      })
    },
    [Symbol.asyncDispose]: () => owned[Symbol.asyncDispose](),
  }
}
