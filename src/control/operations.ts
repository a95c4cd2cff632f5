import { ConfigError } from '../errors.ts'
import type { Pool } from '../pool/pool.ts'
import type { ImportOptions } from '../pool/upkeep.ts'
import type { SessionPage } from '../store/store.ts'

/** What can be asked of a pool from outside of its process. */
export type Operation =
  | { do: 'host' }
  | { do: 'list'; page: Partial<SessionPage> }
  | { do: 'show'; tenant: string; key: string }
  | { do: 'delete'; tenant: string; key: string }
  | { do: 'export'; tenant: string; key: string; workspace: boolean }
  /** The lines of the session follow. */
  | { do: 'import'; options: ImportOptions }
  | { do: 'prune'; dryRun: boolean }
  | { do: 'erase'; tenant: string }
  | { do: 'backup'; path: string }

/** Does one operation: gives the lines that it makes, then its value. Throws what the pool throws. */
export async function* operate(
  pool: Pool,
  operation: Operation,
  input: AsyncIterable<string>,
): AsyncGenerator<string, unknown> {
  switch (operation.do) {
    case 'host':
      return { pid: process.pid, stats: pool.stats() }
    case 'list':
      return pool.sessions(operation.page)
    case 'show': {
      const session = await pool.session(operation.key, { tenant: operation.tenant })
      return session.info()
    }
    case 'delete': {
      const session = await pool.session(operation.key, { tenant: operation.tenant })
      await session.delete()
      return undefined
    }
    case 'export':
      yield* pool.exportSession(operation.key, operation)
      return undefined
    case 'import': {
      const session = await pool.importSession(input, operation.options)
      return session.info()
    }
    case 'prune':
      return pool.prune(operation)
    case 'erase':
      return pool.eraseTenant(operation.tenant)
    case 'backup':
      return pool.backup(operation.path)
    default:
      throw new ConfigError('do', `"${String((operation as { do: unknown }).do)}" is nothing that this release can do`)
  }
}
