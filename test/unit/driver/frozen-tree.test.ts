import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { systemClock } from '../../../src/clock.ts'
import { Freezing } from '../../../src/driver/freezing.ts'
import { FrozenTree } from '../../../src/driver/frozen-tree.ts'
import { WorkerCgroup } from '../../../src/process/cgroup.ts'
import { recordedTree } from '../../fixtures/cgroup-tree.ts'

const CHARGED = 1_000_000
const HAS_SWAP = { '/proc/meminfo': 'SwapTotal: 4000 kB\nSwapFree: 4000 kB\n' }

/** A worker's cgroup with files as the kernel shows them, and what was said of freezing. */
function worker(files: Readonly<Record<string, string>>, controllers: readonly 'memory'[] = ['memory']) {
  const { root, read, write } = recordedTree({ ...HAS_SWAP, ...files })
  const troubles: string[] = []
  const freezing = new Freezing((message) => void troubles.push(message), systemClock, root)
  const cgroup = new WorkerCgroup([{ version: 2, path: join(root, 'w'), controllers }])
  return { tree: new FrozenTree(cgroup, freezing, systemClock), read, write, troubles }
}

const RUNNING = { 'w/cgroup.freeze': '0', 'w/memory.current': String(CHARGED), 'w/memory.reclaim': '' }

test('A worker is frozen where its cgroup can stop it and count its memory, and the machine has room for that', () => {
  expect(worker(RUNNING).tree.isPossible).toBe(true)
  expect(worker({ ...RUNNING, '/proc/meminfo': 'SwapTotal: 0 kB\nSwapFree: 0 kB\n' }).tree.isPossible).toBe(false)
  expect(worker({ 'w/memory.current': '1' }).tree.isPossible).toBe(false)
  expect(worker(RUNNING, []).tree.isPossible).toBe(false)
})

test('It is stopped, and three quarters of what is charged to it are paged out', async () => {
  const { tree, read, write, troubles } = worker(RUNNING)
  tree.freeze()
  expect(read('w/cgroup.freeze')).toBe('1')
  write('w/memory.current', String(CHARGED / 4))
  await vi.waitFor(() => expect(read('w/memory.reclaim')).toBe('750000\n'))
  tree.thaw()
  expect([read('w/cgroup.freeze'), troubles]).toEqual(['0', []])
})

test('If hardly anything of it was paged out, none is frozen any more', async () => {
  const { tree, troubles } = worker(RUNNING)
  tree.freeze()
  await vi.waitFor(() => expect(troubles).toEqual([expect.stringContaining('idle processes are not frozen any more')]))
  expect(tree.isPossible).toBe(false)
})

test('What is thawed before it was paged out says nothing of freezing', async () => {
  const { tree, read, troubles } = worker(RUNNING)
  tree.freeze()
  tree.thaw()
  expect(read('w/cgroup.freeze')).toBe('0')
  const other = worker(RUNNING)
  other.tree.freeze()
  await vi.waitFor(() => expect(other.troubles).toHaveLength(1))
  expect([troubles, tree.isPossible]).toEqual([[], true])
})

test('It is stopped alone where its memory is not counted', () => {
  const { tree, read } = worker(RUNNING, [])
  tree.freeze()
  expect([read('w/cgroup.freeze'), tree.swappedBytes]).toEqual(['1', undefined])
  tree.thaw()
  expect(read('w/cgroup.freeze')).toBe('0')
})

test('What of it is paged out is counted by its cgroup', () => {
  expect(worker({ ...RUNNING, 'w/memory.swap.current': '4096' }).tree.swappedBytes).toBe(4_096)
})
