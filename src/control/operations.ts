import { systemClock } from '../clock.ts'
import { ConfigError } from '../errors.ts'
import type { Pool } from '../pool/pool.ts'
import type { SessionPage, SessionRecord } from '../store/store.ts'
import type { ImportOptions } from '../maintenance/import-session.ts'
import { verdictOf } from '../telemetry/verdict.ts'
import type { Verdict } from '../telemetry/verdict.ts'

/** What can be asked of a pool from outside of its process. */
export type Operation =
  | { do: 'host' }
  /** Every turn that has not ended, without its steps. */
  | { do: 'turns' }
  /** All that a view of the host shows at once. */
  | { do: 'overview' }
  /** Stops the turn that runs. */
  | { do: 'interrupt'; tenant: string; key: string }
  | { do: 'hibernate'; tenant: string; key: string }
  | { do: 'closeWorker'; id: string; now: boolean }
  /** Without a tenant: the pool. */
  | { do: 'suspend' | 'resume'; tenant?: string }
  | { do: 'list'; page: Partial<SessionPage> }
  | { do: 'show'; tenant: string; key: string }
  | { do: 'delete'; tenant: string; key: string }
  | { do: 'export'; tenant: string; key: string; workspace: boolean }
  /** The lines of the session follow. */
  | { do: 'import'; options: ImportOptions }
  | { do: 'prune'; dryRun: boolean }
  | { do: 'tenant'; tenant: string }
  | { do: 'erase'; tenant: string }
  | { do: 'backup'; path: string }

/** What there is of a tenant. */
export interface TenantSummary {
  sessions: number
  /** Of all its sessions. */
  turns: number
  /** Agents of `/v1` with their versions, environments, sessions and files that the store knows. */
  resources: number
  /** Keys of sessions that run a turn now. */
  running: string[]
}

/** A turn without its steps, which are many. */
export type TurnRow = Omit<ReturnType<Pool['turns']>[number], 'steps'>

/** A worker with the number of its processes in place of them. */
export type WorkerRow = Omit<ReturnType<Pool['workers']>[number], 'processes'> & { processes: number }

/** What a host does now. */
export interface HostOverview {
  pid: number
  /** Milliseconds since the epoch. */
  now: number
  verdict: Verdict
  stats: ReturnType<Pool['stats']>
  turns: TurnRow[]
  workers: WorkerRow[]
}

const PAGE = 200

/** Counts what there is of a tenant, which `list` gives page by page. */
export async function summarize(
  tenant: string,
  list: (page: SessionPage) => Promise<Pick<SessionRecord, 'tenant' | 'key' | 'turns'>[]>,
): Promise<Pick<TenantSummary, 'sessions' | 'turns'>> {
  let [sessions, turns] = [0, 0]
  let after: SessionPage['after']
  for (;;) {
    const page = await list({ tenant, limit: PAGE, ...(after === undefined ? {} : { after }) })
    sessions += page.length
    for (const session of page) turns += session.turns
    if (page.length < PAGE) return { sessions, turns }
    after = page.at(-1)
  }
}

const sessionOf = (pool: Pool, { key, tenant }: { key: string; tenant: string }): ReturnType<Pool['session']> =>
  pool.session(key, { tenant })

async function countResources({ apiStore }: Pool, tenant: string): Promise<number> {
  const kinds = [
    'agent',
    'environment',
    'session',
    'file',
    'skill_version',
    'vault',
    'vault_credential',
    'memory_store',
    'webhook_delivery',
  ] as const
  const counts = kinds.map(async (kind) => (await apiStore?.resources.count(kind, tenant)) ?? 0)
  return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0)
}

const scopeOf = ({ tenant }: { tenant?: string }): { tenant?: string } => (tenant === undefined ? {} : { tenant })

const turnRows = (pool: Pool): TurnRow[] => pool.turns().map(({ steps: _, ...turn }) => turn)

function overview(pool: Pool): HostOverview {
  const stats = pool.stats()
  const now = systemClock.wall()
  const verdict = verdictOf({ stats, turns: pool.turns(), now })
  const workers = pool.workers().map(({ processes, ...worker }) => ({ ...worker, processes: processes.length }))
  return { pid: process.pid, now, verdict, stats, turns: turnRows(pool), workers }
}

/** Does one operation: gives the lines that it makes, then its value. Throws what the pool throws. */
export async function* operate(
  pool: Pool,
  operation: Operation,
  input: AsyncIterable<string>,
): AsyncGenerator<string, unknown> {
  switch (operation.do) {
    case 'host':
      return { pid: process.pid, stats: pool.stats() }
    case 'turns':
      return turnRows(pool)
    case 'overview':
      return overview(pool)
    case 'interrupt':
      return (await sessionOf(pool, operation)).interrupt()
    case 'hibernate':
      return (await sessionOf(pool, operation)).hibernate()
    case 'closeWorker':
      return pool.closeWorker(operation.id, { now: operation.now })
    case 'suspend':
      return pool.suspend(scopeOf(operation))
    case 'resume':
      return pool.resume(scopeOf(operation))
    case 'list':
      return pool.sessions(operation.page)
    case 'show':
      return (await sessionOf(pool, operation)).info()
    case 'delete':
      return (await sessionOf(pool, operation)).delete()
    case 'export': {
      const { key, tenant, workspace } = operation
      return { leftOut: yield* pool.exportSession(key, { tenant, workspace }) }
    }
    case 'import': {
      const session = await pool.importSession(input, operation.options)
      return session.info()
    }
    case 'prune':
      return pool.prune({ dryRun: operation.dryRun })
    case 'tenant': {
      const { tenant } = operation
      const sessions = await summarize(tenant, (page) => pool.sessions(page))
      return { ...sessions, resources: await countResources(pool, tenant), running: pool.runningSessions(tenant) }
    }
    case 'erase':
      return pool.eraseTenant(operation.tenant)
    case 'backup':
      return pool.backup(operation.path)
    default:
      throw new ConfigError('do', `"${String((operation as { do: unknown }).do)}" is nothing that this release can do`)
  }
}
