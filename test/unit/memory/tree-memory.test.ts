import { describe, expect, test } from 'vitest'
import { TreeMemory, pageBytes } from '../../../src/memory/tree-memory.ts'
import type { MeasuredWorker } from '../../../src/memory/tree-memory.ts'

const MIB = 2 ** 20
const PAGE = 4_096

/** A fake `/proc`, which counts what is read. */
class Proc {
  readonly files: Record<string, string> = { '/proc/self/statm': this.statm(60) }
  readonly reads: string[] = []
  now = 0
  treeReads = 0
  trees = new Map<string, number[]>()
  /** Steps of one look at all processes, and what each of them takes. */
  steps = 1
  stepMs = 0
  rests = 0

  statm(mib: number): string {
    return `99999 ${(mib * MIB) / PAGE + 1_000} 1000 5 0 123 0\n`
  }

  /** A process with this much anonymous memory; `exact` includes pages of files that it alone has. */
  process(pid: number, mib: number, exact = mib): void {
    this.files[`/proc/${pid}/statm`] = this.statm(mib)
    this.files[`/proc/${pid}/smaps_rollup`] =
      `Rss:  999999 kB\nPrivate_Clean:  ${(exact - mib) * 1024} kB\nPrivate_Dirty:  ${mib * 1024} kB\n`
  }

  usage(): TreeMemory {
    return new TreeMemory({
      now: () => this.now,
      read: (path) => {
        this.reads.push(path)
        return this.files[path]
      },
      readLater: (path) => {
        this.reads.push(path)
        return Promise.resolve(this.files[path])
      },
      trees: () => this.look(),
      rest: () => {
        this.rests += 1
        return Promise.resolve()
      },
    })
  }

  *look(): Generator<undefined, Map<string, number[]>> {
    this.treeReads += 1
    for (let step = 1; step < this.steps; step += 1) {
      this.now += this.stepMs
      yield
    }
    this.now += this.stepMs
    return this.trees
  }

  count(name: string): number {
    return this.reads.filter((path) => path.endsWith(name)).length
  }
}

/** Samples, and lets the exact measurement come that it may have begun. */
async function sampled(usage: TreeMemory, workers: readonly MeasuredWorker[]): Promise<Map<string, number>> {
  const found = usage.sample(workers, false)
  for (let tick = 0; tick < 4; tick += 1) await Promise.resolve()
  return found
}

describe('the memory of a worker', () => {
  test('is that of its whole tree', () => {
    const proc = new Proc()
    proc.process(10, 100)
    proc.process(11, 300)
    proc.trees.set('w-1', [10, 11])
    expect(proc.usage().sample([{ id: 'w-1', pid: 10 }], false)).toEqual(new Map([['w-1', 400 * MIB]]))
  })

  test('of which a part has just gone is what is left, and of one that has gone is unknown', () => {
    const proc = new Proc()
    proc.process(10, 100)
    proc.trees.set('w-1', [10, 11])
    const usage = proc.usage()
    expect(
      usage.sample(
        [
          { id: 'w-1', pid: 10 },
          { id: 'w-2', pid: 20 },
        ],
        false,
      ),
    ).toEqual(new Map([['w-1', 100 * MIB]]))
  })

  test('has a tool in it that has just begun, when somebody was seen to take memory', () => {
    const proc = new Proc()
    proc.process(10, 100)
    proc.process(11, 300)
    proc.trees.set('w-1', [10])
    const usage = proc.usage()
    const sample = (unexplained: boolean): number =>
      (usage.sample([{ id: 'w-1', pid: 10 }], unexplained).get('w-1') ?? 0) / MIB
    expect(sample(false)).toBe(100)
    proc.trees = new Map([['w-1', [10, 11]]])
    proc.now += 100
    expect([sample(false), sample(true)]).toEqual([100, 400])
    proc.now += 99
    sample(true)
    expect(proc.treeReads).toBe(2)
  })

  test('is corrected by exact measurements, of one worker after the other', async () => {
    const proc = new Proc()
    proc.process(10, 100, 120)
    proc.process(20, 200, 220)
    const usage = proc.usage()
    const workers = [
      { id: 'w-1', pid: 10 },
      { id: 'w-2', pid: 20 },
    ]
    // First the trees, then one worker exactly; the same again for the other.
    for (const pauseMs of [500, 2_000, 500, 0]) {
      await sampled(usage, workers)
      proc.now += pauseMs
    }
    expect(await sampled(usage, workers)).toEqual(
      new Map([
        ['w-1', 120 * MIB],
        ['w-2', 220 * MIB],
      ]),
    )
    proc.now += 2_000
    proc.process(10, 200, 200)
    await sampled(usage, workers)
    proc.now += 500
    await sampled(usage, workers)
    expect((await sampled(usage, workers)).get('w-1')).toBe(200 * MIB)
  })

  test('is exactly that of its own cgroup where it has one that counts', async () => {
    const proc = new Proc()
    proc.process(10, 100, 120)
    const path = '/sys/fs/cgroup/pool/w-1'
    proc.files['/proc/10/cgroup'] = '0::/pool/w-1\n'
    proc.files[`${path}/memory.current`] = `${160 * MIB}\n`
    proc.files[`${path}/memory.stat`] = `inactive_file ${10 * MIB}\nactive_file 0\nfile_mapped 0\n`
    const usage = proc.usage()
    await sampled(usage, [{ id: 'w-1', pid: 10 }])
    await sampled(usage, [{ id: 'w-1', pid: 10 }])
    expect(await sampled(usage, [{ id: 'w-1', pid: 10 }])).toEqual(new Map([['w-1', 150 * MIB]]))
    expect(proc.count('smaps_rollup')).toBe(0)
  })
})

