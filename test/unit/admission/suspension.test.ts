import { describe, expect, test } from 'vitest'
import { Gate } from '../../../src/admission/gate.ts'
import { Suspension } from '../../../src/admission/suspension.ts'
import { CapacityError, ConfigError, PoolClosedError } from '../../../src/errors.ts'
import { FakeClock } from '../../../src/testing/clock.ts'
import { fakes } from '../../fixtures/fakes.ts'

const never = new AbortController().signal

const gate = (mode: 'wait' | 'shed', turns = 2): Gate =>
  new Gate({
    turns,
    turnsPerTenant: 'auto',
    admission: mode === 'shed' ? { mode } : { mode, timeoutMs: 60_000, maxWaiting: 100 },
    clock: new FakeClock(),
  })

describe('A suspended tenant', () => {
  test('is refused with its name, and others are not', async () => {
    const open = gate('shed')
    open.suspendTenant('a')
    const refusal = await open.enter('a', never).catch((error: unknown) => error)
    expect(refusal).toBeInstanceOf(CapacityError)
    expect(refusal).toMatchObject({ reason: 'suspended', message: expect.stringContaining('tenant "a" is suspended') })
    expect(() => open.permitStart('a')).toThrow('tenant "a" is suspended')
    await expect(open.enter('b', never)).resolves.toMatchObject({ tenant: 'b' })
    open.resumeTenant('a')
    await expect(open.enter('a', never)).resolves.toMatchObject({ tenant: 'a' })
  })

  test('waits until it is resumed, and takes no place from others meanwhile', async () => {
    const open = gate('wait')
    open.suspendTenant('a')
    const waiting = open.enter('a', never)
    expect(open.waitingFor('a')).toBe('suspended')
    // All places, although another tenant waits for one.
    const permits = [await open.enter('b', never), await open.enter('b', never)]
    expect(open.facts).toMatchObject({ running: 2, waiting: 1 })
    permits[0]?.release()
    expect(open.facts).toMatchObject({ running: 1, waiting: 1 })
    open.resumeTenant('a')
    expect((await waiting).tenant).toBe('a')
  })

  test('stays suspended when the pool is resumed, and the pool when the tenant is', () => {
    const suspension = new Suspension()
    suspension.suspend('suspended')
    suspension.suspendTenant('a')
    suspension.resumeTenant('a')
    expect([suspension.of('a'), suspension.of('b')]).toEqual(['suspended', 'suspended'])
    suspension.suspendTenant('a')
    suspension.resume()
    expect([suspension.of('a'), suspension.of('b'), suspension.tenants]).toEqual(['suspended', undefined, ['a']])
  })
})

test('The number of suspended tenants is bounded', () => {
  const suspension = new Suspension()
  for (let index = 0; index < 10_000; index += 1) suspension.suspendTenant(`t${index}`)
  suspension.suspendTenant('t1')
  expect(() => suspension.suspendTenant('one more')).toThrow(ConfigError)
})

test('Draining ends every suspension for good', () => {
  const suspension = new Suspension()
  suspension.suspend('draining')
  suspension.suspend('suspended')
  expect(suspension.whole).toBe('draining')
  for (const change of [
    () => suspension.resume(),
    () => suspension.suspendTenant('a'),
    () => suspension.resumeTenant('a'),
  ])
    expect(change).toThrow(PoolClosedError)
})

test('A pool says who is suspended, and refuses a name that no tenant can have', async () => {
  const { pool } = await fakes()
  pool.suspend({ tenant: 'acme' })
  expect(pool.stats().suspended).toEqual({ pool: false, tenants: ['acme'] })
  const session = await pool.session('one', { tenant: 'acme', agent: 'assistant' })
  await expect(session.send('hello').result).rejects.toThrow('tenant "acme" is suspended')
  pool.resume({ tenant: 'acme' })
  await session.send('hello').result
  expect(() => pool.suspend({ tenant: '' })).toThrow(ConfigError)
  expect(() => pool.resume({ tenannt: 'acme' } as never)).toThrow(ConfigError)
})
