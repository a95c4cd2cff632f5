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
  calls.begin(call('1', 'Read'), 0)
  calls.begin(call('2', 'Bash'), 0)
  expect(calls.longest).toBe('Read')
  calls.end(result('1'), 0)
  expect(calls.longest).toBe('Bash')
  calls.end(result('2'), 0)
  expect(calls.longest).toBeUndefined()
})

test('A call that waits for a subagent is told by the calls of the subagent, while there are any', () => {
  const calls = new OpenCalls()
  calls.begin(call('1', 'Agent'), 0)
  expect(calls.longest).toBe('Agent')
  calls.begin(call('2', 'Bash', '1'), 0)
  expect(calls.longest).toBe('Bash')
  calls.end(result('2', '1'), 0)
  expect(calls.longest).toBe('Agent')
})

test('Calls of a subagent that works in the background hold up no turn', () => {
  const calls = new OpenCalls()
  calls.begin(call('1', 'Agent'), 0)
  calls.begin(call('2', 'Grep', '1'), 0)
  calls.end(result('1'), 0)
  expect(calls.longest).toBeUndefined()
  calls.begin(call('3', 'Bash', '1'), 0)
  expect(calls.longest).toBeUndefined()
})

test('The number of calls is bounded', () => {
  const calls = new OpenCalls()
  for (let index = 0; index < 1_500; index += 1) calls.begin(call(`${index}`, `T${index}`), 0)
  for (let index = 0; index < 1_000; index += 1) calls.end(result(`${index}`), 0)
  expect(calls.longest).toBeUndefined()
})

test('Each call that has ended is a step with its time; one without a result, and those of its subagent, have failed', () => {
  const steps: unknown[] = []
  const calls = new OpenCalls((step) => steps.push(step))
  calls.begin(call('1', 'Read'), 10)
  calls.begin(call('2', 'Agent'), 20)
  calls.begin(call('3', 'Grep', '2'), 30)
  calls.end(result('1'), 110)
  calls.clear(200)
  calls.clear(300)
  expect(steps).toEqual([
    { type: 'tool', name: 'Read', id: '1', failed: false, startMs: 10, durationMs: 100 },
    { type: 'tool', name: 'Grep', id: '3', failed: true, startMs: 30, durationMs: 170 },
    { type: 'tool', name: 'Agent', id: '2', failed: true, startMs: 20, durationMs: 180 },
  ])
})
