import { describe, expect, it } from 'vitest'
import { v2PathOf } from '../../../src/process/cgroup-tree.ts'
import { hostLives, markerOf, parseMarker, thisHost } from '../../../src/process/marker.ts'
import { startTimeOf, statFields } from '../../../src/process/start-time.ts'
import type { ProcessEntry } from '../../../src/process/table.ts'
import { ProcessTable } from '../../../src/process/table.ts'
import { treeOf } from '../../../src/process/ownership.ts'
import { signalProcess, treesOfThisHost } from '../../../src/process/tree.ts'

const marker = parseMarker(markerOf('w-1'))

function entry(pid: number, ppid: number, facts: Partial<ProcessEntry> = {}): ProcessEntry {
  return { pid, ppid, group: pid, session: pid, startTime: String(pid), marker: undefined, ...facts }
}

const pids = (entries: ProcessEntry[]): number[] => entries.map(({ pid }) => pid).toSorted((a, b) => a - b)
const isMarked = ({ marker: found }: ProcessEntry): boolean => found !== undefined

describe('a marker', () => {
  it('names host and worker, and is read back', () => {
    expect(marker).toEqual({ host: thisHost, workerId: 'w-1' })
  })

  it.each(['', 'w-1', '1:2:3', 'x:2:3:w', '1:2:3:w:more'])('is not read from %j', (text) => {
    expect(parseMarker(text)).toBeUndefined()
  })

  it('tells a host that lives from one that had the same pid', () => {
    expect(hostLives(thisHost)).toBe(true)
    expect(hostLives({ ...thisHost, startTime: '1' })).toBe(false)
    expect(hostLives({ ...thisHost, bootId: 'another' })).toBe(false)
  })
})

describe('a tree', () => {
  it('holds the children of marked processes that cleared their environment', () => {
    expect(
      pids(treeOf([entry(900_001, 1, { marker }), entry(900_002, 900_001), entry(900_003, 900_002)], isMarked)),
    ).toEqual([900_001, 900_002, 900_003])
  })

  it('holds what shares a session or a group with a member after its parent is gone', () => {
    const orphanOfSession = entry(900_005, 1, { session: 900_001 })
    const orphanOfGroup = entry(900_006, 1, { group: 900_001 })
    expect(pids(treeOf([entry(900_001, 1, { marker }), orphanOfSession, orphanOfGroup], isMarked))).toEqual([
      900_001, 900_005, 900_006,
    ])
  })

  it('never holds its host, init, or what is in the session of its host', () => {
    const host = entry(process.pid, 1, { session: 800_000, group: 800_000 })
    const neighbour = entry(900_007, 1, { session: 800_000, group: 800_000 })
    const child = entry(900_001, process.pid, { marker, session: 800_000, group: 800_000 })
    expect(pids(treeOf([entry(1, 0), host, neighbour, child], isMarked))).toEqual([900_001])
  })

  it('holds nothing when nothing is marked', () => {
    expect(treeOf([entry(900_001, 1), entry(900_002, 900_001)], isMarked)).toEqual([])
  })
})

describe('a signal', () => {
  it('does not reach a process that has the pid of the one that was meant', () => {
    expect(signalProcess({ pid: process.pid, startTime: 'another' }, 'SIGKILL')).toBe(false)
  })

  it('does not reach a process that is gone', () => {
    expect(signalProcess({ pid: 4_194_305, startTime: '1' }, 'SIGKILL')).toBe(false)
  })
})

describe('the process table', () => {
  it('shows this process with its parent, start time and session', () => {
    const own = new ProcessTable().read().find(({ pid }) => pid === process.pid)
    expect(own).toMatchObject({ ppid: process.ppid, startTime: startTimeOf(process.pid) })
  })

  it('reads a command name with spaces and brackets', () => {
    expect(statFields('42 (a (b) c) S 7 8 9').slice(0, 4)).toEqual(['S', '7', '8', '9'])
  })
})

describe('a cgroup membership', () => {
  it('is read from the unified line alone', () => {
    expect(v2PathOf('4:memory:/a\n0::/user.slice/x.scope\n')).toBe('/user.slice/x.scope')
    expect(v2PathOf('4:memory:/a\n')).toBeUndefined()
  })
})

describe('the trees of this host', () => {
  it('hold what is marked, and what hangs on that, each with its worker', () => {
    const other = parseMarker(markerOf('w-2'))
    const stranger = marker === undefined ? undefined : { ...marker, host: { ...marker.host, bootId: 'another' } }
    const trees = treesOfThisHost([
      entry(process.pid, 1),
      entry(900_001, process.pid, { marker }),
      entry(900_003, 900_002),
      entry(900_002, 900_001),
      entry(900_004, 1, { session: 900_002 }),
      entry(900_005, process.pid, { marker: other }),
      entry(900_006, process.pid, { marker: stranger }),
      entry(900_007, 900_008),
      entry(900_008, 900_007),
    ])
    expect(new Map([...trees].map(([id, found]) => [id, found.toSorted((a, b) => a - b)]))).toEqual(
      new Map([
        ['w-1', [900_001, 900_002, 900_003, 900_004]],
        ['w-2', [900_005]],
      ]),
    )
  })
})
