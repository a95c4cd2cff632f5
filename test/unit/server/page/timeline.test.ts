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
