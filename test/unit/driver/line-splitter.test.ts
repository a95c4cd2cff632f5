import fc from 'fast-check'
import { expect, test } from 'vitest'
import { LineSplitter } from '../../../src/driver/line-splitter.ts'
import type { Piece } from '../../../src/driver/line-splitter.ts'

const CONTROL = ['{"type":"control_request","id":1}', '{"type":"control_response"}', '{"type":"keep_alive"}']
const CONVERSATION = [
  '{"type":"assistant","text":"ü"}',
  '{"type":"control',
  '{"type":"keep_alive',
  '{}',
  '',
  'no json at all',
]

/** Cuts text at the given places. */
function* chunks(text: string, cuts: readonly number[]): Generator<Buffer> {
  const bytes = Buffer.from(text)
  let start = 0
  for (const cut of [...cuts, bytes.length].map((place) => place % (bytes.length + 1)).toSorted((a, b) => a - b)) {
    if (cut > start) yield bytes.subarray(start, cut)
    start = Math.max(start, cut)
  }
  if (start < bytes.length) yield bytes.subarray(start)
}

const split = (text: string, cuts: readonly number[]): Piece[] => {
  const lines = new LineSplitter()
  return [...chunks(text, cuts)].flatMap((chunk) => Array.from(lines.split(chunk)))
}

test('however output is cut, the same lines come out in order, control lines whole', () => {
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom(...CONTROL, ...CONVERSATION), { maxLength: 20 }),
      fc.array(fc.nat(), { maxLength: 40 }),
      (lines, cuts) => {
        const pieces = split(lines.map((line) => `${line}\n`).join(''), cuts)
        expect(Buffer.concat(pieces.map(({ bytes }) => bytes)).toString()).toBe(
          lines.map((line) => `${line}\n`).join(''),
        )
        const control = pieces.filter(({ kind }) => kind === 'control')
        expect(control.map(({ bytes }) => bytes.toString())).toEqual(
          lines.filter((line) => CONTROL.includes(line)).map((line) => `${line}\n`),
        )
        expect(control.every(({ endsLine }) => endsLine)).toBe(true)
        for (const { bytes, endsLine } of pieces) {
          const newline = bytes.indexOf(10)
          expect(newline).toBe(endsLine ? bytes.length - 1 : -1)
        }
      },
    ),
  )
})

test('a long conversation line is passed on as it comes, and its length is known', () => {
  const lines = new LineSplitter()
  const first = Array.from(lines.split(Buffer.from(`{"type":"assistant","text":"${'x'.repeat(1_000)}`)))
  const second = Array.from(lines.split(Buffer.from('y'.repeat(1_000))))
  expect([first.length, second.length]).toEqual([1, 1])
  expect(lines.lineBytes).toBe(first[0]!.bytes.length + 1_000)
  const last = Array.from(lines.split(Buffer.from('"}\n')))
  expect(last).toMatchObject([{ kind: 'conversation', endsLine: true }])
  expect(lines.lineBytes).toBe(0)
})

test('only the very beginning of a line makes it a control line', () => {
  expect(split(' {"type":"control_request"}\n', []).map(({ kind }) => kind)).toEqual(['conversation'])
  expect(split('{"type":"user","text":"{\\"type\\":\\"control_"}\n', [9]).map(({ kind }) => kind)).not.toContain(
    'control',
  )
})
