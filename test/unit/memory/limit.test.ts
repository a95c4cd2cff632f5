import { describe, expect, test } from 'vitest'
import { MemoryLimit } from '../../../src/memory/limit.ts'
import type { ReadFile } from '../../../src/memory/files.ts'

const MIB = 2 ** 20
const GIB = 2 ** 30
const NONE_V1 = '9223372036854771712\n'

/** A machine of 16 GiB with 12 available. */
const MACHINE = {
  '/proc/meminfo': 'MemTotal:       16777216 kB\nMemFree:         1048576 kB\nMemAvailable:   12582912 kB\n',
}

type Tree = Record<string, string>

/** A directory of cgroup v2 that uses this much, beside 60 MiB of cached files and 10 MiB of programs at work. */
const v2 = (path: string, max: string, usedMib: number, high = 'max\n'): Tree => ({
  [`${path}/cgroup.procs`]: '1\n',
  [`${path}/memory.max`]: max,
  [`${path}/memory.high`]: high,
  [`${path}/memory.current`]: `${(usedMib + 60) * MIB}\n`,
  [`${path}/memory.stat`]: `anon 1\ninactive_file ${40 * MIB}\nactive_file ${30 * MIB}\nfile_mapped ${10 * MIB}\n`,
})

/** The same of v1. */
const v1 = (path: string, limit: string, usedMib: number, inherited = limit): Tree => ({
  [`${path}/cgroup.procs`]: '1\n',
  [`${path}/memory.limit_in_bytes`]: limit,
  [`${path}/memory.usage_in_bytes`]: `${(usedMib + 60) * MIB}\n`,
  [`${path}/memory.stat`]:
    `cache 1\ninactive_file 1\nhierarchical_memory_limit ${inherited.trim()}\ntotal_mapped_file ${10 * MIB}\n` +
    `total_inactive_file ${40 * MIB}\ntotal_active_file ${30 * MIB}\n`,
})

function limitOn(tree: Tree, clock = { now: 0 }): MemoryLimit {
  const read: ReadFile = (path) => tree[path]
  return new MemoryLimit({ now: () => clock.now, read, machine: () => ({ total: 8 * GIB, free: 3 * GIB }) })
}

