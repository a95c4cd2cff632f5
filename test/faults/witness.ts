import { setTimeout as pause } from 'node:timers/promises'
import { onTestFinished } from 'vitest'
import { identify, isProxy, isSame, living, signal, treeOfHost } from './procfs.ts'
import type { Entry, Identity } from './procfs.ts'

const LOOK_INTERVAL_MS = 25
const PATIENCE_MS = 30_000

/** A process that was seen. */
export interface Seen extends Identity {
  command: string
}

const idOf = ({ pid, startTime }: Identity): string => `${pid}:${startTime}`

/**
 * Remembers every process of a host's workers by pid and start time: what carries its marker or hangs on that, and what
 * works below the site's directory. So what clears its environment, or gets another parent, is still known when it counts.
 */
export class Witness {
  readonly #root: string
  readonly #host: Identity
  readonly #seen = new Map<string, Seen>()

  /** At the end of the test, whatever it had seen and still lives is killed. */
  constructor(root: string, host: Identity = identify(process.pid)) {
    this.#root = root
    this.#host = host
    onTestFinished(() => {
      for (const seen of this.look()) signal(seen, 'SIGKILL')
    })
  }

  /** What lives now, of all that was ever seen. A host that lives keeps its credential proxy. */
  look(): Seen[] {
    const entries = living()
    const tree = new Set<Entry>(treeOfHost(entries, this.#host))
    const hostLives = entries.some((entry) => isSame(entry, this.#host))
    return entries.flatMap((entry) => {
      if (entry.pid === process.pid || entry.pid === this.#host.pid || (hostLives && isProxy(entry))) return []
      const known = this.#seen.get(idOf(entry))
      const { pid, startTime, cwd, environment } = entry
      if (known === undefined && !tree.has(entry) && !cwd.startsWith(this.#root) && !environment.includes(this.#root)) {
        return []
      }
      const seen = { pid, startTime, command: entry.command || known?.command || '' }
      this.#seen.set(idOf(entry), seen)
      return [seen]
    })
  }

  /** Waits until a process has these words in its command line. */
  async sees(words: string): Promise<Seen[]> {
    for (const since = performance.now(); performance.now() - since < PATIENCE_MS; await pause(LOOK_INTERVAL_MS)) {
      const found = this.look().filter(({ command }) => command.includes(words))
      if (found.length > 0) return found
    }
    throw new Error(`"${words}" is not there, but: ${this.look().map(describe).join('; ')}`)
  }

  /** Waits until none is left, or none of those given; resolves with the milliseconds since `since` (performance.now()). */
  async goneWithin(limitMs: number, since: number, only?: readonly Identity[]): Promise<number> {
    const concerned = only === undefined ? undefined : new Set(only.map(idOf))
    for (;;) {
      const left = this.look().filter((seen) => concerned?.has(idOf(seen)) ?? true)
      const ms = Math.round(performance.now() - since)
      if (left.length === 0 && ms <= limitMs) return ms
      if (ms > limitMs) throw new Error(`after ${ms} ms: ${left.map(describe).join('; ') || 'none is left, too late'}`)
      await pause(LOOK_INTERVAL_MS)
    }
  }
}

const describe = ({ pid, command }: Seen): string => `${pid} ${command.slice(0, 160)}`

/** The living sentinels of a host. */
export const sentinelsOf = ({ pid, startTime }: Identity): Seen[] =>
  living().filter(({ command }) => command.includes(`sentinel.ts ${pid} ${startTime} `))
