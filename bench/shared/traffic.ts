/** What a day of sessions looks like: when they begin, how long their turns take, and how long they are silent between. */

/** One turn: after how much silence (the first one: 0), and how long it takes once its process is there. */
export interface PlannedTurn {
  thinkMs: number
  turnMs: number
}

export interface PlannedSession {
  key: string
  tenant: string
  agent: string
  startsAtMs: number
  turns: readonly PlannedTurn[]
}

export interface Traffic {
  name: string
  says: string
  sessions: PlannedSession[]
}

const SECOND = 1_000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

/** Random numbers that are the same each time (mulberry32). */
class Chance {
  #state: number

  constructor(seed: number) {
    this.#state = seed
  }

  uniform(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }

  between(low: number, high: number): number {
    return low + (high - low) * this.uniform()
  }

  normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.uniform())) * Math.cos(2 * Math.PI * this.uniform())
  }

  /** Spread around its median as human pauses are: most near it, some very long. */
  lognormal(median: number, sigma: number): number {
    return median * Math.exp(sigma * this.normal())
  }

  exponential(mean: number): number {
    return -mean * Math.log(1 - this.uniform())
  }

  /** 1 or more, with this mean. */
  geometric(mean: number): number {
    return 1 + Math.floor(Math.log(1 - this.uniform()) / Math.log(1 - 1 / mean))
  }

  /** A moment of a day's office hours: two humps, before and after lunch. */
  officeHour(): number {
    return this.uniform() < 0.5 ? 10.5 * HOUR + 1.2 * HOUR * this.normal() : 15 * HOUR + 1.4 * HOUR * this.normal()
  }
}

const turnMs = (chance: Chance): number => Math.min(chance.lognormal(8 * SECOND, 0.8), 5 * MINUTE)

function talk(chance: Chance, count: number, thinkMs: () => number): PlannedTurn[] {
  return Array.from({ length: count }, (_, index) => ({
    thinkMs: index === 0 ? 0 : thinkMs(),
    turnMs: turnMs(chance),
  }))
}

/** People in an office: a minute or so between messages, some an hour; busy before and after lunch, nobody at night. */
function officeChat(chance: Chance, days: number): PlannedSession[] {
  const sessions: PlannedSession[] = []
  for (let day = 0; day < days; day += 1) {
    for (let number = 0; number < 700; number += 1) {
      const think = (): number =>
        chance.uniform() < 0.9 ? chance.lognormal(60 * SECOND, 1) : chance.lognormal(40 * MINUTE, 0.8)
      sessions.push({
        key: `chat-${day}-${number}`,
        tenant: `team-${number % 12}`,
        agent: 'assistant',
        startsAtMs: day * DAY + Math.max(0, chance.officeHour()),
        turns: talk(chance, Math.min(chance.geometric(7), 60), think),
      })
    }
  }
  return sessions
}

/** Every ten minutes a heap of tasks of one turn each, beside people who chat. */
function burstyBatch(chance: Chance, days: number): PlannedSession[] {
  const sessions: PlannedSession[] = []
  for (let at = 0; at < days * DAY; at += 10 * MINUTE) {
    for (let number = 0; number < 14; number += 1) {
      sessions.push({
        key: `task-${at}-${number}`,
        tenant: 'pipeline',
        agent: 'task',
        startsAtMs: at + chance.exponential(60 * SECOND),
        turns: talk(chance, 1, () => 0),
      })
    }
  }
  for (let at = 0; at < days * DAY; at += chance.exponential(5 * MINUTE)) {
    sessions.push({
      key: `chat-${at}`,
      tenant: 'people',
      agent: 'assistant',
      startsAtMs: at,
      turns: talk(chance, chance.geometric(8), () => chance.lognormal(2.5 * MINUTE, 0.9)),
    })
  }
  return sessions
}

