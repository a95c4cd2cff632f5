import { expect, test } from 'vitest'
import type { SDKMessage } from '../../../src/driver/driver.ts'
import { OpenCalls } from '../../../src/turns/open-calls.ts'

type Of<Type extends SDKMessage['type']> = Extract<SDKMessage, { type: Type }>

const call = (id: string, name: string, parent: string | null = null): Of<'assistant'> =>
  ({
    type: 'assistant',
    parent_tool_use_id: parent,
    message: { content: [{ type: 'tool_use', id, name, input: {} }] },
  }) as unknown as Of<'assistant'>

const result = (id: string, parent: string | null = null): Of<'user'> =>
  ({
    type: 'user',
    parent_tool_use_id: parent,
    message: { role: 'user', content: [{ type: 'tool_result', tool_use_id: id, content: 'done' }] },
  }) as Of<'user'>

test('Of calls that run at once, the longest running is told, and the next one when it has ended', () => {
  const calls = new OpenCalls()
  expect(calls.longest).toBeUndefined()
  calls.begin(call('1', 'Read'))
  calls.begin(call('2', 'Bash'))
  expect(calls.longest).toBe('Read')
  calls.end(result('1'))
  expect(calls.longest).toBe('Bash')
  calls.end(result('2'))
  expect(calls.longest).toBeUndefined()
})

test('A call that waits for a subagent is told by the calls of the subagent, while there are any', () => {
  const calls = new OpenCalls()
  calls.begin(call('1', 'Agent'))
  expect(calls.longest).toBe('Agent')
  calls.begin(call('2', 'Bash', '1'))
  expect(calls.longest).toBe('Bash')
  calls.end(result('2', '1'))
  expect(calls.longest).toBe('Agent')
})

test('Calls of a subagent that works in the background hold up no turn', () => {
  const calls = new OpenCalls()
  calls.begin(call('1', 'Agent'))
  calls.begin(call('2', 'Grep', '1'))
  calls.end(result('1'))
  expect(calls.longest).toBeUndefined()
  calls.begin(call('3', 'Bash', '1'))
  expect(calls.longest).toBeUndefined()
})

test('The number of calls is bounded', () => {
  const calls = new OpenCalls()
  for (let index = 0; index < 1_500; index += 1) calls.begin(call(`${index}`, `T${index}`))
  for (let index = 0; index < 1_000; index += 1) calls.end(result(`${index}`))
  expect(calls.longest).toBeUndefined()
})
