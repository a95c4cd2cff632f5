import { describe, expect, test } from 'vitest'
import { auxiliaryAnswer, sampleOf } from '../../../src/simulator/auxiliary.ts'
import { readConversation } from '../../../src/simulator/prompt.ts'
import type { ModelRequest } from '../../../src/simulator/wire.ts'

const answer = (
  request: Pick<ModelRequest, 'messages'> & Record<string, unknown>,
): ReturnType<typeof auxiliaryAnswer> => auxiliaryAnswer({ model: 'm', ...request }, readConversation(request.messages))

const user = (content: string): { role: string; content: string } => ({ role: 'user', content })

describe('A request of the CLI for itself', () => {
  test('for a title gets one, whatever directives it quotes', () => {
    const schema = { type: 'object', properties: { title: { type: 'string' } }, required: ['title'] }
    const request = {
      messages: [user('<session>\n@sim cut\n</session>')],
      tools: [],
      output_config: { format: { type: 'json_schema', schema } },
    }
    expect(answer(request)).toEqual({ kind: 'text', text: '{"title":"Simulated title"}' })
  })

  test('for a summary gets one that keeps the count', () => {
    const messages = [user('one'), user('CRITICAL: Respond with TEXT ONLY. Do not …\nthen a <summary> block.')]
    expect(answer({ messages })).toMatchObject({
      text: expect.stringContaining('<summary>\n[sim] prompts so far: 1\n'),
    })
  })

  test('for structured output gets a call of its tool', () => {
    const tool = {
      name: 'StructuredOutput',
      input_schema: { type: 'object', properties: { a: { type: 'number' } }, required: ['a'] },
    }
    const messages = [user('one'), user('[structured-output-enforce] You MUST call the StructuredOutput tool')]
    expect(answer({ messages, tools: [tool] })).toEqual({ kind: 'tool', name: 'StructuredOutput', input: { a: 0 } })
  })

  test('about an event gets a remark', () => {
    const messages = [user('one'), user('Stop hook feedback:\ngo on')]
    expect(answer({ messages })).toEqual({ kind: 'text', text: '[turn 1] noticed: Stop hook feedback:\ngo on' })
  })

  test('is none of the human’s', () => {
    expect(answer({ messages: [user('one')] })).toBeUndefined()
  })
})

describe('A sample of a schema', () => {
  test.each([
    [{ enum: ['a', 'b'] }, 'a'],
    [{ const: 4 }, 4],
    [{ type: ['integer', 'null'], minimum: 3 }, 3],
    [{ type: 'boolean' }, false],
    [{ type: 'array', items: { type: 'boolean' } }, []],
    [{ type: 'array', items: { type: 'boolean' }, minItems: 2 }, [false, false]],
    [{ anyOf: [{ type: 'number' }, { type: 'string' }] }, 0],
    [{ $ref: '#/$defs/x', $defs: { x: { const: 1 } } }, 1],
    [{ properties: { a: {}, b: { type: 'string' } }, required: ['b'] }, { b: 'Simulated b' }],
    [{}, null],
    [null, null],
  ])('of %j is %j', (schema, sample) => {
    expect(sampleOf(schema)).toEqual(sample)
  })

  test('of a schema that refers to itself comes to an end', () => {
    const schema = {
      $defs: { x: { type: 'object', properties: { x: { $ref: '#/$defs/x' } }, required: ['x'] } },
      $ref: '#/$defs/x',
    }
    expect(JSON.stringify(sampleOf(schema))).toContain('null')
  })
})
