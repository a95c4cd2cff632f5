import { expect, test } from 'vitest'
import { Standstill } from '../../src/standstill.ts'

/** A clock that is set by hand. */
function standstillAt(begin: number): { at: (reading: number) => Standstill } {
  let now = begin
  const standstill = new Standstill(() => now)
  return {
    at(reading) {
      now = reading
      return standstill
    },
  }
}

test('a timer that is met in time has no time left, however long the host had nothing to do before', () => {
  const host = standstillAt(0)
  expect(host.at(60_000).remaining(60_000)).toBe(0)
  expect(host.at(120_900).remaining(120_000)).toBe(0)
})

test('one that is a second late was due while the host stood still, and so were those that were due meanwhile', () => {
  const host = standstillAt(0)
  host.at(200).now()
  expect(host.at(8_000).remaining(500)).toBe(300)
  expect(host.at(8_001).remaining(5_000)).toBe(4_800)
  expect(host.at(8_002).remaining(7_999)).toBe(7_799)
  expect(host.at(8_003).remaining(8_001)).toBe(0)
})

test('a host that is stopped in the midst of its work is seen, too', () => {
  const host = standstillAt(0)
  host.at(8_000).now()
  host.at(8_010).now()
  expect(host.at(8_020).remaining(5_000)).toBe(5_000)
})

test('a later standstill takes the place of an earlier one', () => {
  const host = standstillAt(0)
  expect(host.at(8_000).remaining(5_000)).toBe(5_000)
  host.at(9_000).now()
  expect(host.at(13_000).remaining(10_000)).toBe(1_000)
  expect(host.at(13_001).remaining(5_000)).toBe(0)
})
