import type { HostOverview, TurnRow, WorkerRow } from '../../control/operations.ts'

/** By what the rows are sorted: what is highest, oldest, or longest in its phase comes first. */
export type Sort = 'memory' | 'age' | 'phase'

/** A worker with its turn, or a turn that has no worker yet. */
export interface Row {
  /** Stays the same while it is shown. */
  id: string
  tenant: string
  /** Undefined for a spare. */
  session: string | undefined
  agent: string
  state: string
  phase: TurnRow['phase'] | undefined
  memoryBytes: number | undefined
  /** Milliseconds since the epoch. */
  since: number
  processes: number
  turns: number | undefined
  /** Undefined for a turn that waits. */
  worker: string | undefined
}

const workerRow = (worker: WorkerRow, phase: TurnRow['phase'] | undefined): Row => {
  const { id, tenant, session, agent, state, memoryBytes, startedAt: since, processes, turns } = worker
  return { id, tenant, session, agent, state, phase, memoryBytes, since, processes, turns, worker: id }
}

const waitingRow = ({ id, tenant, session, agent, phase, startedAt }: TurnRow): Row => ({
  id,
  tenant,
  session,
  agent,
  phase,
  since: startedAt,
  state: 'waits',
  memoryBytes: undefined,
  processes: 0,
  turns: undefined,
  worker: undefined,
})

const VALUES: Record<Sort, (row: Row) => number> = {
  memory: ({ memoryBytes = 0 }) => -memoryBytes,
  age: ({ since }) => since,
  phase: ({ phase }) => phase?.since ?? Infinity,
}

/** All workers and all turns that wait for one, sorted. */
export function rowsOf({ workers, turns }: Pick<HostOverview, 'workers' | 'turns'>, sort: Sort): Row[] {
  const known = new Set(workers.map(({ id }) => id))
  const phases = new Map(turns.map(({ worker, phase }) => [worker, phase]))
  const rows = [
    ...workers.map((worker) => workerRow(worker, phases.get(worker.id))),
    ...turns.filter(({ worker }) => worker === undefined || !known.has(worker)).map(waitingRow),
  ]
  const value = VALUES[sort]
  return rows.toSorted((a, b) => value(a) - value(b) || (a.id < b.id ? -1 : 1))
}
