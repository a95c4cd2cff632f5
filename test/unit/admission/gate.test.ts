import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { CapacityError, PoolClosedError, TurnInterruptedError } from '../../../src/errors.ts'
import { Gate } from '../../../src/admission/gate.ts'
import type { GateOptions, Permit } from '../../../src/admission/gate.ts'
import { FakeClock } from '../../../src/testing/clock.ts'

const never = new AbortController().signal
const WAIT = { mode: 'wait', timeoutMs: 1_000, maxWaiting: 100 } as const

const gateOf = (options: Partial<GateOptions> = {}): { gate: Gate; clock: FakeClock } => {
  const clock = new FakeClock()
  return { gate: new Gate({ turns: 2, turnsPerTenant: 2, admission: { mode: 'shed' }, clock, ...options }), clock }
}

/** Who was admitted, in order; each of them has its permit. */
interface Line {
  admitted: string[]
  permits: Permit[]
  refused: string[]
  join(name: string, tenant: string): Promise<void>
}

const lineAt = (gate: Gate): Line => {
  const line: Line = {
    admitted: [],
    permits: [],
    refused: [],
    async join(name, tenant) {
      try {
        const permit = await gate.enter(tenant, never)
        line.admitted.push(name)
        line.permits.push(permit)
      } catch (error) {
        line.refused.push(`${name}: ${error instanceof CapacityError ? error.reason : (error as Error).name}`)
      }
    },
  }
  return line
}

describe('a full gate that sheds', () => {
  test('refuses at once, with the reason and the numbers', async () => {
    const { gate } = gateOf()
    await gate.enter('a', never)
    await gate.enter('b', never)
    const refusal = await gate.enter('c', never).catch((error: unknown) => error)
    expect(refusal).toBeInstanceOf(CapacityError)
    expect(refusal).toMatchObject({ reason: 'turns', facts: { running: 2, limit: 2, waiting: 0 } })
    expect((refusal as Error).message).toMatch(
      /^no place for another turn \(2 of 2 turns run, 0 wait\); try again in \d+ ms$/,
    )
    expect(gate.facts).toEqual({ running: 2, limit: 2, waiting: 0, shed: 1, starts: 0 })
  })

  test('has a place again as soon as a turn has left, once for each', async () => {
    const { gate } = gateOf({ turns: 1 })
    const permit = await gate.enter('a', never)
    permit.release()
    permit.release()
    expect(gate.facts.running).toBe(0)
    await gate.enter('a', never)
    await expect(gate.enter('a', never)).rejects.toThrow(CapacityError)
  })

  test('refuses a tenant that has all its turns, and nobody else', async () => {
    const { gate } = gateOf({ turns: 3, turnsPerTenant: 1 })
    await gate.enter('a', never)
    await expect(gate.enter('a', never)).rejects.toThrow(
      'tenant "a" has all the turns that limits.turnsPerTenant gives it',
    )
    await expect(gate.enter('b', never)).resolves.toMatchObject({ tenant: 'b' })
  })
})

describe('retryAfterMs', () => {
  const refusalOf = async (gate: Gate): Promise<CapacityError> => {
    try {
      await gate.enter('z', never)
    } catch (error) {
      return error as CapacityError
    }
    throw new Error('was admitted')
  }

  test('follows from how long turns take and how many wait', async () => {
    const { gate } = gateOf({ turns: 2 })
    await gate.enter('a', never)
    await gate.enter('b', never)
    expect((await refusalOf(gate)).retryAfterMs).toBe(2_500)
    for (let turn = 0; turn < 100; turn += 1) gate.recordTurn(60_000)
    expect((await refusalOf(gate)).retryAfterMs).toBe(30_000)
  })

  test('is always there, and never 0', async () => {
    const { gate } = gateOf({ turns: 2 })
    for (let turn = 0; turn < 100; turn += 1) gate.recordTurn(0)
    gate.suspend('suspended')
    expect(await refusalOf(gate)).toMatchObject({ reason: 'suspended', retryAfterMs: 100 })
    expect(gate.refuse('memory', 'no room').retryAfterMs).toBe(100)
  })
})

