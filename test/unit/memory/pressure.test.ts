import { describe, expect, test } from 'vitest'
import { Pressure } from '../../../src/memory/pressure.ts'
import { Reserve } from '../../../src/memory/reserve.ts'

const MIB = 2 ** 20

/** Readings of a limit of 1000, with 100 in reserve. */
const reading = (freeBytes: number, stall?: number) => ({ limitBytes: 1_000, reserveBytes: 100, freeBytes, stall })

describe('pressure', () => {
  test('rises at once, through all levels if need be', () => {
    const pressure = new Pressure()
    expect([pressure.update(reading(51), 0), pressure.level]).toEqual([false, 'none'])
    expect([pressure.update(reading(49), 1), pressure.level]).toEqual([true, 'high'])
    expect([pressure.update(reading(24), 2), pressure.level]).toEqual([true, 'critical'])
    expect([new Pressure().update(reading(0), 0)]).toEqual([true])
  })

  test('falls when there is clearly more, and has been for two seconds', () => {
    const pressure = new Pressure()
    pressure.update(reading(49), 0)
    expect([pressure.update(reading(74), 5_000), pressure.level]).toEqual([false, 'high'])
    expect([pressure.update(reading(76), 6_999), pressure.level]).toEqual([false, 'high'])
    expect([pressure.update(reading(76), 7_000), pressure.level]).toEqual([true, 'none'])
  })

  test('says at once that something has helped, so that nothing more is taken', () => {
    const pressure = new Pressure()
    pressure.update(reading(10), 0)
    expect([pressure.latest, pressure.level]).toEqual(['critical', 'critical'])
    pressure.update(reading(60), 100)
    expect([pressure.latest, pressure.level]).toEqual(['high', 'critical'])
    pressure.update(reading(90), 200)
    expect([pressure.latest, pressure.level]).toEqual(['none', 'critical'])
  })

  test('is high while turns wait for memory, unless there is plenty of our own', () => {
    const pressure = new Pressure()
    pressure.update(reading(240, 9), 0)
    expect(pressure.level).toBe('none')
    pressure.update(reading(240, 10), 1)
    expect(pressure.level).toBe('high')
    pressure.update(reading(240, 6), 5_000)
    expect(pressure.level).toBe('high')
    pressure.update(reading(240, 4), 9_000)
    expect(pressure.level).toBe('none')
    pressure.update(reading(250, 90), 10_000)
    expect(pressure.level).toBe('none')
  })
})

describe('the reserve', () => {
  test('is a share of the limit within bounds, and what a host may always grow by', () => {
    const reserve = new Reserve()
    reserve.note(100 * MIB, 0)
    expect(reserve.bytes(512 * MIB)).toBe((64 + 32) * MIB)
    expect(reserve.bytes(4_096 * MIB)).toBe(Math.round((0.06 * 4_096 + 32) * MIB))
    expect(reserve.bytes(65_536 * MIB)).toBe((512 + 32) * MIB)
    expect(reserve.bytes(Infinity)).toBe((512 + 32) * MIB)
  })

  test('has room for the host to grow to where it was minutes ago', () => {
    const reserve = new Reserve()
    reserve.note(300 * MIB, 0)
    reserve.note(100 * MIB, 1_000)
    expect(reserve.bytes(512 * MIB)).toBe((64 + 200) * MIB)
    reserve.note(100 * MIB, 5 * 60_000)
    expect(reserve.bytes(512 * MIB)).toBe((64 + 200) * MIB)
    reserve.note(100 * MIB, 10 * 60_000)
    expect(reserve.bytes(512 * MIB)).toBe((64 + 32) * MIB)
  })
})
