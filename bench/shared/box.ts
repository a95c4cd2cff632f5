import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { MemoryBox } from '../../src/memory/box.ts'
import { bench, gone, startRole } from './bench.ts'
import type { Bench } from './bench.ts'
import type { Row } from './report.ts'

const SAMPLE_MS = 250
const REMOVE_MS = 5_000

/** What an error of a turn was called, and how often there was one. */
export type Failures = Record<string, number>

/** What a host in a box is asked to do. */
export interface Load {
  dir: string
  url: string
  /** Options of the pool, as JSON. */
  options: object
  /** Conversations that ask at the same time, over and over. */
  clients: number
  /** Prompts, of which each turn draws one. */
  prompts: readonly string[]
  /** From a turn's end to the next message, in milliseconds: between these two. */
  thinkMs: readonly [number, number]
  /** Until everything is loaded; not measured. */
  warmUpMs: number
  /** Ends the load: after this time, or when each conversation has had so many turns. */
  until: { ms: number } | { turnsEach: number }
}

/** What a host in a box has seen, since the warm-up. */
export interface Seen {
  /** Turns in flight, ten times a second. */
  inFlight: number[]
  completed: number
  /** Conversations whose answers knew all their turns, each of them. */
  whole: number
  /** From `send()` to the rejection of a turn for want of room, in milliseconds. */
  shedMs: number[]
  /** Those that did not say when to come back. */
  shedWithoutRetry: number
  /** Turns that were taken and did not come to their answer. */
  lost: Failures
  /** Of these, errors that have no class and code. */
  unnamed: number
  /** How turns found their processes. */
  warmth: Record<string, number>
}

/** A load that ran in a box. */
export interface Boxed {
  seen: Seen
  oomKills: number
  /** The most memory that was charged and could not be taken back, in bytes. */
  peakBytes: number
  /** Requests that the model answered at once, each time it was asked. */
  answering: number[]
  /** How the host ended, if it was not in order. */
  hostDied: string | undefined
}

/** A benchmark that needs boxes: without a row where there can be none. */
export async function boxedBench(work: (target: Bench) => Promise<Row[]>): Promise<void> {
  await bench(async (target) => {
    const box = MemoryBox.make(2 ** 30)
    if (box === undefined) {
      console.error('skipped: it needs root and a memory cgroup (v1 or v2) that may be written to')
      return []
    }
    box.remove()
    return work(target)
  })
}

export const total = (counts: Readonly<Record<string, number>>): number =>
  Object.values(counts).reduce((sum, count) => sum + count, 0)

/** For those who watch: what a table of ratios has no place for. */
export function tellBoxed(name: string, { seen, oomKills, peakBytes, hostDied }: Boxed): void {
  const { completed, shedMs, lost, warmth } = seen
  const died = hostDied === undefined ? '' : `, the host died: ${hostDied}`
  console.error(
    `${name}: ${completed} turns ${JSON.stringify(warmth)}, ${shedMs.length} refused, lost ${JSON.stringify(lost)}, ` +
      `${oomKills} OOM kills, peak ${Math.round(peakBytes / 2 ** 20)} MiB${died}`,
  )
}

async function removed(box: MemoryBox): Promise<void> {
  const deadline = performance.now() + REMOVE_MS
  while (!box.remove()) {
    if (performance.now() > deadline) throw new Error(`${box.path} cannot be removed: something lives in it`)
    await sleep(50)
  }
}

/** Runs a host with this load, and its workers, in a memory cgroup of their own; the model is outside. */
export async function runBoxed(
  { dir, url, owned, openRequests }: Bench,
  name: string,
  limitBytes: number,
  load: Omit<Load, 'dir' | 'url'>,
): Promise<Boxed> {
  const box = MemoryBox.make(limitBytes)
  if (box === undefined) throw new Error('there can be no memory cgroup here')
  await using unwinding = new AsyncDisposableStack()
  unwinding.defer(() => removed(box))
  const place = join(dir, name)
  mkdirSync(place)
  unwinding.defer(() => gone(place))
  const child: ChildProcess = startRole(
    'box-host.ts',
    [JSON.stringify({ dir: place, url, ...load })],
    place,
    box.wrapper,
  )
  // Where this function is not waited for any more, the benchmark's end waits for all.
  owned.defer(() => void (child.connected && child.disconnect()))
  const exited = once(child, 'exit')
  const result: Boxed = {
    seen: { inFlight: [], completed: 0, whole: 0, shedMs: [], shedWithoutRetry: 0, lost: {}, unnamed: 0, warmth: {} },
    oomKills: 0,
    peakBytes: 0,
    answering: [],
    hostDied: undefined,
  }
  let running = true
  let measuring = false
  const watching = (async () => {
    while (running) {
      const { usedBytes, oomKills } = box.read()
      result.peakBytes = Math.max(result.peakBytes, usedBytes)
      result.oomKills = oomKills
      // A model that has gone is told by whoever ended it.
      if (measuring) result.answering.push(await openRequests().catch(() => 0))
      await sleep(SAMPLE_MS)
    }
  })()
  let done = false
  child.on('message', ({ phase, seen }: { phase: 'warm' | 'running' | 'done'; seen: Seen }) => {
    measuring = phase === 'running'
    done ||= phase === 'done'
    result.seen = seen
  })
  const [code, signal] = (await exited) as [number | null, NodeJS.Signals | null]
  if (!done || code !== 0) result.hostDied = String(signal ?? code)
  running = false
  await watching
  result.oomKills = box.read().oomKills
  return result
}
