import { expect, test } from 'vitest'
import { Backoffs } from '../../../src/worker/backoffs.ts'

const problem = new Error('no entry')

test('a conversation that keeps failing is held back alone', () => {
  const backoffs = new Backoffs()
  for (let failure = 0; failure < 3; failure += 1) backoffs.failed('kind', 'one', problem, 0)
  expect(backoffs.held('kind', 'one', 0)).toEqual({ of: 'conversation', error: problem, remainingMs: 1_000 })
  expect(backoffs.held('kind', 'two', 0)).toBeUndefined()
  expect(backoffs.held('kind', undefined, 0)).toBeUndefined()
  expect([backoffs.failing('kind'), backoffs.failing('other')]).toEqual([true, false])
})

test('conversations that fail one after the other hold back all of their kind, and no other', () => {
  const backoffs = new Backoffs()
  for (const conversation of ['one', 'two', 'three']) backoffs.failed('kind', conversation, problem, 0)
  expect(backoffs.held('kind', 'four', 0)).toEqual({ of: 'kind', error: problem, remainingMs: 1_000 })
  expect(backoffs.held('other', 'four', 0)).toBeUndefined()
})

test('a success forgets the failures of its kind and of its conversation', () => {
  const backoffs = new Backoffs()
  for (let failure = 0; failure < 3; failure += 1) backoffs.failed('kind', 'one', problem, 0)
  for (const conversation of ['two', 'three']) backoffs.failed('kind', conversation, problem, 0)
  backoffs.succeeded('kind', 'two')
  expect(backoffs.failing('kind')).toBe(false)
  expect(backoffs.held('kind', 'three', 0)).toBeUndefined()
  expect(backoffs.held('kind', 'one', 0)?.of).toBe('conversation')
  backoffs.succeeded('kind', 'one')
  expect(backoffs.held('kind', 'one', 0)).toBeUndefined()
})

test('what failed longest ago is forgotten when others are too many', () => {
  const backoffs = new Backoffs()
  for (let failure = 0; failure < 3; failure += 1) backoffs.failed('kind', 'old', problem, 0)
  for (let number = 0; number < 999; number += 1) backoffs.failed(`kind ${number}`, `c ${number}`, problem, 0)
  expect(backoffs.held('kind x', 'old', 0)?.of).toBe('conversation')
  backoffs.failed('kind y', 'one more', problem, 0)
  expect(backoffs.held('kind x', 'old', 0)).toBeUndefined()
})
