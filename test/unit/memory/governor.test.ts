import { describe, expect, test } from 'vitest'
import { Estimate } from '../../../src/memory/estimate.ts'
import { Governor } from '../../../src/memory/governor.ts'
import type { MemoryReservation } from '../../../src/memory/governor.ts'
import type { Occupant } from '../../../src/memory/readings.ts'
import type { MemorySource } from '../../../src/memory/source.ts'

const MIB = 2 ** 20

class Worker implements Occupant {
  readonly id: string
  readonly agent: string
  readonly purpose: string
  state: Occupant['state']
  memoryBytes: number | undefined
  process: { pid: number | undefined }
  /** What would be measured. */
  mib: number | undefined

  constructor(
    number: number,
    state: Occupant['state'],
    mib: number | undefined,
    { agent = 'a', purpose = 'turn' } = {},
  ) {
    this.id = `w-${number}`
    this.process = { pid: number }
    this.state = state
    this.mib = mib
    this.agent = agent
    this.purpose = purpose
  }

  recordMemory(bytes: number | undefined): void {
    this.memoryBytes = bytes
  }
}

/** A machine of 2 GiB: 64 of the host, 123 for surprises, 32 for the host to grow by. */
class Machine {
  now = 0
  limitMib = 2_048
  hostMib = 64
  stall: number | undefined
  workers: Worker[] = []
  reads = { room: 0, sample: 0, measure: 0 }
  readonly source: MemorySource = {
    room: () => {
      this.reads.room += 1
      const used = this.workers.reduce((sum, { mib = 0 }) => sum + mib, this.hostMib)
      return { level: 'machine', limitBytes: this.limitMib * MIB, usedBytes: used * MIB }
    },
    stall: () => this.stall,
    sample: () => {
      this.reads.sample += 1
      return new Map(this.workers.flatMap(({ id, mib }) => (mib === undefined ? [] : [[id, mib * MIB] as const])))
    },
    measure: ({ id }) => {
      this.reads.measure += 1
      const mib = this.workers.find((worker) => worker.id === id)?.mib
      return mib === undefined ? undefined : mib * MIB
    },
    measureExactly: (worker) => this.source.measure(worker),
    host: () => this.hostMib * MIB,
  }

  governor(options: { limitBytes?: number | 'auto'; maxWorkers?: number } = {}): Governor {
    return new Governor({
      now: () => this.now,
      source: this.source,
      limitBytes: 'auto',
      maxWorkers: Infinity,
      occupants: () => this.workers,
      mayLeave: ({ state }) => state === 'idle',
      ...options,
    })
  }

  /** A worker that exists from now on. */
  add(
    governor: Governor,
    state: Occupant['state'],
    mib: number | undefined,
    facts?: { agent?: string; purpose?: string },
  ): Worker {
    const worker = new Worker(this.workers.length + 1, state, mib, facts)
    this.workers.push(worker)
    governor.changed(worker)
    return worker
  }

  change(governor: Governor, worker: Worker, state: Occupant['state']): void {
    const from = worker.state
    worker.state = state
    governor.changed(worker, from)
  }
}

const claimOf = (worker?: Worker, agent = 'a'): MemoryReservation => ({ agent, worker: () => worker })

/** Admits turns until no more are borne. */
function admitted(governor: Governor, agent = 'a'): number {
  for (let count = 0; ; count += 1) {
    const claim = claimOf(undefined, agent)
    if (count === 100 || governor.obstacle(claim) !== undefined) return count
    governor.hold(claim)
  }
}

