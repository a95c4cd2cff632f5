import { resolve } from 'node:path'
import { loadConfig } from '../../config/load.ts'
import { ask, connectTo } from '../../control/client.ts'
import type { Operation } from '../../control/operations.ts'
import { ConfigError } from '../../errors.ts'
import { DEFAULT_DATA_DIR } from '../../index.ts'
import { accessTo } from '../../store/access.ts'
import { controlOf } from '../../store/data-dir.ts'
import type { StoreFlag } from './store-flag.ts'

/** The flags of every command that works on a data directory. */
export interface DataDirFlags extends StoreFlag {
  dataDir?: string
  config?: string
}

/** The data directory of a command, as an absolute path. Throws ConfigError for a config that is not valid. */
export async function dataDirOf({ dataDir, config }: DataDirFlags): Promise<string> {
  return resolve(dataDir ?? (await loadConfig(config, process.cwd())).options.dataDir ?? DEFAULT_DATA_DIR)
}

async function* nothing(): AsyncGenerator<string> {
  // No line follows.
}

/**
 * Asks the host that runs on a data directory; undefined if none does. For operations that give one value. Throws what
 * its pool throws, and PoolClosedError if it does not answer in `timeoutMs` (default: it may take any time).
 */
export async function askHost(
  dataDir: string,
  operation: Operation,
  timeoutMs = 0,
): Promise<{ value: unknown } | undefined> {
  const control = controlOf(dataDir)
  const socket = control === undefined ? undefined : await connectTo(control.path)
  if (socket === undefined) return undefined
  socket.setTimeout(timeoutMs, () => socket.destroy())
  const answer = await ask(socket, { operation, input: nothing(), secret: control?.secret }).next()
  return { value: answer.value }
}

/** Asks the host that must run on the data directory of a command. Throws ConfigError if none does, and what its pool throws. */
export async function onRunningHost(flags: DataDirFlags, operation: Operation): Promise<unknown> {
  const dataDir = await dataDirOf(flags)
  const access = accessTo(dataDir)
  if (access === 'none')
    throw new ConfigError('--data-dir', `${dataDir} is no data directory: no pool has ever run there`)
  if (typeof access === 'object')
    throw new ConfigError(
      '--data-dir',
      `${dataDir} cannot be used: ${access.closedBy}; run it as that user, or as root`,
    )
  const answer = await askHost(dataDir, operation)
  if (answer === undefined)
    throw new ConfigError(
      '--data-dir',
      `no host runs on ${dataDir}, so there is nothing to act on; start it, or name another one`,
    )
  return answer.value
}
