/** Silences are counted in bins, each √2 times as long as the ones before it together: from one second to a day. */
const FIRST_BIN_MS = 1_000
const BINS = 34

/** Where each bin ends, in milliseconds. */
const ENDS: readonly number[] = Array.from({ length: BINS }, (_, bin) => FIRST_BIN_MS * Math.SQRT2 ** bin)

/**
 * Until some were seen: the chance that a silence which has reached a bin ends in it. So the longer it was, the longer it
 * lasts; also from the first bin to the second, which is less than half as long.
 */
const priorChance = (bin: number): number => (bin === 0 ? 0.25 : 0.1)

/** As many silences of an agent weigh as much as what is believed of any agent. */
const PRIOR_WEIGHT = 4

/** As many silences of one rhythm weigh as much as what is known of the agent. More: a rhythm has fewer, and chance in them. */
const RHYTHM_WEIGHT = 16

/** With fewer than so many silences of an agent nothing is concluded. */
const ENOUGH = 20

/** When a bin was reached so often, everything seen so far counts half: habits change. */
const HALVE_AFTER = 2_000

/** What a process takes to start until one was seen, and how much the newest moves the average. */
const FIRST_START_MS = 400
const SMOOTHING = 0.2

/** The same of a frozen process that goes on: measured, 96 to 120 ms where a cold resume took 381 to 431. */
const FIRST_THAW_MS = 100

/** Silences of similar length make the same rhythm: each is four times as long as the one below. */
const BINS_PER_RHYTHM = 4

/** The rhythm of a session that was not silent before. */
const NEW = -1

/** Sessions remembered, of some 500 bytes; the one not heard of for longest is forgotten first. */
const MAX_SESSIONS = 10_000

/** Agents remembered, of some 5 KB; as with sessions. */
const MAX_AGENTS = 200

/** What is to be expected of a session that is silent. */
export interface Forecast {
  /** Milliseconds of starting that are saved for each one that its process is kept, if it is kept for as long as is best. */
  savedPerMs: number
  /** The chance that it speaks again within the time asked for. */
  chance: number
  /** Enough of its agent's silences were seen to go by this; otherwise it is what is believed of any. */
  learned: boolean
  /** Which part of that a frozen process saves, 0 to 1: it has to be thawed, and not to be started. */
  frozenShare: number
}

/** How silences end, by how long they have lasted. */
class Silences {
  readonly #reached = new Float64Array(BINS)
  readonly #ended = new Float64Array(BINS)

  note(bin: number, ended: boolean): void {
    this.#reached[bin] = this.reached(bin) + 1
    if (ended) this.#ended[bin] = this.ended(bin) + 1
    if (this.reached(bin) < HALVE_AFTER) return
    for (const counts of [this.#reached, this.#ended]) for (const index of counts.keys()) counts[index]! /= 2
  }

  reached(bin: number): number {
    return this.#reached[bin] ?? 0
  }

  ended(bin: number): number {
    return this.#ended[bin] ?? 0
  }

  /** The chance that a silence which has reached this bin ends in it; what was believed before weighs while little was seen. */
  chance(bin: number, believed: number, weight: number): number {
    return (this.ended(bin) + weight * believed) / (this.reached(bin) + weight)
  }
}

/** Of one agent: all its sessions, those of each rhythm, and how long its processes take to start, and to go on when frozen. */
interface AgentHabits {
  all: Silences
  byRhythm: Map<number, Silences>
  startMs: number
  thawMs: number
}

interface Known {
  agent: string
  rhythm: number
  /** The silence that lasts: since when, and the bin that it has reached. */
  silence: { since: number; bin: number } | undefined
}

/**
 * Learns for each agent how long its sessions are silent between turns, also if they never come back. A session's last
 * silence tells most about its next, so each length has its own counts. Bounded; numbers and the time go in.
 */
export class Habits {
  readonly #agents = new Map<string, AgentHabits>()
  readonly #sessions = new Map<string, Known>()
  /** Silent sessions by bin; in each, the one that is silent for longest comes first. */
  readonly #silent: readonly Set<Known>[] = Array.from({ length: BINS }, () => new Set<Known>())

  /** A turn of this session begins. */
  speaks(session: string, now: number): void {
    this.#advance(now)
    const known = this.#sessions.get(session)
    if (known?.silence === undefined) return
    const { bin } = known.silence
    this.#note(known, bin, true)
    this.#unsilence(known)
    known.rhythm = Math.floor(bin / BINS_PER_RHYTHM)
  }

  /** A turn of this session has ended. */
  fallsSilent(session: string, agent: string, now: number): void {
    this.#advance(now)
    const known = this.#sessions.get(session) ?? { agent, rhythm: NEW, silence: undefined }
    this.forget(session)
    this.#sessions.set(session, known)
    known.agent = agent
    this.#fallSilent(known, now, 0)
    if (this.#sessions.size > MAX_SESSIONS) this.forget(firstOf(this.#sessions))
  }

  /** It was deleted, which says nothing about others. */
  forget(session: string): void {
    const known = this.#sessions.get(session)
    if (known === undefined) return
    this.#unsilence(known)
    this.#sessions.delete(session)
  }

  /** A process of this agent has taken this long to start. */
  recordStart(agent: string, ms: number): void {
    const habits = this.#of(agent)
    habits.startMs += SMOOTHING * (ms - habits.startMs)
  }

  /** A frozen process of this agent has taken this long to ask its model. */
  recordThaw(agent: string, ms: number): void {
    const habits = this.#of(agent)
    habits.thawMs += SMOOTHING * (ms - habits.thawMs)
  }

  /** What to expect of a session that is silent for `silentMs`, from now until `withinMs` later. */
  forecast(session: string, agent: string, silentMs: number, withinMs: number): Forecast {
    const { all, byRhythm, startMs, thawMs } = this.#agents.get(agent) ?? {}
    const rhythm = this.#sessions.get(session)?.rhythm ?? NEW
    const enough = all !== undefined && all.reached(0) >= ENOUGH
    const times = { startMs, thawMs }
    return expect(enough ? { all, own: byRhythm?.get(rhythm), ...times } : times, silentMs, withinMs)
  }

  /** Moves on the silences that have reached the next bin. Each passes each bin once. */
  #advance(now: number): void {
    for (const [bin, silent] of this.#silent.entries()) {
      // Most are, and this is on the way of every turn.
      if (silent.size === 0) continue
      for (const known of silent) {
        const since = known.silence?.since ?? now
        if (now - since < (ENDS[bin] as number)) break
        this.#note(known, bin, false)
        this.#unsilence(known)
        if (bin + 1 < BINS) this.#fallSilent(known, since, bin + 1)
      }
    }
  }

  #fallSilent(known: Known, since: number, bin: number): void {
    known.silence = { since, bin }
    this.#silent[bin]?.add(known)
  }

  #unsilence(known: Known): void {
    if (known.silence !== undefined) this.#silent[known.silence.bin]?.delete(known)
    known.silence = undefined
  }