describe('a full gate with a queue', () => {
  test('admits in the order of arrival within a tenant', async () => {
    const { gate } = gateOf({ turns: 1, admission: WAIT })
    const line = lineAt(gate)
    for (const name of ['1', '2', '3']) void line.join(name, 'a')
    await Promise.resolve()
    for (let turn = 0; turn < 3; turn += 1) {
      line.permits.at(-1)?.release()
      await Promise.resolve()
      await Promise.resolve()
    }
    expect(line.admitted).toEqual(['1', '2', '3'])
  })

  test('serves tenants in turn, however many wait of each', async () => {
    const { gate, clock } = gateOf({ turns: 1, turnsPerTenant: 1, admission: WAIT })
    const line = lineAt(gate)
    void line.join('first', 'a')
    for (const name of ['a1', 'a2', 'a3', 'a4']) void line.join(name, 'a')
    for (const name of ['b1', 'b2']) void line.join(name, 'b')
    void line.join('c1', 'c')
    await clock.settle()
    for (let turn = 0; turn < 7; turn += 1) {
      line.permits.at(-1)?.release()
      await clock.settle()
    }
    expect(line.admitted).toEqual(['first', 'a1', 'b1', 'c1', 'a2', 'b2', 'a3', 'a4'])
  })

  test('lets a newcomer pass those whose tenant has all its turns, and nobody else', async () => {
    const { gate, clock } = gateOf({ turns: 2, turnsPerTenant: 1, admission: WAIT })
    const line = lineAt(gate)
    void line.join('a1', 'a')
    void line.join('a2', 'a')
    void line.join('b1', 'b')
    await clock.settle()
    expect(line.admitted).toEqual(['a1', 'b1'])
    void line.join('c1', 'c')
    await clock.settle()
    line.permits[0]?.release()
    await clock.settle()
    expect(line.admitted).toEqual(['a1', 'b1', 'a2'])
    expect(gate.facts).toMatchObject({ running: 2, waiting: 1 })
  })

  test('refuses who has waited for too long, and forgets it', async () => {
    const { gate, clock } = gateOf({ turns: 1, admission: WAIT })
    const line = lineAt(gate)
    void line.join('1', 'a')
    void line.join('2', 'a')
    await clock.advance(999)
    expect(line.refused).toEqual([])
    await clock.advance(1)
    expect(line.refused).toEqual(['2: turns'])
    expect(gate.facts.waiting).toBe(0)
    line.permits[0]?.release()
    expect(gate.facts.running).toBe(0)
  })

  test('is bounded', async () => {
    const { gate, clock } = gateOf({ turns: 1, admission: { ...WAIT, maxWaiting: 2 } })
    const line = lineAt(gate)
    for (const name of ['1', '2', '3', '4']) void line.join(name, 'a')
    await clock.settle()
    expect(line.refused).toEqual(['4: queue'])
    expect(gate.facts).toMatchObject({ running: 1, waiting: 2 })
  })

  test('lets go of who is aborted, also before it has begun to wait', async () => {
    const { gate, clock } = gateOf({ turns: 1, admission: WAIT })
    const permit = await gate.enter('a', never)
    const abort = new AbortController()
    const waiting = gate.enter('a', abort.signal)
    abort.abort('enough')
    await expect(waiting).rejects.toThrow(TurnInterruptedError)
    await expect(waiting).rejects.toMatchObject({ cause: 'enough' })
    await expect(gate.enter('a', abort.signal)).rejects.toThrow(TurnInterruptedError)
    expect(gate.facts.waiting).toBe(0)
    expect(clock.pending).toBe(0)
    permit.release()
    expect(gate.facts.running).toBe(0)
  })

  test('leaves no timer and no listener behind', async () => {
    const { gate, clock } = gateOf({ turns: 1, admission: WAIT })
    const line = lineAt(gate)
    for (const name of ['1', '2', '3']) void line.join(name, 'a')
    await clock.settle()
    expect(clock.pending).toBe(2)
    line.permits[0]?.release()
    await clock.settle()
    expect(clock.pending).toBe(1)
    gate.suspend('draining')
    expect(clock.pending).toBe(0)
  })
})