describe('how many turns fit', () => {
  test('follows from a guess until they were seen, from their need after that', () => {
    const machine = new Machine()
    const governor = machine.governor()
    // (2048 − 64 − 123 − 32) / 250
    expect(governor.turnsThatFit).toBe(7)
    for (let turn = 0; turn < 5; turn += 1) {
      const worker = machine.add(governor, 'busy', 140)
      machine.change(governor, worker, 'idle')
      governor.sample()
      machine.workers.pop()
    }
    governor.sample()
    // 1829 / 140
    expect(governor.turnsThatFit).toBe(13)
    expect(admitted(governor)).toBe(13)
  })

  test('counts a turn once: as admitted, as starting, and as grown', () => {
    const machine = new Machine()
    const governor = machine.governor()
    const claims: { worker: Worker | undefined }[] = []
    for (let turn = 0; turn < 7; turn += 1) {
      const place: { worker: Worker | undefined } = { worker: undefined }
      const claim: MemoryReservation = { agent: 'a', worker: () => place.worker }
      expect(governor.obstacle(claim)).toBeUndefined()
      governor.hold(claim)
      claims.push(place)
    }
    const { chargedBytes } = governor.stats()
    expect(governor.turnsThatFit).toBe(7)
    for (const place of claims) place.worker = machine.add(governor, 'starting', 60)
    expect(governor.turnsThatFit).toBe(7)
    expect(governor.stats().chargedBytes).toBe(chargedBytes - 7 * 60 * MIB)
    for (const { worker } of claims) if (worker !== undefined) machine.change(governor, worker, 'busy')
    for (const worker of machine.workers) worker.mib = 250
    machine.now += 100
    expect(governor.turnsThatFit).toBe(7)
    expect(governor.stats().chargedBytes).toBe(0)
  })

  test('has idle workers in it, since they would leave', () => {
    const machine = new Machine()
    const governor = machine.governor()
    for (let idle = 0; idle < 12; idle += 1) machine.add(governor, 'idle', 150)
    governor.sample()
    expect(governor.fitsAnother('a', 'turn')).toBe(false)
    expect(governor.turnsThatFit).toBe(7)
    expect(governor.obstacle(claimOf())).toBeUndefined()
  })

  test('has those in it that leave already, and not their memory twice', () => {
    const machine = new Machine()
    const governor = machine.governor()
    for (let leaving = 0; leaving < 12; leaving += 1) machine.add(governor, 'closing', 150)
    expect(admitted(governor)).toBe(7)
    machine.workers = []
    machine.now += 100
    expect(governor.obstacle(claimOf())).toBe('memory')
  })

  test('spares the worker of a session from leaving for that session', () => {
    const machine = new Machine()
    const governor = machine.governor()
    const own = machine.add(governor, 'idle', 100)
    const claim = claimOf(own)
    governor.hold(claim)
    expect(governor.stats().reclaimableBytes).toBe(0)
    expect(governor.stats().chargedBytes).toBe(150 * MIB)
    governor.drop(claim)
    expect(governor.stats()).toMatchObject({ reclaimableBytes: 100 * MIB, chargedBytes: 0 })
  })

  test('is that of the largest agent, and each turn is charged for its own', () => {
    const machine = new Machine()
    const governor = machine.governor()
    for (const [agent, mib] of [
      ['small', 100],
      ['large', 600],
    ] as const) {
      for (let turn = 0; turn < 5; turn += 1) {
        machine.change(governor, machine.add(governor, 'busy', mib, { agent }), 'idle')
        governor.sample()
        machine.workers.pop()
      }
    }
    machine.now += 100
    expect(governor.turnsThatFit).toBe(3)
    expect(admitted(governor, 'small')).toBe(15)
  })

  test('is bounded by limits.workers, and one at a time always fits', () => {
    const machine = new Machine()
    const few = machine.governor({ maxWorkers: 3 })
    expect([admitted(few), few.obstacle(claimOf())]).toEqual([3, 'turns'])
    machine.limitMib = 300
    expect(admitted(machine.governor())).toBe(1)
  })

  test('follows a limit that changes while it runs', () => {
    const machine = new Machine()
    const governor = machine.governor()
    expect(governor.turnsThatFit).toBe(7)
    machine.limitMib = 4_096
    machine.now += 100
    expect(governor.turnsThatFit).toBe(15)
  })

  test('takes a no from a reading of a moment ago, and a yes only where nobody can have taken the room since', () => {
    const machine = new Machine()
    const governor = machine.governor()
    for (let turn = 0; turn < 8; turn += 1) machine.add(governor, 'busy', 250)
    expect(governor.obstacle(claimOf())).toBe('memory')
    const { room } = machine.reads
    machine.now += 99
    expect(governor.obstacle(claimOf())).toBe('memory')
    expect(machine.reads.room).toBe(room)
    machine.limitMib = 4_096
    machine.now += 1
    expect(governor.obstacle(claimOf())).toBeUndefined()
    machine.limitMib = 2_048
    machine.now += 500
    expect(governor.obstacle(claimOf())).toBe('memory')
  })
})

describe('a worker that cannot be measured', () => {
  test('is charged while it grows, and is in the use of all after that', () => {
    const machine = new Machine()
    const governor = machine.governor()
    const worker = machine.add(governor, 'busy', undefined)
    expect(governor.stats().chargedBytes).toBe(250 * MIB)
    machine.hostMib += 250
    machine.now += 5_000
    expect(governor.stats().chargedBytes).toBe(0)
    machine.change(governor, worker, 'idle')
    machine.now += 5_000
    expect(governor.stats().reclaimableBytes).toBe(150 * MIB)
  })
})

