import { expect, test } from 'vitest'
import { machineMemory, parseVmStat } from '../../../src/process/machine-memory.ts'

/** As macOS 15 prints it. */
const VM_STAT = `Mach Virtual Memory Statistics: (page size of 16384 bytes)
Pages free:                              100000.
Pages active:                            500000.
Pages inactive:                          200000.
Pages speculative:                        10000.
Pages throttled:                              0.
Pages wired down:                        150000.
`

test('What macOS would give back for the asking counts as available', () => {
  expect(parseVmStat(VM_STAT)).toBe(310_000 * 16_384)
  expect(parseVmStat('')).toBeUndefined()
})

test('This machine has memory, and not all of it is free', () => {
  const { total, free } = machineMemory()
  expect(total).toBeGreaterThan(free)
  expect(free).toBeGreaterThan(0)
})
