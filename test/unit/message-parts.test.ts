import { describe, expect, test } from 'vitest'
import type { SDKMessage } from '../../src/driver/driver.ts'
import { isAnswer, isPiece, partOf } from '../../src/message-parts.ts'
import { assistantMessage, resultMessage } from '../../src/testing/messages.ts'

const piece = (event: object, parent: string | null = null): SDKMessage =>
  ({ type: 'stream_event', event, parent_tool_use_id: parent }) as unknown as SDKMessage

const assistant = (content: object[], more: object = {}): SDKMessage =>
  ({ type: 'assistant', parent_tool_use_id: null, message: { id: 'm', content }, ...more }) as unknown as SDKMessage

describe('A message of the SDK says', () => {
  test.each([
    [
      { type: 'message_start', message: { id: 'm', usage: { input_tokens: 3 } } },
      { type: 'answer', answer: 'm', usage: { input_tokens: 3 } },
    ],
    [
      { type: 'content_block_start', index: 1, content_block: { type: 'tool_use', id: 't', name: 'Bash' } },
      { type: 'start', index: 1, block: { type: 'tool_use', id: 't', name: 'Bash' } },
    ],
    [
      { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'a' } },
      { type: 'delta', index: 0, of: 'text', text: 'a' },
    ],
    [
      { type: 'content_block_delta', index: 0, delta: { type: 'thinking_delta', thinking: 'b' } },
      { type: 'delta', index: 0, of: 'thinking', text: 'b' },
    ],
    [
      { type: 'content_block_delta', index: 0, delta: { type: 'input_json_delta', partial_json: '{' } },
      { type: 'delta', index: 0, of: 'input', text: '{' },
    ],
    [
      { type: 'content_block_stop', index: 2 },
      { type: 'stop', index: 2 },
    ],
    [
      { type: 'message_delta', usage: { output_tokens: 4 } },
      { type: 'usage', usage: { output_tokens: 4 } },
    ],
    [{ type: 'message_stop' }, { type: 'answered' }],
    [{ type: 'ping' }, undefined],
  ])('a piece of an answer: %j', (event, part) => {
    expect(partOf(piece(event))).toEqual(part)
    expect(isPiece(piece(event))).toBe(true)
  })

  test('the blocks of an answer', () => {
    const content = [
      { type: 'text', text: 'a' },
      { type: 'thinking', thinking: 'b' },
      { type: 'redacted_thinking', data: 'x' },
      { type: 'tool_use', id: 't', name: 'Bash', input: { command: 'ls' } },
    ]
    expect(partOf(assistant(content))).toEqual({
      type: 'blocks',
      answer: 'm',
      blocks: [
        { type: 'text', text: 'a' },
        { type: 'thinking', text: 'b' },
        { type: 'redacted_thinking' },
        { type: 'tool_use', id: 't', name: 'Bash', input: { command: 'ls' } },
      ],
      usage: {},
    })
  })

  test('the results of tools', () => {
    const content = [
      { type: 'tool_result', tool_use_id: 't', content: 'done' },
      { type: 'tool_result', tool_use_id: 'u', content: 'denied', is_error: true },
      { type: 'text', text: 'beside' },
    ]
    const message = { type: 'user', parent_tool_use_id: null, message: { content } } as unknown as SDKMessage
    expect(partOf(message)).toEqual({
      type: 'results',
      results: [
        { toolUseId: 't', content: 'done', failed: false },
        { toolUseId: 'u', content: 'denied', failed: true },
      ],
    })
  })

  test('how the turn ended', () => {
    expect(partOf(resultMessage('s', { text: 'done' }, []))).toEqual({
      type: 'end',
      end: { aborted: false, failed: false, subtype: 'success', text: 'done', errors: [], rounds: 1, refused: false },
    })
    const aborted = {
      ...resultMessage('s', { subtype: 'error_during_execution' }, []),
      terminal_reason: 'aborted_tools',
    }
    expect(partOf(aborted as SDKMessage)).toEqual({
      type: 'end',
      end: {
        aborted: true,
        failed: true,
        subtype: 'error_during_execution',
        text: '',
        errors: [],
        rounds: 1,
        refused: false,
      },
    })
    const refused = { ...resultMessage('s', { text: '' }, []), stop_reason: 'refusal' }
    expect(partOf(refused as SDKMessage)).toMatchObject({ end: { refused: true } })
  })

  test('that the model failed, in place of an answer', () => {
    const message = assistant([{ type: 'text', text: 'API Error' }], { error: 'rate_limit' })
    expect(partOf(message)).toEqual({ type: 'model_error', error: 'rate_limit', text: 'API Error' })
  })

  test.each([
    [{ subtype: 'status', status: 'requesting' }, { type: 'request' }],
    [{ subtype: 'status', status: 'compacting' }, undefined],
    [{ subtype: 'compact_boundary' }, { type: 'compacted' }],
    [
      { subtype: 'api_retry', error: 'overloaded', error_status: 529, attempt: 2, max_retries: 10 },
      { type: 'retry', error: 'overloaded', status: 529, attempt: 2, most: 10 },
    ],
    [{ subtype: 'init' }, undefined],
  ])('what the CLI does about the model: %j', (notice, part) => {
    expect(partOf({ type: 'system', ...notice } as unknown as SDKMessage)).toEqual(part)
  })

  test('nothing, if a subagent says it', () => {
    expect(partOf(piece({ type: 'message_start', message: { id: 'm' } }, 'parent'))).toBeUndefined()
    expect(partOf(assistant([{ type: 'text', text: 'a' }], { parent_tool_use_id: 'parent' }))).toBeUndefined()
  })
})

test.each([
  [partOf(assistantMessage('s', 'Hello')), true],
  [partOf(assistant([{ type: 'tool_use', id: 't', name: 'Bash', input: {} }])), true],
  [partOf(assistant([{ type: 'text', text: ' \n' }])), false],
  [partOf(assistant([{ type: 'thinking', thinking: 'hm' }])), false],
  [partOf(assistant([{ type: 'text', text: 'API Error' }], { error: 'overloaded' })), false],
  [undefined, false],
])('a part is an answer if the agent says something or calls a tool: %j', (part, answers) => {
  expect(isAnswer(part)).toBe(answers)
})
