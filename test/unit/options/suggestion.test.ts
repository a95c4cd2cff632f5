import { expect, test } from 'vitest'
import { isMisspelt, suggestionFor } from '../../../src/options/suggestion.ts'

const WORDS = ['model', 'mode', 'maxTurns', 'max', 'agents', 'cwd']

test.each([
  ['modell', 'model'],
  ['Agents', 'agents'],
  ['agnts', 'agents'],
  ['maxTurn', 'maxTurns'],
  ['maxTurnsOfAll', 'maxTurns'],
  ['cwdd', 'cwd'],
  ['agen', 'agents'],
])('For %s, %s was probably meant', (key, meant) => {
  expect(suggestionFor(key, WORDS)).toBe(`; did you mean ${meant}?`)
})

test.each(['', 'ag', 'mo', 'temperature', 'agxxxs', 'xyz'])('For "%s" nothing is suggested', (key) => {
  expect(suggestionFor(key, WORDS)).toBe('')
})

test.each([
  ['kitten', 'sitten', true],
  ['kitten', 'sittin', true],
  ['kitten', 'sitting', false],
  ['abc', 'abd', true],
  ['abc', 'add', false],
  ['abcd', 'abxy', true],
  ['abcd', 'axyz', false],
  ['ab', 'abc', false],
  ['model', 'modelxx', true],
  ['model', 'modelxxx', false],
])('%s is %s misspelt: %s', (key, known, expected) => {
  expect(isMisspelt(key, known)).toBe(expected)
})