describe('what it costs', () => {
  const workers = Array.from({ length: 50 }, (_, number) => ({ id: `w-${number}`, pid: 100 + number }))

  test('is one small file for each process, five exact measurements and five looks at all processes in ten seconds', async () => {
    const proc = new Proc()
    for (const { id, pid } of workers) {
      proc.process(pid, 100, 110)
      proc.trees.set(id, [pid])
    }
    const usage = proc.usage()
    proc.reads.length = 0
    for (let sample = 0; sample < 20; sample += 1) {
      await sampled(usage, workers)
      proc.now += 500
    }
    expect(proc.treeReads).toBe(5)
    expect(proc.count('smaps_rollup')).toBe(5)
    // Beside each exact measurement its process is read cheaply, too.
    expect(proc.count('statm')).toBe(20 * 50 + 5)
    expect(proc.reads.length).toBe(20 * 50 + 5 + 5 + 5)
  })

  test('stays a small part of a core where looking is slow', () => {
    const proc = new Proc()
    const usage = proc.usage()
    proc.stepMs = 50
    for (let sample = 0; sample < 120; sample += 1) {
      usage.sample(workers, false)
      proc.now += 500
    }
    expect(proc.treeReads).toBeLessThanOrEqual(5)
  })

  test('is spread: the host does other things between the steps of a look, and nothing counts before its last', async () => {
    const proc = new Proc()
    proc.process(10, 100)
    proc.process(11, 300)
    proc.trees.set('w-1', [10, 11])
    proc.steps = 3
    const usage = proc.usage()
    const sample = (): number => (usage.sample([{ id: 'w-1', pid: 10 }], false).get('w-1') ?? 0) / MIB
    expect([sample(), proc.rests]).toEqual([100, 1])
    await Promise.resolve()
    expect([sample(), proc.rests]).toEqual([100, 2])
    await Promise.resolve()
    expect([sample(), proc.rests, proc.treeReads]).toEqual([400, 2, 1])
  })

  test('is paid at once when somebody was seen to take memory', async () => {
    const proc = new Proc()
    proc.process(10, 100)
    proc.process(11, 300)
    proc.trees.set('w-1', [10])
    proc.steps = 3
    const usage = proc.usage()
    const sample = (unexplained: boolean): number =>
      (usage.sample([{ id: 'w-1', pid: 10 }], unexplained).get('w-1') ?? 0) / MIB
    sample(false)
    proc.trees = new Map([['w-1', [10, 11]]])
    expect(sample(true)).toBe(400)
    const rests = proc.rests
    await Promise.resolve()
    expect([sample(false), proc.rests, proc.treeReads]).toEqual([400, rests, 2])
  })

  test('is nothing where nothing can be measured', () => {
    const proc = new Proc()
    delete proc.files['/proc/self/statm']
    const usage = proc.usage()
    expect(usage.sample(workers, false)).toEqual(new Map())
    expect([proc.treeReads, usage.host() > 0]).toEqual([0, true])
  })
})

test('The size of a page is what the kernel says', () => {
  const notes = Buffer.alloc(48)
  notes.writeBigUInt64LE(16n, 0)
  notes.writeBigUInt64LE(6n, 16)
  notes.writeBigUInt64LE(65_536n, 24)
  expect(pageBytes(() => notes.toString('latin1'))).toBe(65_536)
  expect(pageBytes(() => undefined)).toBe(4_096)
})