/** One tenant's script holds short conversations without a pause, thirty tenants think for minutes; all use one agent. */
function mixedTenants(chance: Chance, days: number): PlannedSession[] {
  const sessions: PlannedSession[] = []
  for (let at = 0; at < days * DAY; at += chance.exponential(75 * SECOND)) {
    sessions.push({
      key: `script-${at}`,
      tenant: 'heavy',
      agent: 'assistant',
      startsAtMs: at,
      turns: talk(chance, 3, () => chance.between(0.5, 3) * SECOND),
    })
  }
  for (let tenant = 0; tenant < 30; tenant += 1) {
    for (let at = chance.exponential(3 * HOUR); at < days * DAY; at += chance.exponential(3 * HOUR)) {
      sessions.push({
        key: `light-${tenant}-${at}`,
        tenant: `light-${tenant}`,
        agent: 'assistant',
        startsAtMs: at,
        turns: talk(chance, chance.geometric(9), () => chance.lognormal(4 * MINUTE, 1)),
      })
    }
  }
  return sessions
}

/** People who read what they got: a quarter of an hour between messages, and often more on the next day. */
function longThinkers(chance: Chance, days: number): PlannedSession[] {
  const sessions: PlannedSession[] = []
  for (let number = 0; number < 150 * days; number += 1) {
    const turns: PlannedTurn[] = []
    for (let visit = 0; visit === 0 || (visit < 6 && chance.uniform() < 0.55); visit += 1) {
      const [first, ...others] = talk(chance, chance.geometric(6), () => chance.lognormal(15 * MINUTE, 0.9))
      if (first !== undefined) turns.push(visit === 0 ? first : { ...first, thinkMs: chance.between(15, 22) * HOUR })
      turns.push(...others)
    }
    const day = Math.floor(chance.uniform() * days)
    sessions.push({
      key: `reader-${number}`,
      tenant: `reader-${number % 20}`,
      agent: 'assistant',
      startsAtMs: day * DAY + Math.max(0, chance.officeHour()),
      turns,
    })
  }
  return sessions
}

/** Agents that look after something every few minutes, each in its own rhythm, for days; and people who ask now and then. */
function periodicAgents(chance: Chance, days: number): PlannedSession[] {
  const sessions: PlannedSession[] = []
  for (const [periodMs, count] of [
    [5 * MINUTE, 6],
    [15 * MINUTE, 14],
    [60 * MINUTE, 20],
  ] as const) {
    for (let number = 0; number < count; number += 1) {
      sessions.push({
        key: `watch-${periodMs}-${number}`,
        tenant: 'watch',
        agent: 'watch',
        startsAtMs: chance.uniform() * periodMs,
        turns: talk(chance, Math.floor((days * DAY) / periodMs) - 1, () => periodMs * chance.between(0.95, 1.05)),
      })
    }
  }
  for (let at = 0; at < days * DAY; at += chance.exponential(6 * MINUTE)) {
    sessions.push({
      key: `chat-${at}`,
      tenant: 'people',
      agent: 'assistant',
      startsAtMs: at,
      turns: talk(chance, chance.geometric(5), () => chance.lognormal(90 * SECOND, 1)),
    })
  }
  return sessions
}

const ALL: readonly { name: string; says: string; plan: (chance: Chance, days: number) => PlannedSession[] }[] = [
  { name: 'office chat', says: 'people, a minute between messages, some an hour; office hours', plan: officeChat },
  { name: 'bursty batch', says: 'heaps of one-turn tasks every 10 minutes, beside people who chat', plan: burstyBatch },
  {
    name: 'mixed tenants',
    says: 'a script without pauses beside 30 tenants who think for minutes',
    plan: mixedTenants,
  },
  { name: 'long thinkers', says: 'a quarter of an hour between messages, often back the next day', plan: longThinkers },
  {
    name: 'periodic agents',
    says: '40 agents that wake up every 5, 15 or 60 minutes, beside people',
    plan: periodicAgents,
  },
]

/** The five traffics, the same for the same seed. */
export const traffics = (seed: number, days: number): Traffic[] =>
  ALL.map(({ name, says, plan }, index) => ({ name, says, sessions: plan(new Chance(seed + index), days) }))
