import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { blame, loadConfig } from '../config/load.ts'
import { ask, connectTo } from '../control/client.ts'
import { operate } from '../control/operations.ts'
import type { Operation } from '../control/operations.ts'
import { ConfigError } from '../errors.ts'
import { createPool } from '../index.ts'
import type { PoolOptions } from '../index.ts'
import { controlOf } from '../store/data-dir.ts'

/** The flags of every command that works on a data directory. */
export interface DataDirFlags {
  dataDir?: string
  config?: string
}

const DEFAULT_DATA_DIR = '.claude-agent-pool'

/** An agent that is never started: what is kept can be worked on without any. */
const NO_AGENT = { upkeep: { spares: { max: 0 }, claimableSpares: { max: 0 } } }

async function* nothing(): AsyncGenerator<string> {
  // No line follows.
}

/**
 * Does an operation on a data directory: by the host that runs on it, else by a pool of our own, for as long as that takes.
 * `take` gets the lines that it makes. Throws what a pool throws, and ConfigError where there is no data directory.
 */
export async function onDataDir(
  flags: DataDirFlags,
  operation: Operation,
  {
    take = () => undefined,
    input = nothing(),
  }: { take?: (line: string) => unknown; input?: AsyncIterable<string> } = {},
): Promise<unknown> {
  const { file, options } = await loadConfig(flags.config, process.cwd())
  const dataDir = resolve(flags.dataDir ?? options.dataDir ?? DEFAULT_DATA_DIR)
  if (!existsSync(join(dataDir, 'host.lock')))
    throw new ConfigError('--data-dir', `${dataDir} is no data directory: no pool has ever run there`)
  const control = controlOf(dataDir)
  const socket = control === undefined ? undefined : await connectTo(control.path)
  if (socket !== undefined) return drive(ask(socket, { operation, input, secret: control?.secret }), take)
  // createPool() checks what this type only claims.
  const given = { ...options, dataDir, agents: NO_AGENT } as PoolOptions
  await using pool = await createPool(given).catch((error: unknown) => Promise.reject(blame(file, error)))
  return await drive(operate(pool, operation, input), take)
}

async function drive(work: AsyncGenerator<string, unknown>, take: (line: string) => unknown): Promise<unknown> {
  for (;;) {
    const next = await work.next()
    if (next.done === true) return next.value
    await take(next.value)
  }
}
