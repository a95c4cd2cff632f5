import { describe, expect, test } from 'vitest'
import { ConfigError } from '../../../src/errors.ts'
import { checkName, toUserMessage } from '../../../src/pool/input.ts'

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

  test.each(['', ' \n\t', []])('of %j is empty', (input) => {
    expect(() => toUserMessage(input)).toThrow('input: is empty; send some text or content blocks')
  })

  test.each([undefined, null, 7, {}, { type: 'assistant' }])('may not be %j', (input) => {
    expect(() => toUserMessage(input as never)).toThrow(ConfigError)
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
