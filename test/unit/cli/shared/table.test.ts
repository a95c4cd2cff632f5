import { describe, expect, test } from 'vitest'
import { tableOf } from '../../../../src/cli/shared/table.ts'
import type { Column } from '../../../../src/cli/shared/table.ts'
import { pack, wrap } from '../../../../src/cli/shared/text.ts'

const COLUMNS: readonly Column[] = [
  { head: 'tenant', title: true, least: 6 },
  { head: 'key', title: true, least: 10 },
  { head: 'turns', align: 'right' },
  { head: 'last used' },
]
const ROWS = [
  ['default', 'conversation-42-of-ada', 12, '3m ago'],
  ['acme', 'x', 1, '2h ago'],
]

const widest = (text: string): number => Math.max(...text.split('\n').map((line) => line.length))

describe('A table', () => {
  test('is as wide as its cells where the terminal is wide enough', () => {
    expect(tableOf(COLUMNS, ROWS, Infinity).split('\n')).toEqual([
      '┌─────────┬────────────────────────┬───────┬───────────┐',
      '│ tenant  │ key                    │ turns │ last used │',
      '├─────────┼────────────────────────┼───────┼───────────┤',
      '│ default │ conversation-42-of-ada │    12 │ 3m ago    │',
      '├─────────┼────────────────────────┼───────┼───────────┤',
      '│ acme    │ x                      │     1 │ 2h ago    │',
      '└─────────┴────────────────────────┴───────┴───────────┘',
    ])
  })

  test('breaks the cells of columns that may be narrow, and loses nothing', () => {
    const text = tableOf(COLUMNS, ROWS, 46)
    expect(widest(text)).toBeLessThanOrEqual(46)
    expect(text).toMatch(/│ default │ conversation │ +12 │ 3m ago +│\n│ +│ -42-of-ada +│ +│ +│/)
  })

  test('becomes a list where no table fits', () => {
    expect(tableOf(COLUMNS, ROWS, 24).split('\n')).toEqual([
      'default',
      'conversation-42-of-ada',
      '  turns 12',
      '  last used 3m ago',
      'acme  x',
      '  turns 1',
      '  last used 2h ago',
    ])
  })

  test.each([20, 30, 40, 50, 60, 70, 200])('is never wider than a terminal of %d columns', (width) => {
    expect(widest(tableOf(COLUMNS, ROWS, width))).toBeLessThanOrEqual(width)
  })
})

test('Text is broken between words, and within a word that is longer than a line', () => {
  expect(wrap('one two three', 8)).toEqual(['one two', 'three'])
  expect(wrap('abcdefghij k', 4)).toEqual(['abcd', 'efgh', 'ij k'])
  expect(wrap('', 4)).toEqual([''])
  expect(pack(['a b', 'c d', 'e'], ' · ', 9)).toEqual(['a b · c d', 'e'])
  expect(pack([], ' ', 9)).toEqual([])
})
