import fc from 'fast-check'
import { expect, test } from 'vitest'
import { fingerprintOf, formOf } from '../../../src/agents/fingerprint.ts'

test('the order of keys does not matter, at any depth', () => {
  expect(fingerprintOf({ a: 1, b: { c: [1, 2], d: 3 } })).toBe(fingerprintOf({ b: { d: 3, c: [1, 2] }, a: 1 }))
})

test('a key that is undefined is one that is left out', () => {
  expect(fingerprintOf({ a: 1, b: undefined })).toBe(fingerprintOf({ a: 1 }))
})

test.each<[string, unknown, unknown]>([
  ['values', { a: 1 }, { a: 2 }],
  ['types of values', { a: 1 }, { a: '1' }],
  ['keys', { a: 1 }, { b: 1 }],
  ['orders of a list', { a: [1, 2] }, { a: [2, 1] }],
  ['null and nothing', { a: null }, {}],
  ['an empty list and an empty object', { a: [] }, { a: {} }],
  ['an object and the list of its entries', { a: { b: 1 } }, { a: [['b', 1]] }],
  ['functions', { a: () => 1 }, { a: () => 1 }],
  ['instances', { a: new Map() }, { a: new Map() }],
  ['big and small integers', { a: 1n }, { a: 1 }],
  ['big integers and their look', { a: 1n }, { a: '1n' }],
  ['an identity and its look', { a: () => 1 }, { a: { identity: 'x' } }],
])('other %s make another fingerprint', (_what, one, other) => {
  expect(fingerprintOf(one)).not.toBe(fingerprintOf(other))
})

test('the same function and the same instance are the same', () => {
  const hook = (): void => undefined
  const map = new Map()
  expect(fingerprintOf({ hook, list: [map] })).toBe(fingerprintOf({ list: [map], hook }))
})

test('copies of any options have the same fingerprint, and it is short', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (options) => {
      const reversed = Object.fromEntries(Object.entries(structuredClone(options)).toReversed())
      expect(fingerprintOf(reversed)).toBe(fingerprintOf(options))
      expect(fingerprintOf(options)).toMatch(/^[0-9a-f]{16}$/)
    }),
  )
})

class Shape {}

test('a form is the same at each host: functions and instances are alike if their names are', () => {
  const form = (hook: unknown): string => formOf({ b: [hook], a: { d: 1n, c: null } })
  const called = (name: string): unknown => Object.defineProperty(() => undefined, 'name', { value: name })
  expect(form(called('one'))).toBe(form(called('one')))
  expect(form(called('one'))).not.toBe(form(called('two')))
  expect(form(new Shape())).toBe(form(new Shape()))
  expect(form(new Map())).toBe(form(new Map([[1, 2]])))
  expect(form(new Shape())).not.toBe(form(new Map()))
  expect(form({ x: 1, y: 2, z: undefined })).toBe(form({ y: 2, x: 1 }))
  expect(form({})).toBe(form(Object.create(null)))
  expect(form({})).toMatch(/^[0-9a-f]{16}$/)
})

test.each<[string, unknown, unknown]>([
  ['values', { a: 1 }, { a: 2 }],
  ['keys', { a: 1 }, { b: 1 }],
  ['big and small integers', 1n, 1],
  ['big integers and their look', 1n, '1n'],
  ['plain objects and instances', {}, new Map()],
  ['null and nothing', { a: null }, {}],
])('other %s make another form', (_what, one, other) => {
  expect(formOf(one)).not.toBe(formOf(other))
})
