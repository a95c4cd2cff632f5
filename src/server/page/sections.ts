import { hostname } from 'node:os'
import type { Pool, PoolStats, TurnInfo, WorkerDetails } from '../../index.ts'
import { verdictOf } from '../../telemetry/verdict.ts'
import type { AgentRow, HostRow, Sections, WorkerRow } from './wire.ts'

/** Of tenants and agents with the highest cost. */
const MAX_USAGE = 20

/** What the overview is made of beside the pool's own figures. */
export interface OverviewFacts {
  obstacle: string | undefined
  recentlyShed: number
  now: number
  sessions: Sections['overview']['sessions']
}

export function overviewOf(
  stats: PoolStats,
  turns: readonly TurnInfo[],
  { obstacle, recentlyShed, now, sessions }: OverviewFacts,
): Sections['overview'] {
  const { agents: _, ...memory } = stats.memory
  const phases: Record<string, number> = {}
  for (const { phase } of turns) phases[phase.name] = (phases[phase.name] ?? 0) + 1
  const { running, waiting, limit } = stats.turns
  return {
    verdict: verdictOf({ stats, turns, now, recentlyRefused: recentlyShed }),
    turns: { running, waiting, limit },
    waits: stats.waits,
    suspended: stats.suspended,
    workers: stats.workers,
    starts: stats.starts,
    memory,
    store: stats.store,
    totals: stats.totals,
    usage: usageOf(stats),
    phases,
    obstacle: obstacle ?? null,
    recentlyShed,
    sessions,
  }
}

const usageOf = ({ usage }: PoolStats): Sections['overview']['usage'] =>
  usage.byTenantAndAgent
    .map(({ tenant, agent, usage: used }) => ({
      tenant,
      agent,
      tokens: used.inputTokens + used.outputTokens + used.cacheReadTokens + used.cacheWriteTokens,
      costUsd: used.costUsd,
    }))
    .toSorted((a, b) => b.costUsd - a.costUsd)
    .slice(0, MAX_USAGE)

export function workerRows(workers: readonly WorkerDetails[], turns: readonly TurnInfo[]): Record<string, WorkerRow> {
  const phases = new Map(turns.map(({ worker, phase }) => [worker, phase]))
  return Object.fromEntries(workers.map((worker) => [worker.id, workerRow(worker, phases.get(worker.id))]))
}

function workerRow(worker: WorkerDetails, phase: TurnInfo['phase'] | undefined): WorkerRow {
  const { sdkSessionId: _, warmth: __, cwd: ___, processes, ...row } = worker
  return { ...row, processes: processes.length, ...(phase === undefined ? {} : { phase }) }
}

/** Agents of the config and of tenants, with what the pool has learned that each needs. */
export function agentRows(
  pool: Pool,
  { memory }: PoolStats,
  workers: readonly WorkerDetails[],
  turns: readonly TurnInfo[],
): Record<string, AgentRow> {
  const rows: Record<string, AgentRow> = {}
  for (const name of pool.agents) {
    const { model, permissionMode } = pool.agentOptions(name)
    rows[name] = {
      name,
      model,
      permissionMode,
      needs: memory.agents[name],
      workers: workers.filter(({ agent }) => agent === name).length,
      running: turns.filter(({ agent, worker }) => agent === name && worker !== undefined).length,
    }
  }
  return rows
}

/** Lists this host and the hosts of its database, by a stable id. */
export function hostRows(
  hosts: ReturnType<Pool['hosts']>,
  { turns: { running, waiting, limit } }: Pick<PoolStats, 'turns'>,
  { state, version, startedAt }: { state: string; version: string; startedAt: number },
): Record<string, HostRow> {
  const own = hosts.find(({ isThisHost }) => isThisHost)
  const here: HostRow = {
    name: own?.place ?? hostname(),
    state,
    version,
    running,
    waiting,
    free: Math.max(0, limit - running - waiting),
    here: {
      pid: process.pid,
      node: process.version,
      startedAt,
      // Coarse, so that it is not news each time.
      rssBytes: Math.round(process.memoryUsage.rss() / 2 ** 20) * 2 ** 20,
    },
  }
  const others = hosts.filter((host) => host !== own)
  return {
    [own?.id ?? 'here']: here,
    ...Object.fromEntries(
      others.map(({ id, place, isThisHost: _, silentMs: __, ...host }) => [id, { name: place, ...host }]),
    ),
  }
}
