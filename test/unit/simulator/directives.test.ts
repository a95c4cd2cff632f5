import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { DIRECTIVE_NAMES, parseScript, parseStep, type Step } from '../../../src/simulator/directives.ts'

const always = Number.POSITIVE_INFINITY

describe('A directive', () => {
  test.each([
    ['delay 2000', { kind: 'delay', ms: 2000 }],
    ['tokens 200', { kind: 'tokens', count: 200, paceMs: 0 }],
    ['tokens 200 pace 20', { kind: 'tokens', count: 200, paceMs: 20 }],
    ['  tokens   200   pace   20  ', { kind: 'tokens', count: 200, paceMs: 20 }],
    ['say hello  there', { kind: 'say', text: 'hello  there' }],
    ['text 1000', { kind: 'text', bytes: 1000, chunkBytes: 16_384 }],
    ['text 100MiB chunk 64KiB', { kind: 'text', bytes: 104_857_600, chunkBytes: 65_536 }],
    ['thinking', { kind: 'thinking', text: 'Let me think about this.' }],
    ['thinking about it', { kind: 'thinking', text: 'about it' }],
    [
      'bash ls -l | wc',
      { kind: 'tool', name: 'Bash', input: { command: 'ls -l | wc', description: 'Simulated step' } },
    ],
    ['tool Read {"file_path":"/x y"}', { kind: 'tool', name: 'Read', input: { file_path: '/x y' } }],
    ['tool Ping', { kind: 'tool', name: 'Ping', input: {} }],
    ['error 529', { kind: 'error', status: 529, times: always }],
    ['error 500 times 2', { kind: 'error', status: 500, times: 2 }],
    ['error 429', { kind: 'error', status: 429, times: always, retryAfterSeconds: 1 }],
    ['error 429 retry-after 0 times 1', { kind: 'error', status: 429, times: 1, retryAfterSeconds: 0 }],
    ['cut', { kind: 'cut', times: always }],
    ['cut times 3', { kind: 'cut', times: 3 }],
    ['silence', { kind: 'silence', times: always }],
  ])('%s', (line, step) => {
    expect(parseStep(line)).toEqual(step)
  })

  test('allocates with the Node that runs, for two seconds unless it is told', () => {
    const step = parseStep('allocate 300') as Extract<Step, { kind: 'tool' }>
    expect(step).toMatchObject({ kind: 'tool', name: 'Bash' })
    expect(step.input['command']).toContain(process.execPath)
    expect(step.input['command']).toContain('300 * 1048576')
    expect(step.input['command']).toContain('2000)')
    expect(JSON.stringify(parseStep('allocate 300 for 400000'))).toContain('"timeout":460000')
  })

  test.each([
    ['', 'unknown directive ""; known: delay, tokens'],
    ['dance', 'unknown directive "dance"; known: delay, tokens'],
    ['toString', 'unknown directive "toString"'],
    ['delay soon', '"delay soon": soon is not a whole number from 0 to 86400000; write it as "delay MS"'],
    ['delay', '"delay": nothing is not a whole number'],
    ['delay -1', '-1 is not a whole number'],
    ['delay 1 2', '"2" is too much'],
    ['tokens 5 pace', '"pace" needs a value'],
    ['tokens 5 pase 3', '"pase 3" is too much'],
    ['text 10XB', '10XB is not a size'],
    ['text 1GiB', '1GiB is not a size from 1 to 256MiB'],
    ['say', '"say": something is missing; write it as "say TEXT"'],
    ['bash', 'something is missing'],
    ['tool', 'something is missing'],
    ['tool Read {', 'the input is not JSON'],
    ['tool Read [1]', 'the input is no object'],
    ['error', 'nothing is not a whole number'],
    ['error 418', 'the status must be one of 400, 401'],
    ['cut twice', '"twice" is too much'],
  ])('says what is wrong with "%s"', (line, problem) => {
    expect(parseStep(line)).toEqual({ problem: expect.stringContaining(problem) })
  })
})

describe('A prompt', () => {
  test('keeps its words apart from its directives', () => {
    const script = parseScript('Hello\n@sim delay 5\n  @sim bash ls\r\nmy friend @sim say no\n')
    expect(script.steps.map(({ kind }) => kind)).toEqual(['delay', 'tool'])
    expect(script.text).toBe('Hello\nmy friend @sim say no')
    expect(script.problems).toEqual([])
  })

  test('collects every problem and still reads the rest', () => {
    const script = parseScript('@sim\n@sim dance\n@sim cut')
    expect(script.problems).toHaveLength(2)
    expect(script.steps).toHaveLength(1)
  })

  test('leaves words alone that only begin like a directive', () => {
    expect(parseScript('@simple delay 5')).toEqual({ steps: [], text: '@simple delay 5', problems: [] })
  })
})

describe('Whatever a human writes', () => {
  const word = fc.oneof(
    fc.constantFrom(...DIRECTIVE_NAMES, 'pace', 'times', 'chunk', 'for', '5', '64KiB', '{}'),
    fc.string(),
  )
  const line = fc.array(word, { maxLength: 6 }).map((words) => `@sim ${words.join(' ')}`)

  test('is parsed without an error, each directive line into one step or one problem', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(line, fc.string({ unit: 'binary' }))), (lines) => {
        const prompt = lines.join('\n')
        const { steps, problems, text } = parseScript(prompt)
        const kept = text === '' ? 0 : text.split('\n').length
        expect(steps.length + problems.length + kept).toBeLessThanOrEqual(prompt.split('\n').length)
      }),
    )
  })

  test('makes only steps that can be run', () => {
    fc.assert(
      fc.property(line, (directive) => {
        for (const step of parseScript(directive).steps) {
          const numbers = Object.entries(step).filter(([name]) => name !== 'times' && typeof step === 'object')
          for (const [, value] of numbers) if (typeof value === 'number') expect(value).toSatisfy(Number.isSafeInteger)
        }
      }),
    )
  })
})
