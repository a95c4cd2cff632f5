import { readFileSync } from 'node:fs'
import { repeatedly } from '../clock.ts'
import type { CancelTimer, Clock } from '../clock.ts'

/** Where the memory controller of a cgroup may be mounted, by version. */
const V2_MOUNTS = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified']
const V1_MOUNT = '/sys/fs/cgroup/memory'

/** The files that count OOM kills for a process whose `/proc/PID/cgroup` reads `membership`, likeliest first. */
export function oomCounterFiles(membership: string): string[] {
  const files: string[] = []
  for (const line of membership.split('\n')) {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? []
    if (path === undefined) continue
    // In a container the path may be the machine's, which is not mounted there: its own root is then the right one.
    const places = path === '/' ? [''] : [path, '']
    if (controllers === '')
      files.push(...V2_MOUNTS.flatMap((mount) => places.map((place) => `${mount}${place}/memory.events`)))
    else if (controllers?.split(',').includes('memory') === true)
      files.push(...places.map((place) => `${V1_MOUNT}${place}/memory.oom_control`))
  }
  return files
}

/** The `oom_kill` line of `memory.events` (v2) or `memory.oom_control` (v1). */
export function parseOomKills(text: string): number | undefined {
  const match = /^oom_kill (\d+)$/m.exec(text)
  return match?.[1] === undefined ? undefined : Number(match[1])
}

/** Processes that the kernel has killed for memory in this process's cgroup so far; undefined if the kernel does not count. */
function oomKills(): number | undefined {
  try {
    for (const file of oomCounterFiles(readFileSync('/proc/self/cgroup', 'latin1'))) {
      const kills = readCounter(file)
      if (kills !== undefined) return kills
    }
  } catch {
    // No /proc: no cgroups either.
  }
  return undefined
}

function readCounter(file: string): number | undefined {
  try {
    return parseOomKills(readFileSync(file, 'latin1'))
  } catch {
    return undefined
  }
}

/** How often the counter is read, in milliseconds; a small file, 30 µs. */
const SAMPLE_INTERVAL_MS = 1_000

/** How often a counter has gone up lately. */
export interface OomCount {
  /** True when the count has gone up within the last two samples. */
  killedJustNow(): boolean
  stop(): void
}

class Counter {
  readonly #read: () => number | undefined
  #latest: number | undefined
  #previous: number | undefined

  constructor(read: () => number | undefined) {
    this.#read = read
    this.#latest = read()
    this.#previous = this.#latest
  }

  /** False: the kernel does not count here. */
  get counts(): boolean {
    return this.#latest !== undefined
  }

  killedJustNow(): boolean {
    const now = this.#read()
    return now !== undefined && this.#previous !== undefined && now > this.#previous
  }

  sample(): void {
    this.#previous = this.#latest
    this.#latest = this.#read()
  }
}

/** Tells whether the kernel has just killed for memory: the evidence for a SIGKILL that the pool did not send. */
export class OomWatch implements OomCount {
  readonly #clock: Clock
  readonly #host: Counter
  readonly #counters = new Set<Counter>()
  #cancel: CancelTimer | undefined

  constructor(clock: Clock, read: () => number | undefined = oomKills) {
    this.#clock = clock
    this.#host = new Counter(read)
    this.#add(this.#host)
  }

  killedJustNow(): boolean {
    return this.#host.killedJustNow()
  }

  /** Watches one more counter, until it is stopped. */
  count(read: () => number | undefined): OomCount {
    const counter = new Counter(read)
    this.#add(counter)
    return { killedJustNow: () => counter.killedJustNow(), stop: () => this.#counters.delete(counter) }
  }

  stop(): void {
    this.#cancel?.()
    this.#cancel = () => undefined
  }

  #add(counter: Counter): void {
    if (!counter.counts) return
    this.#counters.add(counter)
    this.#cancel ??= repeatedly(
      this.#clock,
      () => SAMPLE_INTERVAL_MS,
      () => {
        for (const each of this.#counters) each.sample()
      },
    )
  }
}
