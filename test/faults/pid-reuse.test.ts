import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect, onTestFinished, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { treeOf } from '../../src/process/ownership.ts'
import { signalProcess } from '../../src/process/tree.ts'
import { sweep } from '../../src/process/sweep.ts'
import { ProcessTable } from '../../src/process/table.ts'
import { identify } from './procfs.ts'
import type { Identity } from './procfs.ts'

/** A process that is nobody's of the pool, with a pid that once was another's. */
async function foreignProcess(): Promise<{ now: Identity; before: Identity; lives: () => boolean }> {
  const child = spawn('sleep', ['300'], { stdio: 'ignore', detached: true })
  onTestFinished(async () => {
    child.kill('SIGKILL')
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  })
  await once(child, 'spawn')
  const now = identify(child.pid ?? 0)
  return {
    now,
    before: { pid: now.pid, startTime: String(Number(now.startTime) - 500) },
    lives: () => child.exitCode === null && child.signalCode === null,
  }
}

test('A signal for a process that is gone does not reach the one that has its pid now', async () => {
  const { before, lives } = await foreignProcess()
  expect(signalProcess(before, 'SIGKILL')).toBe(false)
  // The right one is reached, so it was the start time that made the difference.
  const other = await foreignProcess()
  expect(signalProcess(other.now, 'SIGKILL')).toBe(true)
  await expect.poll(() => other.lives()).toBe(false)
  expect(lives()).toBe(true)
})

test('A sweep that still finds the old process spares the new one', async () => {
  const { before, lives } = await foreignProcess()
  let looks = 0
  const look = (): Identity[] => {
    looks += 1
    return looks < 3 ? [before] : []
  }
  expect(await sweep(look, 'SIGKILL', 1_000, systemClock)).toMatchObject({ left: 0 })
  expect(lives()).toBe(true)
})

test('A member of a tree that was remembered by its pid is not the foreign process that has that pid now', async () => {
  const { before, now, lives } = await foreignProcess()
  const remembered = new Map([[before.pid, before.startTime]])
  const table = new ProcessTable()
  const known = treeOf(table.read(), ({ pid, startTime }) => remembered.get(pid) === startTime)
  expect(known).toEqual([])
  const right = treeOf(table.read(), ({ pid, startTime }) => pid === now.pid && startTime === now.startTime)
  expect(right.map(({ pid }) => pid)).toEqual([now.pid])
  expect(lives()).toBe(true)
})
