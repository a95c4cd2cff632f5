import type { HostOverview } from '../../control/operations.ts'

/** Gives each name the same stand-in wherever it comes. */
class StandIns {
  readonly #kind: string
  readonly #names = new Map<string, string>()

  constructor(kind: string) {
    this.#kind = kind
  }

  of(name: string): string {
    let standIn = this.#names.get(name)
    if (standIn === undefined) {
      standIn = `${this.#kind}-${this.#names.size + 1}`
      this.#names.set(name, standIn)
    }
    return standIn
  }
}

/**
 * What a host does, for others to read: tenants and sessions have stand-ins, and paths and ids of conversations are left out.
 * What is not named here is not in it.
 */
export function redactedHost({ now, verdict, stats, turns, workers }: HostOverview): object {
  const tenants = new StandIns('tenant')
  const sessions = new StandIns('session')
  const ref = ({ tenant, session }: { tenant: string; session: string | undefined }): object => ({
    tenant: tenants.of(tenant),
    session: session === undefined ? undefined : sessions.of(`${tenant}\0${session}`),
  })
  return {
    now,
    verdict,
    stats: redactedStats(stats, tenants),
    turns: turns.map((turn) => ({
      ...pick(turn, ['agent', 'worker', 'warmth', 'phase', 'phases', 'tools', 'startedAt']),
      ...ref(turn),
    })),
    workers: workers.map((worker) => ({ ...pick(worker, WORKER_FACTS), ...ref(worker) })),
  }
}

const WORKER_FACTS = [
  'id',
  'agent',
  'state',
  'purpose',
  'warmth',
  'startedAt',
  'lastUsedAt',
  'turns',
  'memoryBytes',
  'swappedBytes',
  'pinnedBy',
  'processes',
] as const

function redactedStats(stats: HostOverview['stats'], tenants: StandIns): object {
  const { waits, suspended, usage, memory } = stats
  const { boundBy: _, ...memoryFigures } = memory
  const { oldest, byReason } = waits
  return {
    ...pick(stats, ['turns', 'workers', 'starts', 'store', 'activeSessions', 'totals']),
    memory: memoryFigures,
    waits: { byReason, oldest: oldest && { ...oldest, tenant: tenants.of(oldest.tenant) } },
    suspended: { pool: suspended.pool, tenants: suspended.tenants.map((name) => tenants.of(name)) },
    usage: {
      ...pick(usage, ['total', 'byAgent']),
      byTenantAndAgent: usage.byTenantAndAgent.map(({ tenant, ...used }) => ({ ...used, tenant: tenants.of(tenant) })),
    },
  }
}

const pick = <T extends object, Key extends keyof T>(from: T, keys: readonly Key[]): Pick<T, Key> =>
  Object.fromEntries(keys.map((key) => [key, from[key]])) as Pick<T, Key>

/** Durations, sizes and shares: text that says a number. */
const MEASURE = /^\d+(\.\d+)?\s?(ms|s|m|h|d|B|KB|MB|GB|KiB|MiB|GiB|TiB|%)$/

/** Words that options take; no secret is one of them. */
const WORDS = new Set([
  'none',
  'auto',
  'wait',
  'refuse',
  'fixed',
  'adaptive',
  'default',
  'acceptEdits',
  'plan',
  'bypassPermissions',
  'dontAsk',
  'bubblewrap',
  'user',
  'open',
  'model',
  'detach',
  'interrupt',
  'steer',
  'queue',
  'compact',
  'fresh',
  'fail',
  'day',
  'month',
])

const HIDDEN = '(text)'

/** A config with its numbers, measures and modes; every other text is replaced. Its names are those of options and agents. */
export function redactedConfig(value: unknown): unknown {
  if (typeof value === 'string') return MEASURE.test(value) || WORDS.has(value) ? value : HIDDEN
  if (typeof value === 'number' || typeof value === 'boolean' || value === null) return value
  if (Array.isArray(value)) return value.map(redactedConfig)
  if (typeof value !== 'object') return `(${typeof value})`
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [
      name,
      // Its names are the user's: of variables, headers, servers and tenants.
      HAS_OWN_NAMES.has(name) ? `(${sizeOf(item)} entries)` : redactedConfig(item),
    ]),
  )
}

const HAS_OWN_NAMES = new Set(['env', 'headers', 'mcpServers', 'tenants', 'hooks', 'metadata', 'settings'])

const sizeOf = (item: unknown): number => (typeof item === 'object' && item !== null ? Object.keys(item).length : 1)