describe('the limit', () => {
  test('is the machine where no cgroup sets one', () => {
    const tree = {
      ...MACHINE,
      '/proc/self/cgroup': '0::/user.slice\n',
      ...v2('/sys/fs/cgroup/user.slice', 'max\n', 10),
    }
    expect(limitOn(tree).read()).toEqual({ level: 'machine', limitBytes: 16 * GIB, usedBytes: 4 * GIB })
  })

  test('is what the system tells where there is no /proc', () => {
    expect(limitOn({}).read()).toEqual({ level: 'machine', limitBytes: 8 * GIB, usedBytes: 5 * GIB })
  })

  test('is that of the cgroup, less cached files but not programs at work', () => {
    const tree = { ...MACHINE, '/proc/self/cgroup': '0::/pod\n', ...v2('/sys/fs/cgroup/pod', `${2 * GIB}\n`, 300) }
    expect(limitOn(tree).read()).toEqual({
      level: '/sys/fs/cgroup/pod',
      limitBytes: 2 * GIB,
      usedBytes: 300 * MIB,
    })
  })

  test('is memory.high where that is lower', () => {
    const pod = v2('/sys/fs/cgroup/pod', `${2 * GIB}\n`, 300, `${GIB}\n`)
    expect(limitOn({ ...MACHINE, '/proc/self/cgroup': '0::/pod\n', ...pod }).read()).toMatchObject({ limitBytes: GIB })
  })

  test('is looked for up the tree, and the level with least room counts', () => {
    const tree = {
      ...MACHINE,
      '/proc/self/cgroup': '0::/kube/pod/app\n',
      '/sys/fs/cgroup/cgroup.procs': '',
      ...v2('/sys/fs/cgroup/kube', `${8 * GIB}\n`, 7_900),
      ...v2('/sys/fs/cgroup/kube/pod', `${2 * GIB}\n`, 300),
      ...v2('/sys/fs/cgroup/kube/pod/app', 'max\n', 200),
    }
    expect(limitOn(tree).read()).toEqual({
      level: '/sys/fs/cgroup/kube',
      limitBytes: 8 * GIB,
      usedBytes: 7_900 * MIB,
    })
  })

  test('is found in version 1, alone or beside version 2', () => {
    const membership = '9:name=systemd:/\n4:memory,hugetlb:/job\n0::/\n'
    const tree = { ...MACHINE, '/proc/self/cgroup': membership, ...v1('/sys/fs/cgroup/memory/job', `${GIB}\n`, 300) }
    expect(limitOn({ ...tree, ...v1('/sys/fs/cgroup/memory', NONE_V1, 900) }).read()).toEqual({
      level: '/sys/fs/cgroup/memory/job',
      limitBytes: GIB,
      usedBytes: 300 * MIB,
    })
  })

  test('of a level of version 1 that is not shown here is known all the same', () => {
    const job = v1('/sys/fs/cgroup/memory', NONE_V1, 300, `${GIB}\n`)
    const tree = { ...MACHINE, '/proc/self/cgroup': '4:memory:/job\n', ...job }
    expect(limitOn(tree).read()).toMatchObject({ limitBytes: GIB, usedBytes: 300 * MIB })
  })

  test.each(['/docker/4f5a', '/../../outside'])(
    'in a container, where %s is not mounted, is that of its root',
    (path) => {
      const tree = { ...MACHINE, '/proc/self/cgroup': `0::${path}\n`, ...v2('/sys/fs/cgroup', `${GIB}\n`, 100) }
      expect(limitOn(tree).read()).toMatchObject({ level: '/sys/fs/cgroup', limitBytes: GIB })
    },
  )

  test('above what the machine has is none', () => {
    const tree = { ...MACHINE, '/proc/self/cgroup': '0::/pod\n', ...v2('/sys/fs/cgroup/pod', `${64 * GIB}\n`, 300) }
    expect(limitOn(tree).read()).toMatchObject({ level: 'machine' })
  })

  test('is read anew when it has changed, and use each time', () => {
    const clock = { now: 0 }
    const tree: Tree = { ...MACHINE, '/proc/self/cgroup': '0::/pod\n', ...v2('/sys/fs/cgroup/pod', `${GIB}\n`, 300) }
    const limit = limitOn(tree, clock)
    expect(limit.read()).toMatchObject({ limitBytes: GIB, usedBytes: 300 * MIB })
    Object.assign(tree, v2('/sys/fs/cgroup/pod', `${2 * GIB}\n`, 400))
    expect(limit.read()).toMatchObject({ limitBytes: GIB, usedBytes: 400 * MIB })
    clock.now += 2_000
    expect(limit.read()).toMatchObject({ limitBytes: 2 * GIB, usedBytes: 400 * MIB })
  })

  test('goes with a cgroup that is removed', () => {
    const tree: Tree = { ...MACHINE, '/proc/self/cgroup': '0::/pod\n', ...v2('/sys/fs/cgroup/pod', `${GIB}\n`, 300) }
    const limit = limitOn(tree)
    limit.read()
    for (const path of Object.keys(tree)) if (path.startsWith('/sys')) delete tree[path]
    expect(limit.read()).toMatchObject({ level: 'machine' })
  })
})

describe('waiting for memory', () => {
  const stall = (share: string): string => `some avg10=${share} avg60=0.00 avg300=0.00 total=1\nfull avg10=0.00\n`

  test('is told by the cgroup where it counts it, else by the machine', () => {
    const tree: Tree = {
      ...MACHINE,
      '/proc/self/cgroup': '0::/pod\n',
      ...v2('/sys/fs/cgroup/pod', `${GIB}\n`, 300),
      '/proc/pressure/memory': stall('1.50'),
    }
    const limit = limitOn(tree)
    limit.read()
    expect(limit.readStall()).toBe(1.5)
    tree['/sys/fs/cgroup/pod/memory.pressure'] = stall('12.25')
    expect(limit.readStall()).toBe(12.25)
  })

  test('is not told where nobody counts it', () => {
    expect(limitOn(MACHINE).readStall()).toBeUndefined()
  })
})
