import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { readResidency } from '../../../src/options/residency.ts'
import { unlearned } from '../../../src/fleet/habits.ts'
import type { Forecast } from '../../../src/fleet/habits.ts'
import {
  retirementReason as retirementReasonWith,
  evictionCandidate as evictionCandidateOf,
} from '../../../src/fleet/residency.ts'
import type { CloseReason } from '../../../src/worker/worker.ts'
import type { WorkerState } from '../../../src/worker/lifecycle.ts'
import { isPinned, shareOfMaxAge } from '../../../src/fleet/resident.ts'
import type { Resident } from '../../../src/fleet/resident.ts'

const policy = readResidency({
  pattern: 'hybrid',
  idleTtlMs: 1_000,
  maxAgeMs: 10_000,
  maxTurnsPerWorker: 5,
  maxMemoryBytes: 100,
  pinLimitMs: 5_000,
})

const worker = (facts: Partial<Resident> = {}): Resident => ({
  state: 'idle',
  reserved: false,
  session: {},
  residency: policy,
  startedAt: 0,
  lastUsedAt: 0,
  maxAgeMs: 10_000,
  turns: 1,
  memoryBytes: undefined,
  pin: undefined,
  ...facts,
})

/** Where nothing was learned. */
const forecastAt =
  (now: number) =>
  ({ lastUsedAt }: Resident): Forecast =>
    unlearned(now - lastUsedAt)

const retirementReason = (resident: Resident, now: number): CloseReason | undefined =>
  retirementReasonWith(resident, now, { forecast: forecastAt(now), full: false })

const evictionCandidate = (residents: readonly Resident[], now: number): Resident | undefined =>
  evictionCandidateOf(residents, now, forecastAt(now))

/** Those who leave, one after the other, until nobody can. */
function inOrder(
  residents: readonly Resident[],
  next: (left: readonly Resident[]) => Resident | undefined,
): Resident[] {
  const order: Resident[] = []
  const left = [...residents]
  for (let leaving = next(left); leaving !== undefined; leaving = next(left)) {
    order.push(leaving)
    left.splice(left.indexOf(leaving), 1)
  }
  return order
}

test('a worker idle for less than the TTL stays, and for the TTL leaves', () => {
  expect(retirementReason(worker(), 999)).toBeUndefined()
  expect(retirementReason(worker(), 1_000)).toBe('idle')
  expect(retirementReason(worker({ lastUsedAt: 500 }), 1_000)).toBeUndefined()
})

test.each([
  ['age', { maxAgeMs: 900, lastUsedAt: 900 }],
  ['memory', { memoryBytes: 101, lastUsedAt: 900 }],
  ['turns', { turns: 5, lastUsedAt: 900 }],
  [undefined, { memoryBytes: 100, turns: 4, lastUsedAt: 900 }],
] as const)('the reason %s is told from the facts', (reason, facts) => {
  expect(retirementReason(worker(facts), 900)).toBe(reason)
})

test('a spare leaves for its age or its size, never for idleness or turns', () => {
  expect(retirementReason(worker({ session: undefined, turns: 0 }), 9_999)).toBeUndefined()
  expect(retirementReason(worker({ session: undefined, turns: 0 }), 10_000)).toBe('age')
  expect(retirementReason(worker({ session: undefined, turns: 0, memoryBytes: 101 }), 1)).toBe('memory')
})

test.each(['starting', 'busy', 'closing', 'closed'] as WorkerState[])(
  'a worker that is %s is never told to leave',
  (state) => {
    const due = worker({ state, maxAgeMs: 1, turns: 99, memoryBytes: 999 })
    expect(retirementReason(due, 1e9)).toBeUndefined()
    expect(evictionCandidate([due], 1e9)).toBeUndefined()
  },
)

test('a reserved worker is never told to leave', () => {
  const reserved = worker({ reserved: true, turns: 99 })
  expect(retirementReason(reserved, 1e9)).toBeUndefined()
  expect(evictionCandidate([reserved], 1e9)).toBeUndefined()
})

test('a pinned worker stays, but not for ever', () => {
  const pinned = worker({ pin: { sinceMs: 1_000 }, turns: 99 })
  expect(isPinned(pinned, 5_999)).toBe(true)
  expect(retirementReason(pinned, 5_999)).toBeUndefined()
  expect(evictionCandidate([pinned], 5_999)).toBeUndefined()
  expect(retirementReason(pinned, 6_000)).toBe('turns')
  expect(evictionCandidate([pinned], 6_000)).toBe(pinned)
})

test('"none" never makes a worker leave for idleness, age or size', () => {
  const endless = readResidency({ idleTtl: 'none', maxAge: 'none', maxMemory: 'none' })
  const old = worker({ residency: endless, maxAgeMs: endless.maxAgeMs * shareOfMaxAge(() => 1), memoryBytes: 2 ** 40 })
  expect(retirementReason(old, 30 * 60_000)).toBeUndefined()
  const longRunning = readResidency({ pattern: 'long-running', maxAge: 'none', maxMemory: 'none' })
  expect(retirementReason({ ...old, residency: longRunning }, Number.MAX_SAFE_INTEGER)).toBeUndefined()
})

test('spares make room first, then the session that was unused for longest', () => {
  const oldSession = worker({ lastUsedAt: 1 })
  const newSession = worker({ lastUsedAt: 9 })
  const oldSpare = worker({ session: undefined, lastUsedAt: 5 })
  const newSpare = worker({ session: undefined, lastUsedAt: 7 })
  const residents = [newSession, newSpare, oldSession, oldSpare]
  const order = inOrder(residents, (left) => evictionCandidate(left, 10))
  expect(order).toEqual([oldSpare, newSpare, oldSession, newSession])
})

