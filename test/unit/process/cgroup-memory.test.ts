import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { systemClock } from '../../../src/clock.ts'
import { reclaim, swapSpace, swappedBytes } from '../../../src/process/cgroup-memory.ts'
import { recordedTree } from '../../fixtures/cgroup-tree.ts'

describe('Memory of a cgroup is paged out', () => {
  test('by v2 in the amount that is too much', async () => {
    const { root, read } = recordedTree({ '/w/memory.current': '200\n', '/w/memory.reclaim': '' })
    await reclaim({ version: 2, path: join(root, 'w') }, 50, systemClock).done
    expect(read('/w/memory.reclaim')).toBe('150\n')
  })

  test('by v1 as far as the kernel goes', async () => {
    const { root, read } = recordedTree({ '/w/memory.usage_in_bytes': '200\n', '/w/memory.force_empty': '' })
    await reclaim({ version: 1, path: join(root, 'w') }, 50, systemClock).done
    expect(read('/w/memory.force_empty')).toBe('0\n')
  })

  test('not at all if little is charged', async () => {
    const { root, read } = recordedTree({ '/w/memory.current': '50\n', '/w/memory.reclaim': '' })
    await reclaim({ version: 2, path: join(root, 'w') }, 50, systemClock).done
    expect(read('/w/memory.reclaim')).toBe('')
  })

  test('until that is abandoned, also while the kernel is at it', async () => {
    const { root } = recordedTree({ '/w/memory.current': '200\n' })
    // Nothing reads it: who writes waits, as for the kernel.
    execFileSync('mkfifo', [join(root, '/w/memory.reclaim')])
    const { abandon, done } = reclaim({ version: 2, path: join(root, 'w') }, 50, systemClock)
    abandon()
    await expect(done).resolves.toBeUndefined()
  })
})

test('What is paged out, and what swap there is, is read as the kernel shows it', () => {
  const { root } = recordedTree({
    '/two/memory.swap.current': '4096\n',
    '/one/memory.stat': 'swap 1\ntotal_swap 8192\n',
    '/proc/meminfo': 'MemTotal: 1 kB\nSwapTotal:       2048 kB\nSwapFree:        1024 kB\n',
  })
  expect(swappedBytes({ version: 2, path: join(root, 'two') })).toBe(4_096)
  expect(swappedBytes({ version: 1, path: join(root, 'one') })).toBe(8_192)
  expect(swapSpace(root)).toEqual({ totalBytes: 2 ** 21, freeBytes: 2 ** 20 })
})