describe('while memory is short', () => {
  /** Half of the machine is free, and one turn runs. */
  const machineInUse = (): { machine: Machine; governor: Governor; idle: Worker } => {
    const machine = new Machine()
    machine.limitMib = 64 * 1024
    machine.hostMib = 50 * 1024
    const governor = machine.governor()
    machine.add(governor, 'busy', 250)
    const idle = machine.add(governor, 'idle', 250)
    return { machine, governor, idle }
  }

  test('a turn runs in the worker that its session has, and none is added', () => {
    const { machine, governor, idle } = machineInUse()
    governor.sample()
    expect(governor.obstacle(claimOf())).toBeUndefined()
    machine.stall = 10
    expect([governor.sample(), governor.shortage]).toEqual([true, 'high'])
    expect([governor.obstacle(claimOf()), governor.obstacle(claimOf(idle))]).toEqual(['memory', undefined])
    expect(governor.fitsSpare('a')).toBe(false)
    machine.stall = 0
    machine.now += 2_000
    expect([governor.sample(), governor.obstacle(claimOf())]).toEqual([true, undefined])
  })

  test('so that the next moment may be the kernel’s, no turn begins, until that has been over for two seconds', () => {
    const { machine, governor, idle } = machineInUse()
    machine.limitMib = 50 * 1024 + 520
    governor.sample()
    expect(governor.shortage).toBe('critical')
    machine.limitMib = 64 * 1024
    machine.now += 1_999
    governor.sample()
    expect(governor.shortage).toBe('none')
    expect([governor.obstacle(claimOf()), governor.obstacle(claimOf(idle))]).toEqual(['memory', 'memory'])
    machine.now += 1
    governor.sample()
    expect(governor.obstacle(claimOf())).toBeUndefined()
  })
})

test('where memory has no limit, as many workers and spares fit as limits.workers says', () => {
  const machine = new Machine()
  machine.limitMib = Infinity
  const governor = machine.governor({ maxWorkers: 2 })
  expect([governor.sample(), governor.full, governor.fitsSpare('a')]).toEqual([false, false, true])
  machine.add(governor, 'busy', 10_000)
  expect([governor.fitsAnother('a', 'turn'), governor.fitsSpare('a'), governor.fits]).toEqual([true, true, true])
  machine.add(governor, 'busy', 10_000)
  expect([governor.fitsAnother('a', 'turn'), governor.fitsSpare('a'), governor.full]).toEqual([false, false, true])
  expect(governor.fits).toBe(true)
  machine.add(governor, 'busy', 10_000)
  expect(governor.fits).toBe(false)
})

describe('a spare', () => {
  test('never takes what was promised to a turn', () => {
    const machine = new Machine()
    const governor = machine.governor()
    expect(governor.fitsSpare('a')).toBe(true)
    expect(admitted(governor)).toBe(7)
    expect(governor.fitsAnother('a', 'ahead')).toBe(true)
    expect(governor.fitsSpare('a')).toBe(false)
  })
})

describe('what was learned', () => {
  test('is a high quantile of what came lately, and a prior until there is enough of it', () => {
    const estimate = new Estimate(250)
    for (const bytes of [100, 110, 300, 120]) estimate.note(bytes)
    expect([estimate.bytes, estimate.samples]).toEqual([300, 4])
    estimate.note(100)
    for (let sample = 0; sample < 45; sample += 1) estimate.note(100)
    expect(estimate.bytes).toBe(100)
    for (let sample = 0; sample < 10; sample += 1) estimate.note(500)
    expect(estimate.bytes).toBe(500)
    for (let sample = 0; sample < 64; sample += 1) estimate.note(90)
    expect([estimate.bytes, estimate.samples]).toEqual([90, 124])
  })

  test('of a turn is its peak, with what its tools had in between', () => {
    const machine = new Machine()
    const governor = machine.governor()
    for (let turn = 0; turn < 5; turn += 1) {
      const worker = machine.add(governor, 'busy', 100)
      machine.now += 500
      worker.mib = 400
      governor.sample()
      worker.mib = 100
      machine.now += 500
      machine.change(governor, worker, 'idle')
      governor.sample()
      machine.workers.pop()
    }
    expect(governor.stats().agents).toMatchObject({ a: { runningBytes: 400 * MIB, runningSamples: 5, idleSamples: 0 } })
  })

  test('of a long turn does not wait for its end, and of an idle worker not for the moment after its turn', () => {
    const machine = new Machine()
    const governor = machine.governor()
    const long = machine.add(governor, 'busy', 100)
    machine.add(governor, 'idle', 90)
    for (let look = 0; look < 62; look += 1) {
      machine.now += 500
      governor.sample()
    }
    expect(governor.stats().agents).toMatchObject({ a: { runningSamples: 6, idleSamples: 1 } })
    machine.change(governor, long, 'closing')
    expect(governor.stats().agents).toMatchObject({ a: { runningSamples: 7 } })
  })
})

