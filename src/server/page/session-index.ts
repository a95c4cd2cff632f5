import { SessionGoneError } from '../../index.ts'
import type { Pool, SessionInfo, TurnInfo } from '../../index.ts'
import type { PoolListeners } from '../pool-listeners.ts'
import type { ListView, SessionRow, SortKey } from './wire.ts'
import { keepNewest } from '../../newest.ts'

/** Beyond it the newest are listed. At about 500 bytes each. */
const MAX_SESSIONS = 50_000

/** Lists that are kept sorted: one for each open page. */
const MAX_SORTED = 16

/** Read at once: so many take some 20 ms, in which nothing else runs. */
const PAGE = 1_000

/** The first ones are there sooner. */
const FIRST_PAGE = 200

/** How many sessions that have changed are looked at again at once. */
const MAX_REFRESHED = 200

/** What decides on the place of a session, for each way of sorting. */
const SORT_VALUES: Record<SortKey, (entry: Entry) => number | string> = {
  phase: ({ row }) => row.phase?.since ?? 0,
  session: ({ id }) => id,
  agent: ({ row }) => row.agent,
  state: ({ row }) => STATES[row.state],
  turns: ({ row }) => row.turns,
  tokens: ({ row }) => row.tokens,
  cost: ({ row }) => row.costUsd,
  created: ({ row }) => row.createdAt,
  used: ({ row }) => row.lastUsedAt,
}

const STATES: Record<SessionInfo['state'], number> = { busy: 0, starting: 1, idle: 2, hibernated: 3 }

interface Entry {
  readonly id: string
  row: SessionRow
  /** What is searched, in lower case. Without the phase, which changes. */
  words: string
}

interface Sorted {
  readonly version: number
  readonly entries: readonly Entry[]
}

/** A window of the list. */
export interface ListWindow {
  total: number
  rows: ReadonlyMap<string, SessionRow>
}

const idOf = ({ tenant, key }: { tenant: string; key: string }): string => `${tenant}\0${key}`

const rowOf = ({ tenant, key, agent, state, turns, usage, createdAt, lastUsedAt, phase }: SessionInfo): SessionRow => ({
  tenant,
  key,
  agent,
  state,
  turns,
  tokens: usage.inputTokens + usage.outputTokens + usage.cacheReadTokens + usage.cacheWriteTokens,
  costUsd: usage.costUsd,
  createdAt,
  lastUsedAt,
  ...(phase === undefined ? {} : { phase }),
})

/** All sessions, read once from the store and kept as the pool's events say. */
export class SessionIndex {
  readonly #pool: Pool
  readonly #entries = new Map<string, Entry>()
  readonly #changed = new Map<string, { tenant: string; key: string }>()
  /** Sorted and searched, by how. Several pages may ask for the same. */
  readonly #sorted = new Map<string, Sorted>()
  #busy = new Set<string>()
  #version = 0
  #complete = false
  #closed = false
  #refreshing: Promise<boolean> | undefined

