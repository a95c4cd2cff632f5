import { describe, expect, test } from 'vitest'
import { pidsRoom } from '../../../../src/cli/doctor/facts.ts'
import {
  checkCgroups,
  checkClock,
  checkDescriptors,
  checkDisk,
  checkFreezing,
  checkMemory,
  checkNamespaces,
  checkOrphans,
  checkSetpriv,
  checkTasks,
} from '../../../../src/cli/doctor/machine.ts'
import type { CgroupFacts } from '../../../../src/cli/doctor/machine.ts'
import type { Finding } from '../../../../src/cli/doctor/finding.ts'

const MIB = 2 ** 20
const GIB = 2 ** 30

describe('The doctor, about the machine', () => {
  test.each([
    [511 * MIB, 'error'],
    [512 * MIB, 'warning'],
    [GIB, 'ok'],
  ])('finds %i bytes of memory %s', (limitBytes, verdict) => {
    expect(checkMemory({ limitBytes, source: "the machine's memory" })).toMatchObject({ verdict })
  })

  test('warns where workers cannot have cgroups of their own', () => {
    const v2 = { version: 2, path: '/sys/fs/cgroup/pool', writable: true, controllers: ['memory', 'pids'] } as const
    const v1 = { version: 1, path: '/sys/fs/cgroup/memory', writable: false, controllers: ['memory'] } as const
    const says = (...places: CgroupFacts['places']): Finding => checkCgroups({ platform: 'linux', places, wanted: [] })
    expect(says(v2)).toMatchObject({ verdict: 'ok', says: expect.stringContaining('limit memory (v2), pids (v2)') })
    expect(says({ ...v2, writable: false })).toMatchObject({ verdict: 'warning' })
    expect(says(v1)).toMatchObject({ verdict: 'warning', says: expect.stringContaining('memory by v1') })
    expect(says({ ...v2, controllers: [] }).says).toContain('no memory controller')
    expect(says({ ...v2, controllers: [] }).says).toContain('isolation can limit nothing')
    expect(says({ ...v1, writable: true }).says).toContain('isolation can limit memory (v1)')
    const limited = (wanted: CgroupFacts['wanted']): Finding =>
      checkCgroups({ platform: 'linux', places: [v2, v1], wanted })
    expect(limited(['memory', 'pids'])).toMatchObject({ verdict: 'ok' })
    expect(limited(['memory', 'cpu'])).toMatchObject({
      verdict: 'error',
      says: expect.stringMatching(/^isolation\.cpu cannot be held/),
    })
    expect(checkCgroups({ platform: 'darwin', places: [], wanted: [] })).toMatchObject({ verdict: 'ok' })
  })

  test('says why idle processes are not frozen, and what would make them so', () => {
    const v2 = { version: 2, path: '/sys/fs/cgroup/pool', writable: true, controllers: ['memory'] } as const
    const swap = { totalBytes: 4 * GIB, freeBytes: GIB }
    expect(checkFreezing({ places: [v2], swap })).toMatchObject({
      verdict: 'ok',
      says: expect.stringContaining('1 GiB'),
    })
    expect(checkFreezing({ places: [v2], swap: { totalBytes: 0, freeBytes: 0 } })).toMatchObject({
      verdict: 'warning',
      says: expect.stringContaining('no swap'),
      advice: expect.stringContaining('LimitedSwap'),
    })
    expect(checkFreezing({ places: [{ ...v2, writable: false }], swap })).toMatchObject({ verdict: 'warning' })
    expect(checkFreezing({ places: [{ ...v2, version: 1 }], swap })).toMatchObject({ verdict: 'warning' })
  })

  test('says how many descriptors as many workers need as fit into memory', () => {
    expect(checkDescriptors(undefined, 64 * GIB)).toMatchObject({ verdict: 'ok', says: 'no limit' })
    expect(checkDescriptors(1_024, 2 * GIB)).toMatchObject({ verdict: 'ok' })
    expect(checkDescriptors(1_024, 64 * GIB)).toMatchObject({
      verdict: 'warning',
      advice: expect.stringContaining('ulimit -n 4160'),
    })
    expect(checkDescriptors(100, 2 * GIB)).toMatchObject({ verdict: 'error' })
  })

  test('takes the narrower of both limits on processes', () => {
    expect(checkTasks({ limit: undefined, cgroupRoom: undefined }, 64 * GIB)).toMatchObject({ verdict: 'ok' })
    expect(checkTasks({ limit: 30_000, cgroupRoom: undefined }, 64 * GIB)).toMatchObject({ verdict: 'ok' })
    expect(checkTasks({ limit: 30_000, cgroupRoom: 500 }, 2 * GIB)).toMatchObject({
      verdict: 'warning',
      says: expect.stringContaining('500 more, by the pids cgroup'),
    })
    expect(checkTasks({ limit: 80, cgroupRoom: 500 }, 2 * GIB)).toMatchObject({
      verdict: 'error',
      says: expect.stringContaining('80 for this user'),
    })
  })

  test('reads what the pids controller allows, here and further up', () => {
    const reader = (files: Record<string, string>) => (path: string) => files[path]
    const v1 = {
      '/sys/fs/cgroup/pids/a/b/pids.max': '500\n',
      '/sys/fs/cgroup/pids/a/b/pids.current': '20\n',
      '/sys/fs/cgroup/pids/a/pids.max': '100\n',
      '/sys/fs/cgroup/pids/a/pids.current': '30\n',
    }
    expect(pidsRoom('4:memory:/a/b\n8:pids:/a/b\n', reader(v1))).toBe(70)
    expect(pidsRoom('4:memory:/a/b\n', reader(v1))).toBeUndefined()
    const v2 = { '/sys/fs/cgroup/pod/pids.max': 'max\n', '/sys/fs/cgroup/pod/pids.current': '7\n' }
    expect(pidsRoom('0::/pod\n', reader(v2))).toBeUndefined()
    expect(pidsRoom('0::/pod\n', reader({ ...v2, '/sys/fs/cgroup/pod/pids.max': '4\n' }))).toBe(0)
    expect(pidsRoom('', reader({}))).toBeUndefined()
  })

  test('says what is missing without user namespaces, and that setpriv may be missing', () => {
    expect(checkNamespaces(true)).toMatchObject({ verdict: 'ok' })
    expect(checkNamespaces(false)).toMatchObject({ verdict: 'warning', says: 'cannot be made' })
    expect(checkNamespaces(undefined)).toMatchObject({ verdict: 'warning', says: expect.stringContaining('not known') })
    expect(checkSetpriv('/usr/bin/setpriv')).toMatchObject({ verdict: 'ok', says: '/usr/bin/setpriv' })
    expect(checkSetpriv(undefined)).toMatchObject({ verdict: 'ok', says: expect.stringContaining('not needed') })
  })

  test('wants room on a disk that it may write to', () => {
    const disk = { path: '/data', freeBytes: 5 * GIB, writable: true }
    expect(checkDisk(disk)).toMatchObject({ verdict: 'ok', says: '5 GiB free at /data' })
    expect(checkDisk({ ...disk, freeBytes: 500 * MIB })).toMatchObject({ verdict: 'warning' })
    expect(checkDisk({ ...disk, freeBytes: 50 * MIB })).toMatchObject({ verdict: 'error' })
    expect(checkDisk({ ...disk, writable: false })).toMatchObject({ verdict: 'error' })
  })

  test('wants clocks that go, agree, and know which boot it is', () => {
    const sane = {
      monotonicMs: 100,
      wallMs: 100,
      wall: 1_795_000_000_000,
      bootId: 'c5218f48',
      platform: 'linux',
    } as const
    expect(checkClock(sane)).toMatchObject({ verdict: 'ok' })
    expect(checkClock({ ...sane, monotonicMs: 0 })).toMatchObject({ verdict: 'error' })
    expect(checkClock({ ...sane, wall: 1_000_000 })).toMatchObject({ verdict: 'error' })
    expect(checkClock({ ...sane, wallMs: -3_600_000 })).toMatchObject({ verdict: 'warning' })
    expect(checkClock({ ...sane, bootId: 'unknown' })).toMatchObject({ verdict: 'warning' })
    expect(checkClock({ ...sane, bootId: 'unknown', platform: 'darwin' })).toMatchObject({ verdict: 'ok' })
  })

  test('wants what hosts that died have left to be ended', () => {
    expect(checkOrphans(0)).toMatchObject({ verdict: 'ok' })
    expect(checkOrphans(1)).toMatchObject({ verdict: 'error', says: '1 process of hosts that are gone' })
    expect(checkOrphans(3).advice).toContain('doctor --reap')
  })
})
