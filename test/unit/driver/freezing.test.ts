import { describe, expect, test } from 'vitest'
import { Freezing } from '../../../src/driver/freezing.ts'
import { recordedTree } from '../../fixtures/cgroup-tree.ts'

const MIB = 2 ** 20
const PAGES_A_MIB = 256

const swap = (totalKib: number, freeKib: number): string => `SwapTotal: ${totalKib} kB\nSwapFree: ${freeKib} kB\n`

/** A machine with free swap, whose clock stands still. */
function machine(files: Record<string, string> = {}) {
  const clock = { ms: 0, now: () => clock.ms }
  const { root, write } = recordedTree({ '/proc/meminfo': swap(4_000, 4_000), ...files })
  const troubles: string[] = []
  const freezing = new Freezing((message) => void troubles.push(message), clock, root)
  /** What holds a second later. */
  const later = (changed: Record<string, string>): boolean => {
    for (const [path, text] of Object.entries(changed)) write(path, text)
    clock.ms += 1_000
    return freezing.isPossible
  }
  return { freezing, later, troubles }
}

const stalled = (percent: number): string => `some avg10=${percent} avg60=0.00 avg300=0.00 total=0\n`

describe('Processes are frozen', () => {
  test('while a quarter of the swap is free', () => {
    const { freezing, later } = machine()
    expect(freezing.isPossible).toBe(true)
    expect(later({ '/proc/meminfo': swap(4_000, 1_000) })).toBe(true)
    expect(later({ '/proc/meminfo': swap(4_000, 999) })).toBe(false)
    expect(later({ '/proc/meminfo': swap(0, 0) })).toBe(false)
  })

  test('until tasks wait for memory in a tenth of the time, and again after that', () => {
    const { freezing, later } = machine({ '/proc/pressure/memory': stalled(9.99) })
    expect(freezing.isPossible).toBe(true)
    expect(later({ '/proc/pressure/memory': stalled(10) })).toBe(false)
    expect(later({ '/proc/pressure/memory': stalled(3) })).toBe(true)
  })

  test('where the kernel does not say that: until more comes back in a second than a slow disk reads', () => {
    const { freezing, later } = machine({ '/proc/vmstat': 'pswpin 1000000\npswpout 5\n' })
    const cameBack = (mib: number): Record<string, string> => ({
      '/proc/vmstat': `pswpin ${1_000_000 + mib * PAGES_A_MIB}\n`,
    })
    expect(freezing.isPossible).toBe(true)
    expect(later(cameBack(64))).toBe(true)
    expect(later(cameBack(129))).toBe(false)
    expect(later(cameBack(129))).toBe(true)
  })

  test('no more after one that hardly shrank, which is told once', () => {
    const { freezing, troubles } = machine()
    freezing.record(100 * MIB, 60 * MIB)
    expect([freezing.isPossible, troubles]).toEqual([true, []])
    freezing.record(100 * MIB, 61 * MIB)
    freezing.record(100 * MIB, 90 * MIB)
    expect([freezing.isPossible, troubles.length]).toEqual([false, 1])
  })

  test('by what was read within a second: each of many workers asks', () => {
    const { freezing, later } = machine()
    expect(later({})).toBe(true)
    const { root, write } = recordedTree({ '/proc/meminfo': swap(4_000, 4_000) })
    const still = new Freezing(() => undefined, { now: () => 0 }, root)
    expect(still.isPossible).toBe(true)
    write('/proc/meminfo', swap(0, 0))
    expect(still.isPossible).toBe(true)
    expect(freezing.isPossible).toBe(true)
  })
})