describe('a suspended gate', () => {
  test('refuses new turns where nobody waits, and takes them again afterwards', async () => {
    const { gate } = gateOf()
    gate.suspend('suspended')
    expect(gate.suspended).toBe(true)
    await expect(gate.enter('a', never)).rejects.toMatchObject({ reason: 'suspended' })
    expect(() => gate.permitStart('a')).toThrow('the pool is suspended; call pool.resume()')
    gate.resume()
    await expect(gate.enter('a', never)).resolves.toBeDefined()
  })

  test('lets new turns wait where turns may wait, and admits them all at once afterwards', async () => {
    const { gate, clock } = gateOf({ admission: WAIT })
    const line = lineAt(gate)
    gate.suspend('suspended')
    for (const name of ['1', '2', '3']) void line.join(name, name)
    await clock.settle()
    expect(line.admitted).toEqual([])
    gate.resume()
    await clock.settle()
    expect(line.admitted).toEqual(['1', '2'])
  })

  test('tells who has waited for too long why', async () => {
    const { gate, clock } = gateOf({ admission: WAIT })
    const line = lineAt(gate)
    gate.suspend('suspended')
    void line.join('1', 'a')
    await clock.advance(1_000)
    expect(line.refused).toEqual(['1: suspended'])
  })

  test('admits nobody although turns leave', async () => {
    const { gate, clock } = gateOf({ turns: 1, admission: WAIT })
    const line = lineAt(gate)
    void line.join('1', 'a')
    void line.join('2', 'a')
    await clock.settle()
    gate.suspend('suspended')
    line.permits[0]?.release()
    await clock.settle()
    expect(line.admitted).toEqual(['1'])
  })
})

describe('a draining gate', () => {
  test('refuses everybody, those who wait included, and for good', async () => {
    const { gate, clock } = gateOf({ turns: 1, admission: WAIT })
    const line = lineAt(gate)
    void line.join('1', 'a')
    void line.join('2', 'a')
    await clock.settle()
    gate.suspend('draining')
    gate.suspend('suspended')
    await clock.settle()
    expect(line.refused).toEqual(['2: PoolClosedError'])
    expect(gate.draining).toBe(true)
    expect(() => gate.resume()).toThrow(PoolClosedError)
    expect(() => gate.permitStart('a')).toThrow(PoolClosedError)
    await expect(gate.enter('a', never)).rejects.toThrow(PoolClosedError)
    await expect(gate.enter('a', never)).rejects.toThrow(PoolClosedError)
    line.permits[0]?.release()
    expect(gate.facts).toMatchObject({ running: 0, waiting: 0 })
  })
})

test('starts ahead are counted apart from turns', async () => {
  const { gate } = gateOf({ turns: 1 })
  const start = gate.permitStart('a')
  expect(gate.facts).toMatchObject({ starts: 1, running: 0 })
  await gate.enter('a', never)
  start.release()
  start.release()
  expect(gate.facts).toMatchObject({ starts: 0, running: 1 })
})

test('no tenant waits while it could run, whatever comes and goes', async () => {
  const step = fc.oneof(
    fc.record({ do: fc.constant('enter' as const), tenant: fc.constantFrom('a', 'b', 'c') }),
    fc.record({ do: fc.constant('leave' as const), which: fc.nat(10) }),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const { gate } = gateOf({ turns: 3, turnsPerTenant: 2, admission: WAIT })
      const inside: { tenant: string; permit: Permit }[] = []
      const waiting = new Map<string, number>()
      for (const action of steps) {
        if (action.do === 'enter') {
          waiting.set(action.tenant, (waiting.get(action.tenant) ?? 0) + 1)
          void gate.enter(action.tenant, never).then((permit) => {
            inside.push({ tenant: action.tenant, permit })
            waiting.set(action.tenant, (waiting.get(action.tenant) ?? 0) - 1)
          })
        } else inside.splice(action.which % Math.max(inside.length, 1), 1)[0]?.permit.release()
        for (let tick = 0; tick < 4; tick += 1) await Promise.resolve()
        const running = (tenant: string): number => inside.filter((turn) => turn.tenant === tenant).length
        expect(gate.facts).toMatchObject({
          running: inside.length,
          waiting: [...waiting.values()].reduce((sum, count) => sum + count, 0),
        })
        expect(inside.length).toBeLessThanOrEqual(3)
        for (const [tenant, count] of waiting) {
          expect(running(tenant)).toBeLessThanOrEqual(2)
          if (count > 0) expect(inside.length === 3 || running(tenant) === 2).toBe(true)
        }
      }
    }),
  )
})

