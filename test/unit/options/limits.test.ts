import { expect, test } from 'vitest'
import { limitsOf, readLimits } from '../../../src/options/limits.ts'
import { readResidency } from '../../../src/options/residency.ts'
import { problemOf } from '../../fixtures/config-problem.ts'

test('the pattern single is a limit of one process', () => {
  const single = readResidency({ pattern: 'single' })
  expect(limitsOf(single, readLimits({})).workers).toBe(1)
  expect(limitsOf(single, readLimits({ workers: 1, turns: 1 })).workers).toBe(1)
  expect(limitsOf(readResidency({}), readLimits({ workers: 7 })).workers).toBe(7)
  for (const name of ['workers', 'turns', 'turnsPerTenant']) {
    expect(problemOf(() => limitsOf(single, readLimits({ [name]: 2 })))).toContain(`limits.${name}: 2 contradicts`)
  }
})
