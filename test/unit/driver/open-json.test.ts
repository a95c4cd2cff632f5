import fc from 'fast-check'
import { expect, test } from 'vitest'
import { OpenJson } from '../../../src/driver/open-json.ts'

const endingOf = (text: string): string | undefined => {
  const json = new OpenJson()
  json.read(Buffer.from(text))
  return json.canEnd ? json.ending : undefined
}

test('wherever a JSON text can be ended, it becomes one that can be read', () => {
  fc.assert(
    fc.property(fc.json(), fc.nat(), fc.nat(), (text, place, second) => {
      const bytes = Buffer.from(text)
      const cut = place % (bytes.length + 1)
      const middle = second % (cut + 1)
      const json = new OpenJson()
      json.read(bytes.subarray(0, middle))
      json.read(bytes.subarray(middle, cut))
      if (json.canEnd) JSON.parse(bytes.toString('utf8', 0, cut) + json.ending)
      return true
    }),
  )
})

test.each([
  ['', 'null'],
  ['{', '"":null}'],
  ['{"a', '… [cut short by the pool]":null}'],
  ['{"a"', ':null}'],
  ['{"a":', 'null}'],
  ['{"a":"b', '… [cut short by the pool]"}'],
  ['{"a":[{"b":"c"},', 'null]}'],
  ['[1 ', ']'],
  ['{"a":1,', '"":null}'],
])('%s is ended by %s', (text, ending) => {
  expect(endingOf(text)).toBe(ending)
})

test.each(['[1', '[tru', '[x', '{{', '{1', '["\\', '["\\u00', '['.repeat(1_001)])('%s cannot be ended', (text) => {
  expect(endingOf(text)).toBeUndefined()
})
