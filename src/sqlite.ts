import { createRequire } from 'node:module'
import type * as Sqlite from 'node:sqlite'

export type DatabaseSync = Sqlite.DatabaseSync

/**
 * Loads a module of Node without its ExperimentalWarning, about which users of this package can do nothing. All other
 * warnings are emitted as before, and no listener is touched.
 */
function loadQuietly<T>(name: string): T {
  const emitWarning = Reflect.get(process, 'emitWarning') as typeof filtered
  const filtered = (warning: string | Error, ...details: unknown[]): void => {
    const [how] = details
    const type = typeof how === 'object' && how !== null ? (how as { type?: unknown }).type : how
    if (type !== 'ExperimentalWarning') Reflect.apply(emitWarning, process, [warning, ...details])
  }
  process.emitWarning = filtered
  try {
    return createRequire(import.meta.url)(name) as T
  } finally {
    process.emitWarning = emitWarning
  }
}

const sqlite = loadQuietly<typeof Sqlite>('node:sqlite')

/** Node's SQLite. Import it from here only: an `import` of `node:sqlite` prints its warning in the programs of users. */
export const DatabaseSync: typeof Sqlite.DatabaseSync = sqlite.DatabaseSync
export const backup: typeof Sqlite.backup = sqlite.backup
