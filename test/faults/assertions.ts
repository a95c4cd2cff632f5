import { appendFileSync } from 'node:fs'
import { expect } from 'vitest'
import type { PoolStats, WorkerInfo } from '../../src/index.ts'
import { identify, isProxy, isSame, living } from './procfs.ts'
import type { Identity } from './procfs.ts'

/** True for the whole suite, false for the short one of `npm test`. */
export const WHOLE: boolean = process.env['FAULTS'] === 'all'

/** Notes a measured time, for the table of docs/faults.md: one JSON line in the file that `FAULTS_REPORT` names. */
export function measured(fault: string, value: number, unit: 'ms' | 'MiB' = 'ms'): void {
  const report = process.env['FAULTS_REPORT']
  if (report !== undefined) appendFileSync(report, `${JSON.stringify({ fault, value, unit })}\n`)
}

/** No turn runs or waits, and the workers that the pool counts are those that live. */
export function expectTrueGauges(
  stats: PoolStats,
  workers: WorkerInfo[],
  host: Identity = identify(process.pid),
): void {
  expect(stats.turns).toMatchObject({ running: 0, waiting: 0 })
  expect(stats.starts).toEqual({ running: 0, waiting: 0 })
  expect(stats.workers).toMatchObject({ starting: 0, busy: 0, closing: 0, closed: 0, total: workers.length })
  const roots = living()
    .filter((entry) => entry.ppid === host.pid && isSame(entry.host, host) && !isProxy(entry))
    .map(({ pid }) => pid)
  expect(roots.toSorted((a, b) => a - b)).toEqual(workers.map(({ pid }) => pid ?? 0).toSorted((a, b) => a - b))
}
