import { expect, test } from 'vitest'
import { inOrder } from '../../../src/driver/processes.ts'
import { ProcessTable, ticksSinceBoot } from '../../../src/process/table.ts'
import type { ProcessEntry } from '../../../src/process/table.ts'

/** More than a kernel gives. */
const NO_PID = 5_000_000

const entry = (pid: number, ppid: number, startTime: number): ProcessEntry => ({
  pid: NO_PID + pid,
  ppid: NO_PID + ppid,
  startTime: String(startTime),
  group: 0,
  session: 0,
  marker: undefined,
})

test('Parents come before their children, the oldest first, and what has lost its parent stands at the top', () => {
  const members = [entry(9, 2, 30), entry(4, 1, 20), entry(3, 1, 20), entry(1, 0, 10), entry(2, 1, 15), entry(7, 6, 5)]
  const rows = inOrder(members).map(({ pid, ppid, depth }) => [pid - NO_PID, ppid - NO_PID, depth])
  expect(rows).toEqual([
    [7, 6, 0],
    [1, 0, 0],
    [2, 1, 1],
    [9, 2, 2],
    [3, 1, 1],
    [4, 1, 1],
  ])
})

test.runIf(process.platform === 'linux')('A process is told with its age, its command and its memory', () => {
  const own = new ProcessTable().read().find(({ pid }) => pid === process.pid) as ProcessEntry
  const [row] = inOrder([{ ...own, startTime: String(ticksSinceBoot() - 500) }])
  expect(row).toMatchObject({ pid: process.pid, ppid: process.ppid, depth: 0 })
  expect(row?.command).toMatch(/^node\b/)
  expect(row?.command).not.toMatch(/\0|\s$/)
  expect(row?.memoryBytes).toBeGreaterThan(2 ** 20)
  expect(row?.ageMs).toBeGreaterThanOrEqual(5_000)
  expect(row?.ageMs).toBeLessThan(60_000)
})

test('One that is gone meanwhile has no command, no memory and no age below zero', () => {
  const [row] = inOrder([entry(1, 0, 2 ** 50)])
  expect(row).toMatchObject({ command: '?', memoryBytes: undefined, ageMs: 0 })
})
