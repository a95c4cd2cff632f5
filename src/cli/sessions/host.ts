import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { blame, loadConfig } from '../../config/load.ts'
import type { Config } from '../../config/load.ts'
import { ask, connectTo } from '../../control/client.ts'
import { operate } from '../../control/operations.ts'
import type { Operation } from '../../control/operations.ts'
import { ConfigError } from '../../errors.ts'
import { DEFAULT_DATA_DIR, createPool } from '../../index.ts'
import type { PoolOptions } from '../../index.ts'
import { sessionArchive } from '../../server/managed-agents/sessions/session-archive.ts'
import { accessTo } from '../../store/access.ts'
import { STORE_FILE, controlOf } from '../../store/data-dir.ts'
import { copyOfStore, isOutdated } from '../../store/reading.ts'
import type { ReadStore } from '../../store/reading.ts'
import type { DataDirFlags } from '../shared/running-host.ts'
import { withStore } from '../shared/store-flag.ts'
import { apiOf } from './api-file.ts'
import { isReading, read } from './reading.ts'

/** An agent that is never started: what is kept can be worked on without any. */
const NO_AGENT = { upkeep: { spares: { max: 0 }, unboundSpares: { max: 0 } } }

interface Exchange {
  /** Gets the lines that the operation makes. */
  take?: (line: string) => unknown
  /** The lines that it needs. */
  input?: AsyncIterable<string>
}

async function* nothing(): AsyncGenerator<string> {
  // No line follows.
}

const loadOptions = ({ config }: DataDirFlags): Promise<Config> => loadConfig(config, process.cwd())

const placeOf = ({ dataDir }: DataDirFlags, { options }: Config): string =>
  resolve(dataDir ?? options.dataDir ?? DEFAULT_DATA_DIR)

/**
 * Does an operation on a data directory: by the host that runs on it, else here. What only reads changes nothing; everything
 * else is done by a pool of our own, for as long as that takes. Throws what a pool throws, and ConfigError where there is no
 * data directory, or one of another user.
 */
export async function onDataDir(flags: DataDirFlags, operation: Operation, exchange: Exchange = {}): Promise<unknown> {
  const { take = () => undefined, input = nothing() } = exchange
  const loaded = await loadOptions(flags)
  const options = withStore(loaded.options, flags)
  const dataDir = placeOf(flags, loaded)
  checkAccess(dataDir, operation)
  const control = controlOf(dataDir)
  const socket = control === undefined ? undefined : await connectTo(control.path)
  if (socket !== undefined) return drive(ask(socket, { operation, input, secret: control?.secret }), take)
  const hasOwnStore = options['store'] === undefined && existsSync(join(dataDir, STORE_FILE))
  if (isReading(operation) && hasOwnStore) return read(dataDir, operation)
  await using copy = hasOwnStore ? await copyForReading(dataDir, operation) : undefined
  const store = copy === undefined ? {} : { store: copy.store }
  // createPool() checks what this type only claims.
  const given = { ...options, ...store, dataDir, agents: NO_AGENT } as PoolOptions
  await using pool = await createPool(given).catch((error: unknown) => Promise.reject(blame(loaded, error)))
  using api = apiOf(pool, dataDir, operation)
  if (api !== undefined) pool.archiveAlso(sessionArchive(api.resources))
  return await drive(operate(pool, operation, input), take)
}

/** A session may come into a new place; for anything else there must be a data directory. */
function checkAccess(dataDir: string, operation: Operation): void {
  const access = accessTo(dataDir)
  if (access === 'none' && operation.do !== 'import')
    throw new ConfigError('--data-dir', `${dataDir} is no data directory: no pool has ever run there`)
  if (typeof access === 'object')
    throw new ConfigError(
      '--data-dir',
      `${dataDir} cannot be used: ${access.closedBy}; run it as that user, or as root`,
    )
}

/** What takes out or shows only must not bring an old schema up to date: the release that wrote it may still be needed. */
async function copyForReading(dataDir: string, operation: Operation): Promise<ReadStore | undefined> {
  const takes = operation.do === 'export' || operation.do === 'backup' || (operation.do === 'prune' && operation.dryRun)
  const path = join(dataDir, STORE_FILE)
  return takes && isOutdated(path) ? copyOfStore(path) : undefined
}

async function drive(work: AsyncGenerator<string, unknown>, take: (line: string) => unknown): Promise<unknown> {
  for (;;) {
    const next = await work.next()
    if (next.done === true) return next.value
    await take(next.value)
  }
}
