import { expect, test } from 'vitest'
import { Backoff } from '../../../src/worker/backoff.ts'

const problem = new Error('no such file')

test('two failures cost nothing; from the third on each doubles the wait, to a minute at most', () => {
  const backoff = new Backoff()
  const waits: number[] = []
  let now = 0
  for (let failure = 1; failure <= 10; failure += 1) {
    backoff.failed(problem, now)
    const wait = backoff.held(now)?.remainingMs ?? 0
    waits.push(wait)
    now += wait
    expect(backoff.held(now)).toBeUndefined()
  }
  expect(waits).toEqual([0, 0, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000])
})

test('what holds starts back is the last failure', () => {
  const backoff = new Backoff()
  for (let failure = 0; failure < 3; failure += 1) backoff.failed(new Error(`failure ${failure}`), 0)
  expect(backoff.held(400)).toEqual({ error: new Error('failure 2'), remainingMs: 600 })
})

test('failures of one conversation count once, until those of others make a pattern', () => {
  const backoff = new Backoff()
  for (let failure = 0; failure < 5; failure += 1) backoff.failed(problem, 0, 'one')
  expect([backoff.failing, backoff.held(0)]).toEqual([true, undefined])
  backoff.failed(problem, 0, 'two')
  backoff.failed(problem, 0, 'two')
  expect(backoff.held(0)).toBeUndefined()
  backoff.failed(problem, 0, 'three')
  expect(backoff.held(0)?.remainingMs).toBe(1_000)
  backoff.failed(problem, 0, 'three')
  expect(backoff.held(0)?.remainingMs).toBe(2_000)
})
