import { expect, test } from 'vitest'
import fc from 'fast-check'
import type { MemoryReservation } from '../../src/memory/governor.ts'
import { CapacityError, TurnInterruptedError } from '../../src/errors.ts'
import { Gate } from '../../src/admission/gate.ts'
import type { Permit } from '../../src/admission/gate.ts'
import { FakeClock } from '../../src/testing/index.ts'
import { agree } from './agree.ts'

const SEED = 20_260_101
const OPERATIONS = 100_000
/** An upper bound for a busy machine. */
const PATIENCE_MS = 120_000

const TENANTS = ['a', 'b', 'c', 'd', 'e']

/** Pseudo-random numbers below 1, always the same (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

test.each([3, 'auto'] as const)(
  `after ${OPERATIONS} random operations every count is back at zero, with turnsPerTenant: %s`,
  { timeout: PATIENCE_MS },
  async (turnsPerTenant) => {
    const random = randomOf(SEED)
    const below = (limit: number): number => Math.floor(random() * limit)
    const clock = new FakeClock()
    // Memory that comes and goes: each turn claims from one to three of it.
    let memory = 10
    const held = new Set<MemoryReservation>()
    const needOf = ({ agent }: MemoryReservation): number => Number(agent)
    const claimed = (): number => [...held].reduce((sum, claim) => sum + needOf(claim), 0)
    const gate = new Gate({
      turns: 7,
      turnsPerTenant,
      admission: { mode: 'wait', timeoutMs: 500, maxWaiting: 20 },
      clock,
      memory: {
        obstacle: (claim) => (claimed() + needOf(claim) > memory ? 'memory' : undefined),
        hold: (claim) => void held.add(claim),
        drop: (claim) => void held.delete(claim),
        turnsThatFit: 7,
      },
    })
    const inside: { tenant: string; permit: Permit }[] = []
    const starts: Permit[] = []
    const waiting = new Set<AbortController>()
    const ends = { admitted: 0, refused: 0, aborted: 0 }

    const enter = (tenant: string): void => {
      const abort = new AbortController()
      waiting.add(abort)
      const claim: MemoryReservation = { agent: String(1 + below(3)), worker: () => undefined }
      gate.enter(tenant, abort.signal, claim).then(
        (permit) => {
          waiting.delete(abort)
          inside.push({ tenant, permit })
          ends.admitted += 1
        },
        (error: unknown) => {
          waiting.delete(abort)
          if (error instanceof CapacityError) ends.refused += 1
          else if (error instanceof TurnInterruptedError) ends.aborted += 1
          else throw error
        },
      )
    }
    const take = <T>(list: T[]): T | undefined => list.splice(below(Math.max(list.length, 1)), 1)[0]
    const settle = async (): Promise<void> => {
      for (let tick = 0; tick < 4; tick += 1) await Promise.resolve()
    }

    let entered = 0
    for (let operation = 0; operation < OPERATIONS; operation += 1) {
      const chance = random()
      if (chance < 0.4) {
        entered += 1
        enter(TENANTS[below(TENANTS.length)] ?? 'a')
      } else if (chance < 0.75) {
        const leaving = take(inside)
        leaving?.permit.release()
        if (random() < 0.1) leaving?.permit.release()
      } else if (chance < 0.85) [...waiting][below(waiting.size)]?.abort()
      else if (chance < 0.88 && !gate.suspended) starts.push(gate.permitStart('a'))
      else if (chance < 0.93) take(starts)?.release()
      else if (chance < 0.935) gate.suspend('suspended')
      else if (chance < 0.97) gate.resume()
      else if (chance < 0.975) await clock.advance(below(300))
      else if (chance < 0.99) {
        memory = below(20)
        gate.reconsider()
      } else gate.recordTurn(below(10_000))
      await settle()
      const { facts } = gate
      agree('turns that run', facts.running, inside.length)
      agree('turns that memory is held for', held.size, inside.length)
      agree('turns that wait', facts.waiting, waiting.size)
      agree('starts', facts.starts, starts.length)
      agree('turns beyond the limit', Math.max(facts.running, 7), 7)
      agree('turns that wait beyond the limit', Math.max(facts.waiting, 20), 20)
    }
    for (const abort of waiting) abort.abort()
    for (const { permit } of inside) permit.release()
    for (const start of starts) start.release()
    await settle()
    expect(gate.facts).toMatchObject({ running: 0, waiting: 0, starts: 0 })
    expect(held.size).toBe(0)
    expect(clock.pending).toBe(0)
    expect(ends.admitted + ends.refused + ends.aborted).toBe(entered)
    expect(Math.min(ends.admitted, ends.refused, ends.aborted)).toBeGreaterThan(1_000)
  },
)

test('with a place for each tenant, none waits longer than its turn among the tenants', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.constantFrom(...TENANTS), { minLength: 1, maxLength: 40 }), async (arrivals) => {
      const clock = new FakeClock()
      const admission = { mode: 'wait', timeoutMs: 1e9, maxWaiting: 1_000 } as const
      const gate = new Gate({ turns: 1, turnsPerTenant: 1, admission, clock })
      const first = await gate.enter('first', new AbortController().signal)
      const order: string[] = []
      let permit = first
      for (const tenant of arrivals) {
        void gate.enter(tenant, new AbortController().signal).then((next) => {
          order.push(tenant)
          permit = next
        })
      }
      for (let turn = 0; turn <= arrivals.length; turn += 1) {
        permit.release()
        for (let tick = 0; tick < 4; tick += 1) await Promise.resolve()
      }
      // Round and round: when a tenant is served for the nth time, every other has had n − 1 at least, or all it wanted.
      const wanted = (tenant: string): number => arrivals.filter((other) => other === tenant).length
      const served = new Map<string, number>()
      for (const tenant of order) {
        const nth = (served.get(tenant) ?? 0) + 1
        served.set(tenant, nth)
        for (const other of TENANTS)
          expect(served.get(other) ?? 0).toBeGreaterThanOrEqual(Math.min(nth - 1, wanted(other)))
      }
      expect(order).toHaveLength(arrivals.length)
    }),
    { seed: SEED, numRuns: 100 },
  )
})
