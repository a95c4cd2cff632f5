import { describe, expect, test } from 'vitest'
import { ConfigError } from '../../../src/errors.ts'
import { factsOf, toUserMessage } from '../../../src/turns/prompt.ts'
import { checkName } from '../../../src/sessions/session-record.ts'

describe('a prompt', () => {
  test('may be text or content blocks', () => {
    const blocks = [{ type: 'text', text: 'Hello' }] as const
    const message = { type: 'user', parent_tool_use_id: null }
    expect(toUserMessage('Hello')).toEqual({ ...message, message: { role: 'user', content: 'Hello' } })
    expect(toUserMessage([...blocks])).toEqual({ ...message, message: { role: 'user', content: blocks } })
  })

  test('may be a message of the SDK, which is left as it is', () => {
    const message = { ...toUserMessage('Hello'), priority: 'now' } as const
    expect(toUserMessage(message)).toBe(message)
  })

  const blank = { type: 'text', text: ' \n' } as const

  test.each(['', ' \n\t', [], [blank], [blank, { type: 'text', text: '' } as const]])('of %j is empty', (input) => {
    const message = 'input: is empty; send some text or content blocks'
    expect(() => toUserMessage(input)).toThrow(message)
    expect(() => toUserMessage(input, { context: ['It is late.'] })).toThrow(message)
    const sdk = { type: 'user', message: { role: 'user', content: input }, parent_tool_use_id: null } as const
    expect(() => toUserMessage(sdk)).toThrow(message)
  })

  test('loses blank text beside other content: the API takes none', () => {
    const image = { type: 'image', source: { type: 'url', url: 'https://example.com/a.png' } } as const
    expect(toUserMessage([blank, image]).message.content).toEqual([image])
    const sdk = { ...toUserMessage('Hello'), message: { role: 'user', content: [image, blank] } } as const
    expect(toUserMessage(sdk as never).message.content).toEqual([image])
  })

  test.each([
    undefined,
    null,
    7,
    {},
    { type: 'assistant' },
    { type: 'user' },
    { type: 'user', message: { content: 7 } },
    [null],
    ['text'],
  ])('may not be %j', (input) => {
    expect(() => toUserMessage(input as never)).toThrow(ConfigError)
  })
})

describe('metadata of a prompt', () => {
  const cyclic: Record<string, unknown> = {}
  cyclic['self'] = cyclic

  test('goes with it and its copies, and not to the agent', () => {
    const prompt = toUserMessage('Hello', { metadata: { id: 'm1' } })
    expect(factsOf({ ...prompt, priority: 'now' }).metadata).toEqual({ id: 'm1' })
    expect(JSON.stringify(prompt)).not.toContain('m1')
  })

  test('is kept as it was', () => {
    const metadata = { id: 'm1' }
    const prompt = toUserMessage('Hello', { metadata })
    metadata.id = 'm2'
    expect(factsOf(prompt).metadata).toEqual({ id: 'm1' })
  })

  test.each<[unknown, string]>([
    [cyclic, 'is not JSON'],
    [{ n: 1n }, 'is not JSON'],
    [['m1'], 'is not an object of JSON'],
    ['m1', 'is not an object of JSON'],
    [null, 'is not an object of JSON'],
    [{ id: 'x'.repeat(65_536) }, 'characters of JSON; at most 65536 are kept'],
  ])('is refused when it cannot be kept', (metadata, problem) => {
    expect(() => toUserMessage('Hello', { metadata: metadata as never })).toThrow(problem)
  })
})

describe('a key', () => {
  test.each(['a', 'conversation-42', 'user@example.com/7', '🦀', 'e\u0301', '../..', ' ', 'ä'.repeat(128)])(
    'may be %j',
    (key) => {
      expect(() => checkName('key', key)).not.toThrow()
    },
  )

  test.each([
    ['', 'must be a string of at least one character'],
    [7, 'must be a string of at least one character'],
    [undefined, 'must be a string of at least one character'],
    ['a\0b', 'has control characters'],
    ['a\n', 'has control characters'],
    ['\u0085', 'has control characters'],
    ['\ud800', 'is not well-formed Unicode'],
    ['x'.repeat(257), 'has 257 bytes; at most 256 are allowed'],
    ['ä'.repeat(129), 'has 258 bytes; at most 256 are allowed'],
  ])('may not be %j: it %s', (key, problem) => {
    expect(() => checkName('key', key)).toThrow(`key: ${problem}`)
  })
})
