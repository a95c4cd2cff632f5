import { expect, test } from 'vitest'
import { keepNewest } from '../../src/newest.ts'

test('What was put in first goes first, and as much stays as may', () => {
  const map = new Map([1, 2, 3, 4].map((key) => [key, key]))
  keepNewest(map, 2)
  expect([...map.keys()]).toEqual([3, 4])
  keepNewest(map, 2)
  expect([...map.keys()]).toEqual([3, 4])
  keepNewest(map, 0)
  expect(map.size).toBe(0)
})

test('A set is held to its bound alike', () => {
  const set = new Set(['a', 'b', 'c'])
  keepNewest(set, 2)
  expect([...set]).toEqual(['b', 'c'])
})
