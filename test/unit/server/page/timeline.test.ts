import fc from 'fast-check'
import { expect, test } from 'vitest'
import { runningTurn, timelineOf } from '../../../../src/server/page/timeline.ts'
import type { TurnInfo } from '../../../../src/index.ts'
import type { TurnStep } from '../../../../src/store/store.ts'

test('Phases are told in their order, and steps of other types are left out', () => {
  expect(
    timelineOf([
      { type: 'phase', name: 'model', startMs: 0, durationMs: 7 },
      { type: 'tool', name: 'Bash', id: 'toolu_1', startMs: 7, durationMs: 11, failed: false },
      { type: 'phase', name: 'tool', detail: 'Bash', startMs: 7, durationMs: 11 },
    ]),
  ).toEqual([
    { name: 'model', ms: 7 },
    { name: 'tool', detail: 'Bash', ms: 11 },
  ])
})

test('However many phases there are, at most 64 are shown, and their times still add up', () => {
  const step = fc.record({
    type: fc.constant('phase' as const),
    name: fc.constantFrom('model' as const, 'tool' as const, 'saving' as const),
    startMs: fc.constant(0),
    durationMs: fc.nat(100),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 500 }), (steps: TurnStep[]) => {
      const timeline = timelineOf(steps)
      expect(timeline.length).toBeLessThanOrEqual(64)
      expect(timeline.reduce((sum, { ms }) => sum + ms, 0)).toBe(
        steps.reduce((sum, { durationMs }) => sum + durationMs, 0),
      )
    }),
  )
})

test('Of 65 phases each pair of neighbours becomes one, named after the longer, and the last stays', () => {
  const steps = Array.from({ length: 65 }, (_, index): TurnStep => {
    const name = index % 2 === 0 ? ('model' as const) : ('tool' as const)
    return { type: 'phase', name, startMs: 0, durationMs: index % 4 === 0 ? 3 : 2 }
  })
  const timeline = timelineOf(steps)
  expect(timelineOf(steps.slice(0, 64))).toHaveLength(64)
  expect(timeline).toHaveLength(33)
  expect([timeline[0], timeline[1], timeline.at(-1)]).toEqual([
    { name: 'model', ms: 5 },
    { name: 'model', ms: 4 },
    { name: 'model', ms: 3 },
  ])
  steps[1] = { type: 'phase', name: 'tool', detail: 'Bash', startMs: 0, durationMs: 4 }
  expect(timelineOf(steps)[0]).toEqual({ name: 'tool', detail: 'Bash', ms: 7 })
})

test('The figures of the model are means over all requests, and the time to the first token over those that had one', () => {
  const request = { type: 'model' as const, model: 'm', startMs: 0, failed: false }
  const tokens = { input: 1, output: 30, cache_read: 0, cache_write: 0 }
  const steps: TurnStep[] = [
    { ...request, durationMs: 1_000, firstTokenMs: 100, tokens },
    { ...request, durationMs: 500, firstTokenMs: 300, tokens },
    { ...request, durationMs: 500, firstTokenMs: undefined, tokens: { ...tokens, output: 0 }, failed: true },
  ]
  const turn = { steps, phase: { name: 'model', since: 1_000 } } as unknown as TurnInfo
  const { model, timeline } = runningTurn(turn, 1_250)
  expect(model).toEqual({ requests: 3, failed: 1, firstTokenMs: 200, tokensPerSecond: 30 })
  expect(timeline).toEqual([{ name: 'model', ms: 250 }])
})