  constructor(pool: Pool, listeners: PoolListeners) {
    this.#pool = pool
    const ofWorker = ({ worker: { tenant, session } }: { worker: { tenant: string; session: string | undefined } }) => {
      if (session !== undefined) this.#note({ tenant, key: session })
    }
    const ofSession = ({ session }: { session: { tenant: string; key: string } }): void => this.#note(session)
    for (const name of ['worker.started', 'worker.ready', 'worker.bound', 'worker.closed'] as const)
      listeners.on(name, ofWorker)
    for (const name of ['turn.started', 'turn.ended', 'session.created', 'session.deleted'] as const)
      listeners.on(name, ofSession)
    listeners.on('session.expired', (removal) => this.#note(removal))
  }

  get size(): number {
    return this.#entries.size
  }

  /** False while they are being read, and if there are more than are listed. */
  get complete(): boolean {
    return this.#complete
  }

  /** Reads all sessions, the newest first. Calls `progress` after the first ones, and at the end. Rejects as `pool.sessions()` does. */
  async load(progress: () => void): Promise<void> {
    let after: SessionInfo | undefined
    while (!this.#closed) {
      const room = Math.min(after === undefined ? FIRST_PAGE : PAGE, MAX_SESSIONS - this.#entries.size)
      if (room <= 0) return progress()
      const order = { order: 'created', descending: true } as const
      const page = await this.#pool.sessions({ ...order, limit: room, ...(after === undefined ? {} : { after }) })
      for (const info of page) this.#put(info)
      this.#complete = page.length < room
      if (after === undefined || this.#complete) progress()
      if (this.#complete) return
      after = page.at(-1)
      // The event loop is for turns.
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  /** Looks at what has changed. Resolves when that is in the list: whether there was something. */
  refresh(): Promise<boolean> {
    this.#refreshing ??= this.#refresh().finally(() => (this.#refreshing = undefined))
    return this.#refreshing
  }

  /** What turns do now. */
  setTurns(turns: readonly TurnInfo[]): void {
    const busy = new Set<string>()
    for (const { tenant, session: key, phase } of turns) {
      const id = idOf({ tenant, key })
      const entry = this.#entries.get(id)
      if (entry === undefined || busy.has(id)) continue
      busy.add(id)
      const { phase: had } = entry.row
      if (had?.name === phase.name && had.since === phase.since && had.detail === phase.detail) continue
      entry.row = { ...entry.row, phase }
      this.#version += 1
    }
    for (const id of this.#busy) if (!busy.has(id)) this.#withoutPhase(id)
    this.#busy = busy
  }

  /** The part of the list that a page shows. `fresh`: sorted as it is now; else as it was sorted last. */
  window({ search, sort, descending, offset, limit }: ListView, fresh: boolean): ListWindow {
    const how = JSON.stringify([search.toLowerCase(), sort, descending])
    const last = this.#sorted.get(how)
    const sorted =
      last === undefined || (fresh && last.version !== this.#version)
        ? this.#sort(how, { search, sort, descending })
        : last
    const rows = new Map<string, SessionRow>()
    for (const { id } of sorted.entries.slice(offset, offset + limit)) {
      const row = this.#entries.get(id)?.row
      if (row !== undefined) rows.set(id, row)
    }
    return { total: sorted.entries.length, rows }
  }

  close(): void {
    this.#closed = true
    this.#entries.clear()
    this.#changed.clear()
    this.#sorted.clear()
  }

  #sort(how: string, { search, sort, descending }: Pick<ListView, 'search' | 'sort' | 'descending'>): Sorted {
    const words = search.toLowerCase().split(/\s+/).filter(Boolean)
    const found = [...this.#entries.values()].filter((entry) => words.every((word) => matches(entry, word)))
    const valueOf = SORT_VALUES[sort]
    const keyed = found.map((entry) => ({ entry, value: valueOf(entry) }))
    const sign = descending ? -1 : 1
    keyed.sort((a, b) => {
      // What waits or runs longest is looked for: those without a turn come last, in both directions.
      const idle = sort === 'phase' ? Number(a.value === 0) - Number(b.value === 0) : 0
      if (idle !== 0) return idle
      return a.value < b.value ? -sign : a.value > b.value ? sign : a.entry.id < b.entry.id ? -1 : 1
    })
    const sorted = { version: this.#version, entries: keyed.map(({ entry }) => entry) }
    this.#sorted.delete(how)
    this.#sorted.set(how, sorted)
    keepNewest(this.#sorted, MAX_SORTED)
    return sorted
  }

  async #refresh(): Promise<boolean> {
    const before = this.#version
    for (const [id, session] of [...this.#changed].slice(0, MAX_REFRESHED)) {
      this.#changed.delete(id)
      const { tenant, key } = session
      try {
        this.#put(await (await this.#pool.session(key, { tenant })).info())
      } catch (error) {
        // A pool that closes has no sessions to show; a store that fails has told its own warning.
        if (error instanceof SessionGoneError && this.#entries.delete(id)) this.#version += 1
      }
    }
    return this.#version !== before
  }

  #note({ tenant, key }: { tenant: string; key: string }): void {
    this.#changed.set(idOf({ tenant, key }), { tenant, key })
  }

  #put(info: SessionInfo): void {
    const id = idOf(info)
    const { tenant, key, agent, state } = info
    const known = this.#entries.get(id)
    if (this.#closed) return
    if (known === undefined && this.#entries.size >= MAX_SESSIONS && !this.#makeRoom(info.createdAt)) return
    const words = `${tenant}/${key} ${agent} ${state}`.toLowerCase()
    if (known === undefined) this.#entries.set(id, { id, row: rowOf(info), words })
    else {
      known.row = rowOf(info)
      known.words = words
    }
    this.#version += 1
  }

  /** Removes the oldest session, if it is older than this one. */
  #makeRoom(createdAt: number): boolean {
    this.#complete = false
    let oldest: Entry | undefined
    for (const entry of this.#entries.values())
      if (oldest === undefined || entry.row.createdAt < oldest.row.createdAt) oldest = entry
    return oldest !== undefined && oldest.row.createdAt < createdAt && this.#entries.delete(oldest.id)
  }

  #withoutPhase(id: string): void {
    const entry = this.#entries.get(id)
    if (entry?.row.phase === undefined) return
    const { phase: _, ...row } = entry.row
    entry.row = row
    this.#version += 1
  }
}

function matches({ words, row: { phase } }: Entry, word: string): boolean {
  if (words.includes(word)) return true
  return phase !== undefined && `${phase.name} ${phase.detail ?? ''}`.toLowerCase().includes(word)
}
