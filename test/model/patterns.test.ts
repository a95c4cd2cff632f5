import { describe, expect, test } from 'vitest'
import { host } from '../../bench/shared/hosting.ts'
import type { Figures } from '../../bench/shared/hosting.ts'
import { traffics } from '../../bench/shared/traffic.ts'
import type { PlannedSession, Traffic } from '../../bench/shared/traffic.ts'
import { readResidency } from '../../src/options/residency.ts'
import type { Pattern } from '../../src/options/residency.ts'
import { NO_SPARES, fakes } from '../fixtures/fakes.ts'
import { WHOLE } from '../fixtures/whole.ts'

const SEED = 20_260_101
const GIB = 2 ** 30
const FIXED: readonly Pattern[] = ['single', 'ephemeral', 'hybrid', 'long-running']

/** Shares of all turns, by which the figures differ from seed to seed. */
const NOISE = 0.005
const SHED_NOISE = 0.002

const TRAFFICS = traffics(SEED, 2)

/** A simulation takes seconds, and the same traffic and pattern always give the same figures. */
const simulated = new Map<string, Figures>()

function figures(traffic: Traffic, pattern: Pattern, memoryGiB: number): Figures {
  const id = `${traffic.name} ${pattern} ${memoryGiB}`
  const found = simulated.get(id) ?? host(traffic, readResidency({ pattern }), { memoryBytes: memoryGiB * GIB })
  simulated.set(id, found)
  return found
}

const liveRatio = ({ live, turns }: Figures): number => live / turns
const startsPerTurn = ({ starts, turns }: Figures): number => starts / turns

describe.each(TRAFFICS.map((traffic) => ({ name: traffic.name, traffic })))('$name', ({ traffic }) => {
  const offered = traffic.sessions.reduce((sum, { turns }) => sum + turns.length, 0)

  test.for([1, 2, 8])('in %d GiB: adaptive is as good as the best fixed pattern', (memoryGiB, { skip }) => {
    skip(!WHOLE && memoryGiB !== 2, 'WHOLE=1 runs them all')
    const adaptive = figures(traffic, 'adaptive', memoryGiB)
    const fixed = FIXED.map((pattern) => figures(traffic, pattern, memoryGiB))
    const served = fixed.filter(({ shed }) => shed <= adaptive.shed + SHED_NOISE * offered)
    expect(adaptive.shed).toBeLessThanOrEqual(Math.min(...fixed.map(({ shed }) => shed)) + SHED_NOISE * offered)
    expect(liveRatio(adaptive)).toBeGreaterThanOrEqual(Math.max(...served.map(liveRatio)) - NOISE)
    expect(startsPerTurn(adaptive)).toBeLessThanOrEqual(Math.min(...served.map(startsPerTurn)) + NOISE)
    for (const { peakBytes, turns, shed } of [adaptive, ...fixed]) {
      expect(peakBytes).toBeLessThanOrEqual(memoryGiB * GIB)
      expect(turns + shed).toBe(offered)
    }
  })
})

test.each([
  ['bursty batch', 1.2],
  ['mixed tenants', 1.05],
  ['long thinkers', 1.02],
  ['periodic agents', 2],
])('%s: where memory is short, adaptive finds %d times as many turns live as the best fixed pattern', (name, times) => {
  const traffic = TRAFFICS.find((other) => other.name === name) as Traffic
  const best = Math.max(...FIXED.map((pattern) => figures(traffic, pattern, 2)).map(({ live }) => live))
  expect(figures(traffic, 'adaptive', 2).live).toBeGreaterThan(times * best)
})

test.for([
  ['office chat', 0.75],
  ['mixed tenants', 0.74],
  ['long thinkers', 0.7],
  ['periodic agents', 0.8],
] as const)(
  '%s: with frozen processes in 2 GiB and 8 GiB of swap, %f of turns find their process',
  ([name, share], { skip }) => {
    skip(!WHOLE && name !== 'office chat', 'WHOLE=1 runs them all')
    const traffic = TRAFFICS.find((other) => other.name === name) as Traffic
    const machine = { memoryBytes: 2 * GIB, swapBytes: 8 * GIB }
    const frozen = host(traffic, readResidency({ freeze: 'auto' }), machine)
    expect(liveRatio(frozen)).toBeGreaterThan(share)
    expect(frozen.thawed).toBeGreaterThan(0)
    expect(frozen.peakBytes).toBeLessThanOrEqual(2 * GIB)
    expect(liveRatio(frozen)).toBeGreaterThan(liveRatio(figures(traffic, 'adaptive', 2)))
  },
)

/** The same traffic in a pool, with its clocks, gates, stores and fake processes that start and work as long as planned. */
async function hostInPool({ sessions }: Traffic, pattern: Pattern, workers: number): Promise<number> {
  const { pool, clock, driver } = await fakes({
    agents: { assistant: NO_SPARES },
    residency: { pattern },
    limits: { workers, turns: workers, inactivityTimeout: 'none', turnTimeout: 'none' },
  })
  driver.onStart = (process) => {
    process.readyAtOnce = false
    process.answersAtOnce = false
    clock.after(400, () => process.becomeReady())
  }
  const turnMs = new Map<string, number>()
  pool.on('turn.started', ({ session, worker }) => {
    const process = driver.living.find(({ spec }) => spec.workerId === worker)
    clock.after(turnMs.get(session.key) ?? 0, () => process?.finish())
  })
  let open = sessions.length
  const speak = async (plan: PlannedSession, number: number): Promise<void> => {
    const turn = plan.turns[number]
    if (turn === undefined) {
      open -= 1
      return
    }
    turnMs.set(plan.key, turn.turnMs)
    const { key, tenant, agent } = plan
    await (await pool.session(key, { tenant, agent })).send('Hello').result.catch(() => undefined)
    clock.after(plan.turns[number + 1]?.thinkMs ?? 0, () => void speak(plan, number + 1))
  }
  for (const plan of sessions) clock.after(plan.startsAtMs, () => void speak(plan, 0))
  while (open > 0) await clock.advance(60_000)
  const { turnsByWarmth } = pool.stats().totals
  return turnsByWarmth.live / Object.values(turnsByWarmth).reduce((sum, count) => sum + count, 0)
}

test.for(['adaptive', 'hybrid'] as const)(
  'the simulation is what a pool does: %s',
  { timeout: 60_000 },
  async (pattern, { skip }) => {
    skip(!WHOLE && pattern === 'hybrid', 'WHOLE=1 runs both')
    const traffic = traffics(SEED, 1 / 24).find(({ name }) => name === 'mixed tenants') as Traffic
    const expected = host(traffic, readResidency({ pattern }), { memoryBytes: Infinity, workers: 6 })
    const pooled = await hostInPool(traffic, pattern, 6)
    expect(expected.turns).toBeGreaterThan(200)
    expect(Math.abs(pooled - liveRatio(expected))).toBeLessThan(0.02)
  },
)