describe('figures', () => {
  test('are read anew for a decision where it matters what can have been taken since, and not else', () => {
    const machine = new Machine()
    machine.limitMib = 13_800
    const governor = machine.governor()
    // They may grow to 250 each: some 600 are left beside one more, and taken in 150 ms at most.
    for (let number = 0; number < 50; number += 1) machine.add(governor, 'busy', 10)
    governor.sample()
    machine.reads = { room: 0, sample: 0, measure: 0 }
    for (let ask = 0; ask < 1_000; ask += 1) governor.obstacle(claimOf())
    machine.now += 100
    expect(governor.obstacle(claimOf())).toBeUndefined()
    expect(governor.fits).toBe(true)
    expect(machine.reads).toEqual({ room: 0, sample: 0, measure: 0 })
    machine.now += 100
    expect(governor.obstacle(claimOf())).toBeUndefined()
    expect(machine.reads).toEqual({ room: 1, sample: 0, measure: 50 })
    machine.now += 3_000
    expect(governor.obstacle(claimOf())).toBeUndefined()
    expect(machine.reads).toEqual({ room: 2, sample: 1, measure: 50 })
  })

  test('are not read on the way of a turn alone: what it needed is noted at the next look, or as its worker leaves', () => {
    const machine = new Machine()
    const governor = machine.governor()
    const worker = machine.add(governor, 'idle', 90)
    machine.now += 1_000
    machine.reads = { room: 0, sample: 0, measure: 0 }
    for (const next of ['look', 'leave']) {
      expect(governor.obstacle(claimOf(worker))).toBeUndefined()
      machine.change(governor, worker, 'busy')
      expect(governor.fits).toBe(true)
      machine.change(governor, worker, 'idle')
      if (next === 'look') {
        expect(machine.reads).toEqual({ room: 0, sample: 0, measure: 0 })
        governor.sample()
      } else machine.change(governor, worker, 'closing')
    }
    expect(governor.stats().agents).toMatchObject({ a: { runningSamples: 2 } })
  })

  test('are looked at more often where a tool could soon have taken all', () => {
    const machine = new Machine()
    machine.limitMib = 64 * 1024
    expect(machine.governor().sampleInMs).toBe(500)
    machine.limitMib = 1_024
    expect(machine.governor().sampleInMs).toBeCloseTo(234, 0)
    machine.limitMib = 100
    expect(machine.governor().sampleInMs).toBe(100)
  })

  test('add up', () => {
    const machine = new Machine()
    const governor = machine.governor()
    machine.add(governor, 'busy', 100)
    machine.add(governor, 'idle', 90)
    governor.sample()
    const stats = governor.stats()
    expect(stats).toMatchObject({
      boundBy: 'machine',
      usedBytes: 254 * MIB,
      hostBytes: 64 * MIB,
      workersBytes: 190 * MIB,
      chargedBytes: 150 * MIB,
      reclaimableBytes: 90 * MIB,
      pressure: 'none',
    })
    expect(stats.headroomBytes).toBe(stats.limitBytes - stats.usedBytes - stats.reservedBytes - stats.chargedBytes)
  })
})

describe('the one to end', () => {
  test('is who is furthest above its need, not who is largest', () => {
    const machine = new Machine()
    const governor = machine.governor()
    for (let turn = 0; turn < 5; turn += 1) {
      machine.change(governor, machine.add(governor, 'busy', 900, { agent: 'large' }), 'idle')
      governor.sample()
      machine.workers.pop()
    }
    machine.add(governor, 'busy', 880, { agent: 'large' })
    machine.add(governor, 'idle', 999)
    const greedy = machine.add(governor, 'busy', 600)
    machine.now += 100
    governor.sample()
    expect(governor.outgrown).toBe(greedy)
    greedy.mib = 200
    machine.now += 100
    governor.sample()
    expect(governor.outgrown?.agent).toBe('large')
  })
})
