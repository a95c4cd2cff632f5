import { parse } from 'yaml'
import { describe, expect, test } from 'vitest'
import { quantile, reportOf } from '../../../../src/cli/size/report.ts'
import type { Filled, Measured } from '../../../../src/cli/size/report.ts'
import { readLimits } from '../../../../src/options/limits.ts'

const MIB = 2 ** 20
const GIB = 2 ** 30

const measured: Measured = {
  baselineBytes: 60 * MIB,
  sharedBytes: 80 * MIB,
  starts: [90 * MIB, 95 * MIB],
  idle: [110 * MIB, 120 * MIB, 130 * MIB],
  turns: Array.from({ length: 20 }, (_, turn) => (turn === 19 ? 400 : 130 + turn) * MIB),
  cpu: { seconds: 4, turnSeconds: 40 },
  failed: {},
}

/** So many cores that memory decides. */
const ON_TWO_GIB = { limitBytes: 2 * GIB, cores: 64 }

const limitsOf = (yaml: string): ReturnType<typeof readLimits> =>
  readLimits((parse(yaml) as { limits: object }).limits as Parameters<typeof readLimits>[0])

describe('The report of size', () => {
  test('tells the median, the 95th percentile and the peak of turns', () => {
    const { running, idle, start, baseline } = reportOf('a', measured, ON_TWO_GIB)
    expect(running).toEqual({ turns: 20, medianBytes: 139 * MIB, p95Bytes: 148 * MIB, peakBytes: 400 * MIB })
    expect(idle.medianBytes).toBe(120 * MIB)
    expect(start.spikeBytes).toBe(95 * MIB)
    expect(baseline).toEqual({ hostBytes: 60 * MIB, sharedBytes: 80 * MIB })
  })

  test('leaves room for the host, what workers share, and what the pool keeps back', () => {
    const { fits } = reportOf('a', measured, ON_TWO_GIB)
    expect(fits.map(({ memoryBytes }) => memoryBytes)).toEqual([1, 2, 4, 8].map((size) => size * GIB))
    for (const { memoryBytes, turns, sessions } of fits) {
      const fixed = 140 * MIB + 0.06 * memoryBytes
      expect(fixed + turns * 148 * MIB).toBeLessThan(memoryBytes)
      expect(fixed + (turns + 2) * 148 * MIB).toBeGreaterThan(memoryBytes)
      expect(sessions).toBeGreaterThan(turns)
    }
  })

  test('adds the limit that was asked about, and says none where nothing fits', () => {
    const { fits } = reportOf('a', measured, { limitBytes: 256 * MIB, cores: 64 })
    expect(fits).toHaveLength(5)
    expect(fits[0]).toEqual({ memoryBytes: 256 * MIB, turns: 0, boundBy: 'memory', sessions: 0 })
  })

  test('proposes no more turns than the cores run, however much memory there is', () => {
    // A tenth of a core each, and a fifth of two cores is kept back.
    const { cores, fits, config } = reportOf('a', measured, { limitBytes: 64 * GIB, cores: 2 })
    expect(cores).toEqual({ available: 2, perTurn: 0.1, turns: 16 })
    expect(fits.map(({ turns, boundBy }) => [turns, boundBy])).toEqual([
      [5, 'memory'],
      [11, 'memory'],
      [16, 'cores'],
      [16, 'cores'],
      [16, 'cores'],
    ])
    expect(limitsOf(config)).toMatchObject({ turns: 16 })
    expect(config).toContain('2 cores run no more')
  })

  test('proposes one turn where a turn takes more than the cores have', () => {
    const busy = { ...measured, cpu: { seconds: 80, turnSeconds: 40 } }
    expect(reportOf('a', busy, { limitBytes: 8 * GIB, cores: 1 }).cores.turns).toBe(1)
  })

  test('gives a config that the pool takes: what was computed, or what really ran', () => {
    const computed = reportOf('a', measured, ON_TWO_GIB)
    const turns = computed.fits.find(({ memoryBytes }) => memoryBytes === 2 * GIB)?.turns
    expect(limitsOf(computed.config)).toMatchObject({ turns, workerMemoryBytes: 896 * MIB })
    const filled: Filled = {
      limitBytes: 2 * GIB,
      asking: 24,
      turnsAtOnce: { median: 10, most: 11 },
      completed: 50,
      refused: 99,
      failed: {},
      peakBytes: 1.8 * GIB,
      oomKills: 0,
    }
    expect(limitsOf(reportOf('a', measured, ON_TWO_GIB, filled).config)).toMatchObject({ turns: 10 })
  })

  test('takes quantiles that were measured, not computed', () => {
    expect(quantile([], 0.5)).toBe(0)
    expect(quantile([7], 0.95)).toBe(7)
    expect(quantile([4, 1, 3, 2], 0.5)).toBe(2)
    expect(quantile([4, 1, 3, 2], 1)).toBe(4)
  })
})
