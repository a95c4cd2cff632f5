import { expect, test } from 'vitest'
import { allows, placeOf, placeOfUrl } from '../../../src/egress/rules.ts'

const LIST = ['api.example:443', '*.cdn.example:443', '10.0.0.5:5432', '[fd00::1]:80']

const isAllowed = (authority: string): boolean | undefined => {
  const place = placeOf(authority)
  return place && allows([LIST], place)
}

test.each([
  ['api.example:443', true],
  ['API.Example.:443', true],
  ['api.example:80', false],
  ['evil-api.example:443', false],
  ['api.example.evil:443', false],
  ['a.cdn.example:443', true],
  ['a.b.cdn.example:443', true],
  ['cdn.example:443', false],
  ['evilcdn.example:443', false],
  ['10.0.0.5:5432', true],
  ['0xa.5:5432', true],
  ['10.0.0.6:5432', false],
  ['[FD00:0::1]:80', true],
  ['[fd00::2]:80', false],
] as const)('%s is allowed: %s', (authority, expected) => {
  expect(isAllowed(authority)).toBe(expected)
})

test.each([
  'api.example',
  'api.example:0',
  'api.example:65536',
  'user@api.example:443',
  'api.example:443/x',
  ':443',
  'a b:1',
  '',
])('"%s" names no place', (authority) => {
  expect(placeOf(authority)).toBeUndefined()
})

test('every list must name a place, and without a list everything is allowed', () => {
  const place = { host: 'api.example', port: 443 }
  expect(allows([LIST, ['api.example:443']], place)).toBe(true)
  expect(allows([LIST, []], place)).toBe(false)
  expect(allows([], place)).toBe(true)
})

test('a URL without a port leads to that of its protocol', () => {
  expect(placeOfUrl(new URL('https://api.example/x'))).toEqual({ host: 'api.example', port: 443 })
  expect(placeOfUrl(new URL('http://[::1]:8080'))).toEqual({ host: '::1', port: 8080 })
})