  #note({ agent, rhythm }: Known, bin: number, ended: boolean): void {
    const { all, byRhythm } = this.#of(agent)
    const own = byRhythm.get(rhythm) ?? new Silences()
    byRhythm.set(rhythm, own)
    all.note(bin, ended)
    own.note(bin, ended)
  }

  #of(agent: string): AgentHabits {
    const habits = this.#agents.get(agent) ?? {
      all: new Silences(),
      byRhythm: new Map(),
      startMs: FIRST_START_MS,
      thawMs: FIRST_THAW_MS,
    }
    this.#agents.delete(agent)
    this.#agents.set(agent, habits)
    if (this.#agents.size > MAX_AGENTS) this.#agents.delete(firstOf(this.#agents))
    return habits
  }
}

const firstOf = (map: ReadonlyMap<string, unknown>): string => map.keys().next().value ?? ''

/** What to expect where nothing was learned: the longer a session is silent, the less. */
export const unlearned = (silentMs: number): Forecast => expect({}, silentMs, Infinity)

interface Seen {
  all?: Silences | undefined
  own?: Silences | undefined
  startMs?: number | undefined
  thawMs?: number | undefined
}

/** From what was seen of all the agent's silences, and of those of the same rhythm. */
function expect(
  { all, own, startMs = FIRST_START_MS, thawMs = FIRST_THAW_MS }: Seen,
  silentMs: number,
  withinMs: number,
): Forecast {
  const learned = all !== undefined
  const frozenShare = Math.max(0, 1 - thawMs / startMs)
  let at = Math.max(silentMs, 0)
  const until = at + Math.max(withinMs, 0)
  const first = ENDS.findIndex((end) => at < end)
  // Longer than anything that is counted: still, the longer the less.
  if (first === -1) return { savedPerMs: (startMs * priorChance(BINS)) / at, chance: 0, learned, frozenShare }
  let perMs = 0
  let keptMs = 0
  let silent = 1
  for (let bin = first; bin < BINS; bin += 1) {
    const end = ENDS[bin] as number
    const width = end - (ENDS[bin - 1] ?? 0)
    const ofAll = all?.chance(bin, priorChance(bin), PRIOR_WEIGHT) ?? priorChance(bin)
    const rate = rateOf(own?.chance(bin, ofAll, RHYTHM_WEIGHT) ?? ofAll, width)
    const lasting = Math.exp(-rate * (Math.min(end, until) - at))
    keptMs += (silent * (1 - lasting)) / rate
    silent *= lasting
    // Kept until the end of this bin, and no longer. In the first the quotient is the rate, which is the same for all in it.
    perMs = bin === first ? rate : Math.max(perMs, (1 - silent) / keptMs)
    at = end
    if (at >= until) break
  }
  return { savedPerMs: startMs * perMs, chance: 1 - silent, learned, frozenShare }
}

/** Of a thing that happens in this time with this chance, how often it does at each moment. */
const rateOf = (chance: number, ms: number): number => -Math.log(1 - Math.min(chance, 0.999)) / ms
