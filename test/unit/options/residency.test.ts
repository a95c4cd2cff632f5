import { describe, expect, test } from 'vitest'
import { readAgentResidency, readResidency } from '../../../src/options/residency.ts'
import { loose, problemOf } from '../../fixtures/config-problem.ts'

describe('a pattern', () => {
  test.each([
    ['adaptive', { learns: true, ttlUntilLearned: true, idleTtlMs: 30 * 60_000, maxTurnsPerWorker: 200 }],
    ['hybrid', { learns: false, ttlUntilLearned: false, idleTtlMs: 30 * 60_000, maxTurnsPerWorker: 200 }],
    ['ephemeral', { learns: false, ttlUntilLearned: false, idleTtlMs: 30 * 60_000, maxTurnsPerWorker: 1 }],
    ['long-running', { learns: false, ttlUntilLearned: false, idleTtlMs: Infinity, maxTurnsPerWorker: 200 }],
    ['single', { learns: false, ttlUntilLearned: false, idleTtlMs: Infinity, maxTurnsPerWorker: 200 }],
  ] as const)('%s is a set of defaults', (pattern, defaults) => {
    expect(readResidency({ pattern })).toMatchObject({ pattern, ...defaults, maxAgeMs: 6 * 3_600_000 })
  })

  test('yields to what is set explicitly', () => {
    expect(readResidency({ pattern: 'long-running', idleTtl: '1d', maxTurnsPerWorker: 'none' })).toMatchObject({
      idleTtlMs: 86_400_000,
      maxTurnsPerWorker: Infinity,
    })
    expect(readResidency({ idleTtl: '10m' })).toMatchObject({
      learns: true,
      ttlUntilLearned: false,
      idleTtlMs: 600_000,
    })
  })

  test.each([
    ['Adaptive', '"Adaptive" is not one of: WORDS; did you mean adaptive?'],
    ['lru', '"lru" is not one of: WORDS'],
    ['', '"" is not one of: WORDS'],
    [5, '5 is not one of: WORDS'],
    [null, 'has no value; it must be one of: WORDS'],
    [['adaptive'], 'must be one of: WORDS'],
  ])('that is %j is refused', (pattern, problem) => {
    expect(problemOf(() => readResidency(loose({ pattern })))).toBe(
      `residency.pattern: ${problem.replace('WORDS', 'adaptive, ephemeral, hybrid, long-running, single')}`,
    )
  })

  test('is not contradicted', () => {
    expect(problemOf(() => readResidency({ pattern: 'ephemeral', maxTurnsPerWorker: 5 }))).toContain(
      'residency.maxTurnsPerWorker: contradicts the pattern ephemeral',
    )
    for (const pattern of ['long-running', 'single'] as const) {
      expect(problemOf(() => readResidency({ pattern, maxTurnsPerWorker: 1 }))).toContain(
        `residency.maxTurnsPerWorker: 1 contradicts the pattern ${pattern}`,
      )
    }
    expect(readResidency({ pattern: 'hybrid', maxTurnsPerWorker: 1 }).maxTurnsPerWorker).toBe(1)
  })

  test('of an agent stands for itself; without one, what the agent leaves out is the pool’s', () => {
    const outer = { pattern: 'hybrid', idleTtl: '2h', maxMemory: '2GiB' } as const
    expect(readAgentResidency('a', { idleTtlMs: 5 }, outer)).toEqual(
      readResidency({ pattern: 'hybrid', idleTtlMs: 5, maxMemory: '2GiB' }),
    )
    expect(readAgentResidency('a', { pattern: 'ephemeral' }, outer)).toEqual(readResidency({ pattern: 'ephemeral' }))
    expect(problemOf(() => readAgentResidency('agents.a.residency', { pattern: 'single' }))).toContain(
      'agents.a.residency.pattern: single is a pattern of the whole pool',
    )
    expect(problemOf(() => readAgentResidency('agents.a.residency', loose({ idleTTL: '5m' })))).toContain(
      'agents.a.residency.idleTTL: is not an option',
    )
  })
})
