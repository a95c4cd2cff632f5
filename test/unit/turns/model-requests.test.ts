import { expect, test } from 'vitest'
import type { SDKMessage } from '../../../src/driver/driver.ts'
import type { ModelStep } from '../../../src/store/store.ts'
import { ModelRequests } from '../../../src/turns/model-requests.ts'

const NOTHING = { input: 0, output: 0, cache_read: 0, cache_write: 0 }

const message = (fields: object): SDKMessage => ({ parent_tool_use_id: null, ...fields }) as unknown as SDKMessage
const piece = (event: object): SDKMessage => message({ type: 'stream_event', event })
const start = (id: string, model = 'claude-fake', usage = {}): SDKMessage =>
  piece({ type: 'message_start', message: { id, model, usage } })
const answer = (id: string, fields: object = {}): SDKMessage =>
  message({
    type: 'assistant',
    message: { id, model: 'claude-fake', content: [], usage: { output_tokens: 1 } },
    ...fields,
  })
const INIT = message({ type: 'system', subtype: 'init' })
const RETRY = message({ type: 'system', subtype: 'api_retry', error: 'overloaded' })
const RESULTS = message({ type: 'user', message: { role: 'user', content: [] } })
const RESULT = message({ type: 'result', is_error: false })

/** What a turn's messages, each with its time, amount to. */
function heard(...messages: [ms: number, message: SDKMessage][]): ModelStep[] {
  const steps: ModelStep[] = []
  const requests = new ModelRequests((step) => steps.push(step))
  for (const [ms, each] of messages) requests.hear(each, ms)
  return steps
}

test('A request lasts from the time when the model is asked until its answer is whole', () => {
  const steps = heard(
    [10, INIT],
    [110, start('a', 'claude-fake', { input_tokens: 12, cache_read_input_tokens: 100, output_tokens: 1 })],
    [115, piece({ type: 'content_block_start' })],
    [120, piece({ type: 'content_block_delta' })],
    [200, answer('a')],
    [205, piece({ type: 'message_delta', usage: { output_tokens: 40 } })],
    [210, piece({ type: 'message_stop' })],
    [211, RESULT],
  )
  const tokens = { input: 12, output: 40, cache_read: 100, cache_write: 0 }
  const whole = { type: 'model', model: 'claude-fake', failed: false, tokens }
  expect(steps).toEqual([{ ...whole, startMs: 10, firstTokenMs: 105, durationMs: 200 }])
})

test('The request after the results of tools begins with them, also if answers do not come in pieces', () => {
  const steps = heard(
    [0, INIT],
    [100, answer('a')],
    [101, answer('a')],
    [500, RESULTS],
    [700, answer('b')],
    [701, RESULT],
  )
  const whole = { type: 'model', model: 'claude-fake', failed: false, firstTokenMs: undefined }
  const tokens = { ...NOTHING, output: 1 }
  expect(steps).toEqual([
    { ...whole, tokens, startMs: 0, durationMs: 500 },
    { ...whole, tokens, startMs: 500, durationMs: 201 },
  ])
})

test('A request that is repeated has failed, and its repetition is another one', () => {
  const steps = heard([0, INIT], [50, RETRY], [90, answer('a')], [91, RESULT])
  expect(
    steps.map(({ startMs, durationMs, failed, model, tokens }) => ({ startMs, durationMs, failed, model, tokens })),
  ).toEqual([
    { startMs: 0, durationMs: 50, failed: true, model: undefined, tokens: NOTHING },
    { startMs: 50, durationMs: 41, failed: false, model: 'claude-fake', tokens: { ...NOTHING, output: 1 } },
  ])
})

test('An answer that breaks off, and an error in its place, are failures', () => {
  const broken = heard([0, INIT], [20, start('a')], [30, answer('b', { error: 'server_error' })])
  expect(broken).toMatchObject([{ startMs: 0, durationMs: 30, failed: true, model: 'claude-fake' }])
  const steps: ModelStep[] = []
  const cut = new ModelRequests((step) => steps.push(step))
  cut.hear(INIT, 0)
  cut.hear(start('a'), 10)
  cut.end(25)
  expect(steps).toMatchObject([{ startMs: 0, durationMs: 25, failed: true }])
})

test('What a subagent asks the model is not counted, and a long name of a model is cut', () => {
  const steps = heard(
    [0, INIT],
    [5, message({ type: 'assistant', parent_tool_use_id: 'call', message: { id: 'x', content: [], usage: {} } })],
    [10, start('a', 'm'.repeat(1_000), { input_tokens: -1, output_tokens: 'many' })],
    [20, piece({ type: 'message_stop' })],
  )
  expect(steps).toMatchObject([{ model: 'm'.repeat(128), tokens: NOTHING }])
})
