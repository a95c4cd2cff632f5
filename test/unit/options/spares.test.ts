import { describe, expect, test } from 'vitest'
import { readSpares } from '../../../src/options/spares.ts'
import { problemOf } from '../../fixtures/config-problem.ts'

describe('spares', () => {
  test('have at least as many at most as they have at least', () => {
    expect(readSpares('spares', { min: 5 })).toEqual({ min: 5, max: 5 })
    expect(readSpares('spares', { max: 0 })).toEqual({ min: 0, max: 0 })
    expect(problemOf(() => readSpares('agents.a.spares', { min: 3, max: 2 }))).toBe(
      'agents.a.spares.max: 2 is less than min (3)',
    )
  })

  test.each([-1, 0.5, NaN])('are never %d', (min) => {
    expect(problemOf(() => readSpares('agents.a.spares', { min }))).toContain('agents.a.spares.min: ')
  })
})