describe("turnsPerTenant: 'auto'", () => {
  const auto = (turns: number) => gateOf({ turns, turnsPerTenant: 'auto' })

  test('gives a tenant all places while nobody else wants one', async () => {
    const { gate } = auto(4)
    for (let turn = 0; turn < 4; turn += 1) await gate.enter('a', never)
    expect(gate.facts.running).toBe(4)
  })

  test('keeps the next place for a tenant that was refused, until that has come or could have', async () => {
    const { gate } = auto(2)
    const first = await gate.enter('a', never)
    await gate.enter('a', never)
    await expect(gate.enter('b', never)).rejects.toMatchObject({ reason: 'turns' })
    first.release()
    await expect(gate.enter('a', never)).rejects.toMatchObject({ reason: 'tenant' })
    const permit = await gate.enter('b', never)
    expect(gate.facts.running).toBe(2)
    // It has come: what it leaves is anybody's.
    permit.release()
    const again = await gate.enter('a', never)
    again.release()
    await gate.enter('c', never)
    expect(gate.facts.running).toBe(2)
  })

  test('takes nothing from who has less than its even share', async () => {
    const { gate } = auto(4)
    const permits = [
      await gate.enter('a', never),
      await gate.enter('b', never),
      await gate.enter('b', never),
      await gate.enter('b', never),
    ]
    await expect(gate.enter('c', never)).rejects.toMatchObject({ reason: 'turns' })
    permits[1]?.release()
    await expect(gate.enter('b', never)).rejects.toMatchObject({ reason: 'tenant' })
    await gate.enter('a', never)
    expect(gate.facts.running).toBe(4)
  })

  test('forgets who was refused and does not come again', async () => {
    const { gate, clock } = auto(2)
    const first = await gate.enter('a', never)
    await gate.enter('a', never)
    const refusal = (await gate.enter('b', never).catch((error: unknown) => error)) as CapacityError
    first.release()
    await expect(gate.enter('a', never)).rejects.toMatchObject({ reason: 'tenant' })
    await clock.advance(2 * refusal.retryAfterMs)
    await gate.enter('a', never)
    expect(gate.facts.running).toBe(2)
  })
})

describe('memory', () => {
  test('that bears no other turn is the reason of the refusal, and what was held for a turn is given back once', async () => {
    let room = 1
    const claim = { agent: 'a', worker: () => undefined }
    const log: string[] = []
    const memory = {
      obstacle: () => (room > 0 ? undefined : ('memory' as const)),
      hold: () => void (log.push('hold'), (room -= 1)),
      drop: () => void (log.push('drop'), (room += 1)),
      get turnsThatFit() {
        return 1
      },
    }
    const { gate } = gateOf({ turns: Infinity, turnsPerTenant: 'auto', memory })
    const permit = await gate.enter('a', never, claim)
    await expect(gate.enter('a', never, claim)).rejects.toMatchObject({
      reason: 'memory',
      facts: { running: 1, limit: 1, waiting: 0 },
    })
    permit.release()
    permit.release()
    expect(log).toEqual(['hold', 'drop'])
  })

  test('lets in who waits for it when it is told that there may be more', async () => {
    let room = 0
    const claim = { agent: 'a', worker: () => undefined }
    const memory = {
      obstacle: () => (room > 0 ? undefined : ('memory' as const)),
      hold: () => void (room -= 1),
      drop: () => void (room += 1),
      turnsThatFit: 2,
    }
    const { gate } = gateOf({ turns: Infinity, turnsPerTenant: 'auto', admission: WAIT, memory })
    const entered = [gate.enter('a', never, claim), gate.enter('b', never, claim)]
    gate.reconsider()
    expect(gate.facts).toMatchObject({ running: 0, waiting: 2 })
    room = 1
    gate.reconsider()
    expect(gate.facts).toMatchObject({ running: 1, waiting: 1 })
    const permit = await entered[0]
    permit?.release()
    await entered[1]
    expect(gate.facts).toMatchObject({ running: 1, waiting: 0 })
  })
})
