import fc from 'fast-check'
import { expect, test } from 'vitest'
import { formatDuration, formatSize, parseDuration, parseSize } from '../../src/units.ts'

test.each([
  ['250ms', 250],
  ['30s', 30_000],
  ['1.5h', 5_400_000],
  ['5 m', 300_000],
  [' 2d ', 172_800_000],
])('the duration %j has %d milliseconds', (text, ms) => {
  expect(parseDuration('limits.inactivityTimeout', text)).toBe(ms)
})

test.each([
  ['512MiB', 512 * 2 ** 20],
  ['2GiB', 2 ** 31],
  ['1GB', 1e9],
  ['1.5KiB', 1536],
  ['10B', 10],
])('the size %j has %d bytes', (text, bytes) => {
  expect(parseSize('limits.memory', text)).toBe(bytes)
})

test.each(['', '30', '-5m', '5M', '5minutes', 'm', '1e3s', 'NaNs', 'Infinitys', '5m 3s', '0x5s', '٣s'])(
  'the duration %j is refused, with its place and an example',
  (text) => {
    expect(() => parseDuration('limits.inactivityTimeout', text)).toThrow(
      `limits.inactivityTimeout: "${text}" is not a number with a unit; write it like "30m" (units: ms, s, m, h, d)`,
    )
  },
)

test.each(['5mib', '5M', '5gb', '2', '-1GiB'])('the size %j is refused, with its place and an example', (text) => {
  expect(() => parseSize('limits.memory', text)).toThrow(`limits.memory: "${text}" is not a number with a unit`)
})

test.each(['0s', '0.0h', `${'9'.repeat(400)}s`])('a duration of %j is no duration', (text) => {
  expect(() => parseDuration('limits.inactivityTimeout', text)).toThrow('must be more than 0')
})

test('a size of no bytes is no size', () => {
  expect(() => parseSize('limits.memory', '0MiB')).toThrow('must be more than 0')
})

test('whole durations survive the way to text and back', () => {
  const units = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 100_000 }),
      fc.constantFrom(...Object.entries(units)),
      (count, [unit, ms]) => {
        expect(parseDuration('x', `${count}${unit}`)).toBe(count * ms)
      },
    ),
  )
})

test('messages show durations in the unit that fits', () => {
  expect([250, 1_536, 90_000, 5_400_000].map(formatDuration)).toEqual(['250ms', '1.5s', '1.5m', '1.5h'])
})

test('messages show sizes in the unit that fits', () => {
  expect([0, 1, 200 * 2 ** 10, 105 * 2 ** 20, 1.5 * 2 ** 30].map(formatSize)).toEqual([
    '0 KiB',
    '1 KiB',
    '200 KiB',
    '105 MiB',
    '1.5 GiB',
  ])
})
