import fc from 'fast-check'
import { expect, test } from 'vitest'
import { JsonScan } from '../../../../src/server/http/json-scan.ts'

const LIMITS = { depth: 3, keys: 4, values: 6 }

/** Pushes the text in pieces of these sizes, over and over. */
function scan(text: string, sizes: readonly number[] = [text.length + 1], limits = LIMITS): void {
  const bytes = Buffer.from(text)
  const scanned = new JsonScan(limits)
  for (let at = 0, index = 0; at < bytes.length; index += 1) {
    const size = sizes[index % sizes.length] ?? 1
    scanned.push(bytes.subarray(at, at + size))
    at += size
  }
}

test.each([
  ['{"a":1,"b":2,"c":3,"d":4}'],
  ['[[[]]]'],
  ['[1,2,3,4,5,6]'],
  ['"[[[[[[,,,,,,,::::::"'],
  [String.raw`{"a":"\"[[[[\\\"::::::"}`],
  [''],
])('%s passes', (text) => {
  expect(() => scan(text)).not.toThrow()
  expect(() => scan(text, [1])).not.toThrow()
})

test.each([
  ['{"a":1,"b":2,"c":3,"d":4,"e":5}', 'the body has more than 4 keys'],
  ['[[[[]]]]', 'the body has more than 3 levels of arrays and objects'],
  ['[1,2,3,4,5,6,7,8]', 'the body has more than 6 values'],
  [String.raw`{"a":"\\","b":"\"","c":1,"d":1,"e":1}`, 'more than 4 keys'],
])('%s is refused: %s', (text, problem) => {
  expect(() => scan(text)).toThrow(problem)
  expect(() => scan(text, [1])).toThrow(problem)
})

test('a text that only opens is refused long before its end', () => {
  expect(() => new JsonScan().push(Buffer.from('['.repeat(101)))).toThrow('more than 100 levels')
})

/** What the scan counts, by the parsed value. */
function count(value: unknown): { depth: number; keys: number; values: number } {
  if (typeof value !== 'object' || value === null) return { depth: 0, keys: 0, values: 0 }
  const members = Object.values(value)
  const below = members.map(count)
  const sum = (pick: 'keys' | 'values'): number => below.reduce((all, part) => all + part[pick], 0)
  return {
    depth: 1 + Math.max(0, ...below.map(({ depth }) => depth)),
    keys: sum('keys') + (Array.isArray(value) ? 0 : members.length),
    values: sum('values') + 1 + Math.max(0, members.length - 1),
  }
}

test('it counts what the text holds, however it arrives', () => {
  fc.assert(
    fc.property(fc.json(), fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1 }), (text, sizes) => {
      const counted = count(JSON.parse(text))
      expect(() => scan(text, sizes, counted)).not.toThrow()
      for (const name of ['depth', 'keys', 'values'] as const)
        if (counted[name] > 0)
          expect(() => scan(text, sizes, { ...counted, [name]: counted[name] - 1 })).toThrow('the body has more')
    }),
  )
})