test('nobody leaves where nobody is', () => {
  expect(evictionCandidate([], 0)).toBeUndefined()
})

describe('a policy that learns', () => {
  const adaptive = readResidency({})
  const firm = readResidency({ idleTtl: '30m' })
  const MINUTE = 60_000
  const learner = (facts: Partial<Resident> = {}): Resident => worker({ residency: adaptive, maxAgeMs: 1e9, ...facts })
  const expecting = (forecast: Partial<Forecast>) => (): Forecast => ({
    savedPerMs: 1,
    chance: 1,
    learned: true,
    frozenShare: 0.75,
    ...forecast,
  })
  const due = (resident: Resident, now: number, forecast: Partial<Forecast>, full = false): CloseReason | undefined =>
    retirementReasonWith(resident, now, { forecast: expecting(forecast), full })

  test('keeps beyond the TTL whose habits are known, and nobody else', () => {
    expect(due(learner(), 30 * MINUTE - 1, { learned: false })).toBeUndefined()
    expect(due(learner(), 30 * MINUTE, { learned: false })).toBe('idle')
    expect(due(learner(), 30 * MINUTE, {})).toBeUndefined()
  })

  test('keeps nobody beyond a TTL that was set', () => {
    expect(due(learner({ residency: firm }), 30 * MINUTE - 1, {})).toBeUndefined()
    expect(due(learner({ residency: firm }), 30 * MINUTE, {})).toBe('idle')
  })

  test('lets go at once who is unlikely to speak again, and of more where there is no room for another', () => {
    expect(due(learner(), 1, { chance: 0.0049 })).toBe('idle')
    expect(due(learner(), 1, { chance: 0.005 })).toBeUndefined()
    expect(due(learner(), 1, { chance: 0.0199 }, true)).toBe('idle')
    expect(due(learner(), 1, { chance: 0.02 }, true)).toBeUndefined()
    expect(due(learner(), 1, { chance: 0, learned: false }, true)).toBeUndefined()
  })

  test('lets nobody go who is busy, reserved or pinned', () => {
    for (const facts of [{ state: 'busy' }, { reserved: true }, { pin: { sinceMs: 0 } }] as const) {
      expect(due(learner(facts), 1, { chance: 0 }, true)).toBeUndefined()
      expect(evictionCandidateOf([learner(facts)], 1, expecting({ savedPerMs: 0 }))).toBeUndefined()
    }
  })

  test('lets spares go first, then who saves least for the room it takes, of equals the one unused for longest', () => {
    const saves = new Map<Resident, number>()
    const saving = (savedPerMs: number, facts: Partial<Resident> = {}): Resident => {
      const resident = learner(facts)
      saves.set(resident, savedPerMs)
      return resident
    }
    const spare = learner({ session: undefined, lastUsedAt: 99 })
    const little = saving(0.1, { lastUsedAt: 9 })
    const older = saving(0.5, { lastUsedAt: 3 })
    const newer = saving(0.5, { lastUsedAt: 4 })
    const large = saving(1.2, { memoryBytes: 800 * 2 ** 20 })
    const much = saving(1.1, { memoryBytes: 150 * 2 ** 20 })
    const forecast = (resident: Resident): Forecast => ({
      savedPerMs: saves.get(resident) ?? 9,
      chance: 1,
      learned: true,
      frozenShare: 0.75,
    })
    const order = inOrder([much, newer, large, little, spare, older], (left) =>
      evictionCandidateOf(left, 100, forecast),
    )
    expect(order).toEqual([spare, little, large, older, newer, much])
  })

  test('keeps a frozen worker rather than a live one that saves as much, until it saves much less for the room it takes', () => {
    const MIB = 2 ** 20
    const ofLive = { memoryBytes: 140 * MIB }
    const ofFrozen = { state: 'frozen', memoryBytes: 42 * MIB, swappedBytes: 98 * MIB } as const
    const firstOut = (live: number, frozen: number, frozenShare = 0.75): string | undefined => {
      const workers = [learner(ofFrozen), learner(ofLive)]
      const forecast = ({ state }: Resident): Forecast => ({
        savedPerMs: state === 'frozen' ? frozen : live,
        chance: 1,
        learned: true,
        frozenShare,
      })
      return evictionCandidateOf(workers, 1, forecast)?.state
    }
    expect(firstOut(1, 1)).toBe('idle')
    // Three quarters of what a live one saves, in three tenths of the room.
    expect(firstOut(1, 0.41)).toBe('idle')
    expect(firstOut(1, 0.39)).toBe('frozen')
    // One that takes as long as a start saves nothing.
    expect(firstOut(1, 9, 0)).toBe('frozen')
  })

  test('is the order of last use where nothing is known', () => {
    const ages = fc.uniqueArray(fc.integer({ min: 0, max: 3 * 86_400_000 }), { minLength: 2, maxLength: 20 })
    fc.assert(
      fc.property(ages, (lastUses) => {
        const now = 3 * 86_400_000
        const residents = lastUses.map((lastUsedAt) => learner({ lastUsedAt }))
        const order = inOrder(residents, (left) => evictionCandidate(left, now)).map(({ lastUsedAt }) => lastUsedAt)
        expect(order).toEqual(lastUses.toSorted((a, b) => a - b))
      }),
    )
  })
})

test('ages are spread over the last tenth', () => {
  fc.assert(
    fc.property(fc.double({ min: 0, max: 1, noNaN: true }), (chance) => {
      const age = policy.maxAgeMs * shareOfMaxAge(() => chance)
      expect(age).toBeGreaterThanOrEqual(9_000)
      expect(age).toBeLessThanOrEqual(10_000)
    }),
  )
})
