import { existsSync, mkdirSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { describe, expect, test } from 'vitest'
import { openCgroups } from '../../../src/driver/worker-cgroups.ts'
import { StartError } from '../../../src/errors.ts'
import { NO_LIMITS } from '../../../src/options/cgroup-limits.ts'
import { HostCgroup, abandonedCgroups } from '../../../src/process/cgroup.ts'
import { HOST_LEAF, ownPlaces } from '../../../src/process/cgroup-tree.ts'
import { pidNamespace, thisHost } from '../../../src/process/marker.ts'
import { cgroupLevels } from '../../../src/memory/cgroup-levels.ts'
import { filesBelow } from '../../../src/memory/files.ts'
import { HYBRID, V2_SERVICE, recordedTree } from '../../fixtures/cgroup-tree.ts'

const ALL = ['memory', 'pids', 'cpu'] as const
const LIMITS = { memory: 2 ** 30, pids: 200, cpu: 50 }
const SERVICE = '/sys/fs/cgroup/system.slice/pool.service'

/** The cgroups of a worker below a host's, one a tree. */
const placesOf = (host: HostCgroup, root: string): string[] => host.paths.map((path) => `/${relative(root, path)}`)

describe('The places of a host', () => {
  test('are found in v1 and v2, v2 first', () => {
    const { root } = recordedTree(HYBRID)
    expect(ownPlaces(root)).toEqual([
      { version: 2, path: join(root, '/sys/fs/cgroup/unified'), controllers: [] },
      { version: 1, path: join(root, '/sys/fs/cgroup/pids'), controllers: ['pids'] },
      { version: 1, path: join(root, '/sys/fs/cgroup/memory/box'), controllers: ['memory'] },
      { version: 1, path: join(root, '/sys/fs/cgroup/cpu,cpuacct'), controllers: ['cpu'] },
    ])
  })

  test('are those that hold this process: a container may show its own root instead of the path', () => {
    const { root, write } = recordedTree({ ...HYBRID, '/proc/self/cgroup': '4:memory:/docker/1\n8:pids:/docker/1\n' })
    write('/sys/fs/cgroup/memory/cgroup.procs', `${process.pid}\n`)
    write('/sys/fs/cgroup/pids/cgroup.procs', '999999999\n')
    expect(ownPlaces(root)).toEqual([
      { version: 1, path: join(root, '/sys/fs/cgroup/memory'), controllers: ['memory'] },
    ])
  })
})

describe('A worker’s cgroups', () => {
  test('limit memory, what of it is paged out, processes and the processor, by v2', async () => {
    const { root, read } = recordedTree(V2_SERVICE)
    const host = openCgroups(ALL, { root }) as HostCgroup
    expect(host.facts).toEqual({ version: 2, controllers: ALL })
    const worker = host.enclose('w-1', LIMITS)
    const [path] = placesOf(host, root)
    expect(read(`${path}/w-1/memory.max`)).toBe(String(2 ** 30))
    expect(read(`${path}/w-1/memory.swap.max`)).toBe(String(2 ** 30))
    expect(read(`${path}/w-1/pids.max`)).toBe('200')
    expect(read(`${path}/w-1/cpu.weight`)).toBe('50')
    await worker?.admit(4_000_000)
    expect(worker?.pids).toEqual([4_000_000])
  })

  test('limit the same by v1, each controller in its own tree, and are named by v2', async () => {
    const { root, read } = recordedTree(HYBRID)
    const host = openCgroups(ALL, { root }) as HostCgroup
    expect(host.facts).toEqual({ version: 2, controllers: ALL })
    const worker = host.enclose('w-1', LIMITS)
    const [unified, memory, pids, cpu] = placesOf(host, root)
    expect(read(`${memory}/w-1/memory.limit_in_bytes`)).toBe(String(2 ** 30))
    expect(read(`${memory}/w-1/memory.memsw.limit_in_bytes`)).toBe(String(2 ** 31))
    expect(read(`${pids}/w-1/pids.max`)).toBe('200')
    expect(read(`${cpu}/w-1/cpu.shares`)).toBe('512')
    await worker?.admit(4_000_000)
    for (const path of [unified, memory, pids, cpu]) expect(read(`${path}/w-1/cgroup.procs`)).toBe('4000000')
  })

  test('are made only where they are needed: without limits in one tree, without a file', () => {
    const { root } = recordedTree(HYBRID)
    const host = HostCgroup.make({ root }) as HostCgroup
    expect(placesOf(host, root).map((path) => dirname(path))).toEqual(['/sys/fs/cgroup/unified'])
    const worker = host.enclose('w-1')
    expect(existsSync(worker?.path ?? '')).toBe(true)
    expect(worker?.remove()).toBe(true)
    expect(existsSync(worker?.path ?? '')).toBe(false)
    host.remove()
    expect(existsSync(host.path)).toBe(false)
  })

  test('are missing without an error where nothing is limited, and an error where something is', () => {
    const { root } = recordedTree({ ...HYBRID, '/proc/self/cgroup': '0::/elsewhere\n' })
    expect(openCgroups([], { root })).toBeUndefined()
    expect(() => openCgroups(['pids', 'memory'], { root })).toThrow(StartError)
    expect(() => openCgroups(['pids', 'memory'], { root })).toThrow(/isolation\.pids, isolation\.memory.*Delegate=yes/)
    const hybrid = recordedTree(HYBRID)
    const host = HostCgroup.make({ root: hybrid.root, wanted: ['pids'] }) as HostCgroup
    expect(() => host.enclose('w-1', { ...NO_LIMITS, memory: 2 ** 30 })).toThrow('no cgroup limits memory')
  })

  test('tell a kill for their own limit from one for a limit above it', () => {
    const v2 = recordedTree(V2_SERVICE)
    const service = openCgroups(['memory'], { root: v2.root }) as HostCgroup
    const one = service.enclose('w-1', { ...NO_LIMITS, memory: 2 ** 30 })
    const [path] = placesOf(service, v2.root)
    v2.write(`${path}/w-1/memory.events`, 'low 0\nhigh 0\nmax 12\noom 0\noom_kill 1\n')
    expect([one?.oomKills, one?.reachedMemoryLimit]).toEqual([1, false])
    v2.write(`${path}/w-1/memory.events`, 'low 0\nhigh 0\nmax 12\noom 1\noom_kill 2\n')
    expect([one?.oomKills, one?.reachedMemoryLimit]).toEqual([2, true])
    const v1 = recordedTree(HYBRID)
    const box = openCgroups(['memory'], { root: v1.root }) as HostCgroup
    const two = box.enclose('w-2', { ...NO_LIMITS, memory: 2 ** 30 })
    const memory = placesOf(box, v1.root)[1]
    v1.write(`${memory}/w-2/memory.oom_control`, 'oom_kill_disable 0\nunder_oom 0\noom_kill 3\n')
    v1.write(`${memory}/w-2/memory.failcnt`, '0\n')
    expect([two?.oomKills, two?.reachedMemoryLimit]).toEqual([3, false])
    v1.write(`${memory}/w-2/memory.failcnt`, '4\n')
    expect(two?.reachedMemoryLimit).toBe(true)
  })
})

describe('A v2 cgroup with processes', () => {
  test('hands its controllers down once its host has moved aside, and memory is measured above the host', () => {
    const { root, read, write } = recordedTree(V2_SERVICE)
    const host = openCgroups(ALL, { root }) as HostCgroup
    expect(read(`${SERVICE}/${HOST_LEAF}/cgroup.procs`)).toBe(String(process.pid))
    expect(read(`${SERVICE}/cgroup.subtree_control`)).toBe('+memory +pids +cpu')
    expect(dirname(host.path)).toBe(join(root, SERVICE))
    write(`${SERVICE}/memory.current`, '1000\n')
    write(`${SERVICE}/${HOST_LEAF}/memory.current`, '500\n')
    const levels = cgroupLevels(`0::/system.slice/pool.service/${HOST_LEAF}\n`, filesBelow(root))
    expect(levels[0]).toEqual({ version: 2, path: SERVICE })
  })

  test('is where a host that begins aside makes its workers’, too', () => {
    const { root, write } = recordedTree({
      ...V2_SERVICE,
      '/proc/self/cgroup': `0::/system.slice/pool.service/${HOST_LEAF}\n`,
    })
    for (const [file, text] of [
      ['cgroup.procs', `${process.pid}\n`],
      ['cgroup.subtree_control', ''],
      ['cgroup.controllers', 'cpu memory pids\n'],
    ] as const)
      write(`${SERVICE}/${HOST_LEAF}/${file}`, text)
    write(`${SERVICE}/cgroup.procs`, '')
    write(`${SERVICE}/cgroup.subtree_control`, 'memory pids cpu\n')
    expect(dirname((openCgroups(ALL, { root }) as HostCgroup).path)).toBe(join(root, SERVICE))
  })

  test('is left alone while nothing is limited, and the root of all has no need to move', () => {
    const { root, read } = recordedTree(V2_SERVICE)
    HostCgroup.make({ root })
    expect(read(`${SERVICE}/cgroup.subtree_control`)).toBe('')
    expect(existsSync(join(root, SERVICE, HOST_LEAF))).toBe(false)
    const top = recordedTree({
      '/proc/self/cgroup': '0::/\n',
      '/sys/fs/cgroup/cgroup.procs': `${process.pid}\n`,
      '/sys/fs/cgroup/cgroup.controllers': 'memory pids cpu\n',
      '/sys/fs/cgroup/cgroup.subtree_control': '',
    })
    openCgroups(ALL, { root: top.root })
    expect(existsSync(join(top.root, '/sys/fs/cgroup', HOST_LEAF))).toBe(false)
  })
})

test('Abandoned are cgroups of hosts of this namespace that are gone, and no others', () => {
  const { root } = recordedTree(HYBRID)
  const { pid, startTime, bootId } = thisHost
  const names = {
    gone: ['claude-agent-pool', 4_194_305, '1', bootId, pidNamespace()],
    living: ['claude-agent-pool', pid, startTime, bootId, pidNamespace()],
    elsewhere: ['claude-agent-pool', 4_194_305, '1', bootId, '1'],
    older: ['claude-agent-pool', 4_194_305, '1', bootId],
    foreign: ['somebody-else', 4_194_305, '1', bootId, pidNamespace()],
  }
  const folder = (name: keyof typeof names): string => join(root, '/sys/fs/cgroup/memory/box', names[name].join('.'))
  for (const name of Object.keys(names)) mkdirSync(folder(name as keyof typeof names))
  expect(abandonedCgroups(root)).toEqual([folder('gone')])
})
