/** What it costs to know the memory of 50 workers, each with a process of its own, beside all else that runs here. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { systemClock } from '../src/clock.ts'
import { Governor } from '../src/memory/governor.ts'
import type { Occupant } from '../src/memory/readings.ts'
import { SystemMemory } from '../src/memory/system.ts'
import { machineMemory } from '../src/process/machine-memory.ts'
import { MARKER_VARIABLE, markerOf } from '../src/process/marker.ts'
import { ProcessTable } from '../src/process/table.ts'
import { treesInSteps } from '../src/process/tree.ts'
import { bench } from './shared/bench.ts'
import type { Round } from './shared/report.ts'

const WORKERS = 50
/** As a live `claude` has after a turn. */
const HELD_MIB = 100
const ROLE = `const held = Buffer.alloc(${HELD_MIB} * 2 ** 20, 1); console.log(held.length); process.stdin.resume()`

/** A process that holds memory and does nothing, until its input ends. */
async function startWorker(number: number): Promise<Occupant> {
  const id = `w-${number}`
  const child = spawn(process.execPath, ['-e', ROLE], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, [MARKER_VARIABLE]: markerOf(id) },
  })
  await once(createInterface(child.stdout), 'line')
  // The host ends its input with itself.
  child.unref()
  const worker: Occupant & { memoryBytes: number | undefined } = {
    id,
    agent: 'a',
    state: 'busy',
    purpose: 'turn',
    process: { pid: child.pid },
    memoryBytes: undefined,
    recordMemory: (bytes) => {
      worker.memoryBytes = bytes
    },
  }
  return worker
}

await bench(async ({ quick }) => {
  const workers: Occupant[] = []
  for (let number = 0; number < WORKERS; number += 1) workers.push(await startWorker(number))
  const table = new ProcessTable()
  const governor = new Governor({
    now: () => systemClock.now(),
    source: new SystemMemory({
      now: () => systemClock.now(),
      trees: () => treesInSteps(table),
      machine: machineMemory,
    }),
    limitBytes: 'auto',
    maxWorkers: Infinity,
    occupants: () => workers,
    mayLeave: () => false,
  })
  // The first look at a process reads its environment, and the first ones are not compiled yet.
  for (let look = 0; look < 20; look += 1) {
    governor.sample()
    await sleep(100)
  }
  const percent: Round[] = []
  const longest: Round[] = []
  for (let round = 0; round < (quick ? 1 : 3); round += 1) {
    const until = systemClock.now() + (quick ? 8_000 : 20_000)
    const looks: number[] = []
    const cpu = process.cpuUsage()
    const start = systemClock.now()
    while (systemClock.now() < until) {
      const before = systemClock.now()
      governor.sample()
      looks.push(systemClock.now() - before)
      await sleep(governor.sampleInMs)
    }
    const { user, system } = process.cpuUsage(cpu)
    const elapsedMs = systemClock.now() - start
    percent.push({ ours: [(100 * (user + system)) / 1_000 / elapsedMs], theirs: [1] })
    longest.push({ ours: [Math.max(...looks)], theirs: [looks.toSorted((a, b) => a - b)[looks.length >> 1] ?? 0] })
  }
  const seen = workers.filter(({ memoryBytes = 0 }) => memoryBytes >= HELD_MIB * 2 ** 20).length
  if (seen < WORKERS) throw new Error(`${WORKERS - seen} workers were not measured`)
  return [
    {
      what: `watching ${WORKERS} workers, of one core`,
      ours: 'governor',
      theirs: '1 %',
      unit: '%',
      rounds: percent,
      compare: 'ours / theirs',
      reach: { atMost: 1 },
    },
    {
      what: 'one look',
      ours: 'longest',
      theirs: 'median',
      unit: 'ms',
      rounds: longest,
      compare: 'ours - theirs',
    },
  ]
})
