import type { PoolStats } from '../pool/pool.ts'
import type { TurnInfo } from '../events.ts'
import { formatDuration, formatSize } from '../units.ts'

/** How traffic goes: in one word, in sentences, and what to do. */
export interface Verdict {
  state: 'idle' | 'flowing' | 'waiting' | 'refusing' | 'failing'
  says: string
  /** Facts that the sentence follows from. */
  because: string[]
  /** What an operator can do, most useful first. */
  next: string[]
}

/** A turn that is in one phase for so long is named. */
const LONG_MS = 60_000

type Waits = 'turns' | 'tenant' | 'memory' | 'suspended'

const NEXT: Record<Waits | 'session', string> = {
  turns: 'raise limits.turns or add a host; look for turns that are long in another phase',
  tenant: 'raise limits.turnsPerTenant if there is room',
  memory: 'give the host more memory, make agents smaller, or let residency close idle processes sooner',
  suspended: 'run "claude-agent-pool resume", with --tenant for a tenant',
  session: 'interrupt the turn before it, or send with onBusy: "interrupt" or "steer"',
}

const LONG_PHASE: Partial<Record<TurnInfo['phase']['name'], string>> = {
  starting: 'keep spares (spares.min); raise starts.concurrent if cores are idle',
  prompt: 'fix the MCP server or hook that it waits for, or lower starts.mcpTimeout',
  model: 'look at the status page of the model API, and at the size of the conversation',
  tool: 'look at the processes of the tool ("claude-agent-pool ps"), and give it a time limit',
  permission: 'answer the open question, or allow the tool (allowedTools)',
  reader: 'read on in the client of the turn; its process is paused until then',
  saving: 'look at the disk and at store_seconds',
}

interface Traffic {
  stats: PoolStats
  turns: readonly TurnInfo[]
  /** The wall clock, in milliseconds. */
  now: number
  /** Turns that were refused within the last minute; undefined: not known. */
  recentlyRefused?: number
}

/** Judges the traffic of a pool by its figures. */
export function verdictOf(traffic: Traffic): Verdict {
  const { stats } = traffic
  const { store, suspended, memory, turns } = stats
  const because = factsOf(traffic)
  const next = adviceOf(traffic)
  if (store.trouble !== undefined)
    return {
      state: 'failing',
      says: `The store fails (${store.trouble}): nothing that is said can be kept.`,
      because,
      next: [
        'free space on the disk of the data directory, or fix its permissions; the pool continues by itself',
        ...next,
      ],
    }
  if (suspended.pool)
    return {
      state: 'refusing',
      says: 'The pool is suspended: no new turn starts.',
      because,
      next: [NEXT.suspended, ...next],
    }
  if (memory.pressure === 'critical')
    return { state: 'refusing', says: 'Memory is critical: no new turn starts.', because, next: [NEXT.memory, ...next] }
  const { oldest } = stats.waits
  if (oldest !== undefined)
    return {
      state: 'waiting',
      says: `Turns wait: ${turns.waiting} in the queue, the oldest for ${formatDuration(oldest.waitMs)} because of ${oldest.reason}.`,
      because,
      next: [NEXT[oldest.reason as Waits] ?? NEXT.turns, ...next],
    }
  if (isFull(stats) || (traffic.recentlyRefused ?? 0) > 0) return refusing(traffic, because, next)
  if (turns.running === 0) return { state: 'idle', says: 'Nothing runs, and nothing waits.', because, next }
  return {
    state: 'flowing',
    says: `Turns flow: ${turns.running} ${turns.running === 1 ? 'runs' : 'run'}, none waits for a place.`,
    because,
    next,
  }
}

const isFull = ({ turns, memory }: PoolStats): boolean =>
  turns.running >= turns.limit || (turns.running > 0 && turns.running >= memory.turnsThatFit)

function refusing({ stats, recentlyRefused = 0 }: Traffic, because: string[], next: string[]): Verdict {
  const { turns, memory } = stats
  const refused = recentlyRefused > 0 ? `${recentlyRefused} turns were refused within the last minute` : undefined
  if (!isFull(stats))
    return { state: 'flowing', says: `Turns flow again; ${refused ?? 'none was refused lately'}.`, because, next }
  const bound: Waits = turns.running >= turns.limit ? 'turns' : 'memory'
  const why =
    bound === 'turns' ? `all ${turns.limit} places are taken` : `memory has room for ${memory.turnsThatFit} turns`
  return {
    state: refused === undefined ? 'flowing' : 'refusing',
    says: `The pool is full: ${why}. ${refused === undefined ? 'The next turn would wait or be refused.' : `${refused}.`}`,
    because,
    next: [NEXT[bound], ...next],
  }
}

function factsOf({ stats, turns }: Traffic): string[] {
  const { memory, waits, workers, totals, suspended } = stats
  const limit = Number.isFinite(stats.turns.limit) ? ` of ${stats.turns.limit}` : ''
  const phases = countsOf(turns.map(({ phase }) => phase.name))
  const facts = [`${stats.turns.running}${limit} turns run; ${memory.turnsThatFit} would fit into memory`]
  if (phases !== '') facts.push(`phases now: ${phases}`)
  const waiting = Object.entries(waits.byReason)
  if (waiting.length > 0) facts.push(`turns wait because of: ${waiting.map(([why, n]) => `${why} ${n}`).join(', ')}`)
  if (Number.isFinite(memory.limitBytes))
    facts.push(
      `memory: ${formatSize(memory.usedBytes)} of ${formatSize(memory.limitBytes)} in use, pressure ${memory.pressure}`,
    )
  facts.push(`${workers.total} workers: ${workers.busy} busy, ${workers.idle} idle, ${workers.starting} starting`)
  const refused = Object.entries(totals.refusedByReason)
  if (refused.length > 0) facts.push(`refused since the start: ${refused.map(([why, n]) => `${why} ${n}`).join(', ')}`)
  if (suspended.tenants.length > 0) facts.push(`${suspended.tenants.length} tenants are suspended`)
  return facts
}

/** What to do about turns that are in one phase for long, and about failures. */
function adviceOf({ stats, turns, now }: Traffic): string[] {
  const advice: string[] = []
  const long = new Map<TurnInfo['phase']['name'], { turn: TurnInfo; count: number }>()
  for (const turn of turns) {
    const { name, since } = turn.phase
    if (now - since < LONG_MS || name === 'queued') continue
    const known = long.get(name)
    if (known === undefined || turn.phase.since < known.turn.phase.since)
      long.set(name, { turn, count: (known?.count ?? 0) + 1 })
    else known.count += 1
  }
  for (const [name, { turn, count }] of long) {
    const { detail, since } = turn.phase
    const what = detail === undefined ? name : `${name} ${detail}`
    advice.push(
      `${count} ${count === 1 ? 'turn is' : 'turns are'} long in "${what}" (${formatDuration(now - since)}): ${LONG_PHASE[name] ?? 'see the observability page'}`,
    )
  }
  if (stats.suspended.tenants.length > 0)
    advice.push('resume suspended tenants: "claude-agent-pool resume --tenant NAME"')
  if (stats.waits.byReason['session'] !== undefined)
    advice.push(`turns wait for the one before them in their session: ${NEXT.session}`)
  if (stats.totals.exitsByCause.out_of_memory > 0)
    advice.push(
      `${stats.totals.exitsByCause.out_of_memory} processes were ended by the kernel for memory: lower limits.workerMemory or limits.turns`,
    )
  return advice
}

function countsOf(names: readonly string[]): string {
  const counts = new Map<string, number>()
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1)
  return [...counts].map(([name, n]) => `${name} ${n}`).join(', ')
}
