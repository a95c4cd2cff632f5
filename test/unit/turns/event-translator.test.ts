import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { SDKMessage } from '../../../src/driver/driver.ts'
import type { EventPreview, NewSessionEvent } from '../../../src/journal/session-event.ts'
import { promptEvent, EventTranslator } from '../../../src/turns/event-translator.ts'
import { toolUseEventId } from '../../../src/journal/session-event.ts'

/** What a real process said in one turn, recorded. */
const recorded = (name: string): SDKMessage[] =>
  JSON.parse(readFileSync(join(import.meta.dirname, `../../fixtures/recorded/${name}.json`), 'utf8')) as SDKMessage[]

interface Mapped {
  events: NewSessionEvent[]
  previews: EventPreview[]
  types: string[]
}

function mapped(messages: SDKMessage[]): Mapped {
  let made = 0
  const mapper = new EventTranslator(() => `id ${(made += 1)}`)
  const told = messages.map((message) => mapper.map(message, message.type === 'result'))
  const events = told.flatMap((one) => one.events)
  return { events, previews: told.flatMap(({ previews }) => previews), types: events.map(({ type }) => type) }
}

const whole = (name: string): SDKMessage[] => recorded(name).filter(({ type }) => type !== 'stream_event')

const of = <Type extends NewSessionEvent['type']>(
  { events }: Mapped,
  type: Type,
): Extract<NewSessionEvent, { type: Type }>[] =>
  events.filter((event): event is Extract<NewSessionEvent, { type: Type }> => event.type === type)

const REQUEST = ['span.model_request_start', 'agent.message', 'span.model_request_end']
const IDLE = { type: 'session.status_idle', stop_reason: { type: 'end_turn' }, stop_details: null }

test('a text is one request with its message and its usage, then the end of the turn', () => {
  const text = mapped(recorded('text'))
  expect(text.types).toEqual([...REQUEST, 'session.status_idle'])
  expect(of(text, 'agent.message')[0]?.content).toEqual([{ type: 'text', text: '[turn 1] quick brown fox jumps' }])
  expect(of(text, 'span.model_request_end')[0]).toMatchObject({
    model_request_start_id: of(text, 'span.model_request_start')[0]?.id,
    is_error: false,
    model_usage: { input_tokens: 14_598, output_tokens: 5 },
  })
  expect(text.events.at(-1)).toEqual(IDLE)
})

test('previews announce the event to come, and their text is its text', () => {
  const text = mapped(recorded('text'))
  const [start, ...deltas] = text.previews
  const { id } = of(text, 'agent.message')[0] as { id?: string }
  expect(start).toEqual({ type: 'event_start', event: { type: 'agent.message', id } })
  expect(deltas.map((delta) => (delta.type === 'event_delta' ? delta.delta.content.text : '')).join('')).toBe(
    '[turn 1] quick brown fox jumps',
  )
  for (const delta of deltas) expect(delta).toMatchObject({ event_id: id, delta: { index: 0 } })
})

test.each(['text', 'thinking', 'bash', 'mcp', 'retry', 'error', 'interrupt', 'badtool'])(
  'without partial messages the events of "%s" are the same, and there are no previews',
  (name) => {
    const { types, previews } = mapped(whole(name))
    expect(types).toEqual(mapped(recorded(name)).types)
    expect(previews).toEqual([])
  },
)

test('thinking is told and not shown, and its preview has no text', () => {
  const thinking = mapped(recorded('thinking'))
  expect(thinking.types).toEqual([REQUEST[0], 'agent.thinking', ...REQUEST.slice(1), 'session.status_idle'])
  expect(JSON.stringify(thinking)).not.toContain('Let me think')
  const starts = thinking.previews.flatMap((preview) => (preview.type === 'event_start' ? [preview.event] : []))
  expect(starts.map(({ id }) => id)).toEqual([
    of(thinking, 'agent.thinking')[0]?.id,
    of(thinking, 'agent.message')[0]?.id,
  ])
})

test('a tool call and its result belong together', () => {
  const bash = mapped(recorded('bash'))
  expect(bash.types).toEqual([
    'span.model_request_start',
    'agent.message',
    'agent.tool_use',
    'span.model_request_end',
    'agent.tool_result',
    ...REQUEST,
    'session.status_idle',
  ])
  const [use] = of(bash, 'agent.tool_use')
  expect(use).toMatchObject({ name: 'Bash', input: { command: 'echo hello' } })
  expect(of(bash, 'agent.tool_result')[0]).toEqual({
    type: 'agent.tool_result',
    tool_use_id: use?.id,
    content: [{ type: 'text', text: 'hello' }],
    is_error: false,
  })
})

test('a tool that fails has a result that says so', () => {
  expect(of(mapped(recorded('badtool')), 'agent.tool_result')[0]).toMatchObject({ is_error: true })
})

test('a call of an MCP tool names its server', () => {
  const mcp = mapped(recorded('mcp'))
  const [use] = of(mcp, 'agent.mcp_tool_use')
  expect(use).toMatchObject({ mcp_server_name: 'orders', name: 'find', input: {} })
  expect(of(mcp, 'agent.mcp_tool_result')[0]).toMatchObject({
    mcp_tool_use_id: use?.id,
    content: [{ type: 'text', text: 'found' }],
  })
  expect(mcp.types).not.toContain('agent.tool_use')
})

test('a request that is tried again is told while it is', () => {
  const statuses = mapped(recorded('retry')).types.filter((type) => type.startsWith('session.'))
  const told = ['session.error', 'session.status_rescheduled', 'session.status_running', 'session.status_idle']
  expect([...new Set(statuses)]).toEqual(told)
  const [error] = of(mapped(recorded('retry')), 'session.error')
  expect(error?.error).toMatchObject({ type: 'model_overloaded_error', retry_status: { type: 'retrying' } })
  expect(mapped(recorded('retry')).events.at(-1)).toEqual(IDLE)
})

test('a request that has failed for good is an error, not a message of the agent', () => {
  const error = mapped(recorded('error'))
  expect(error.types).toEqual([
    'span.model_request_start',
    'span.model_request_end',
    'session.error',
    'session.status_idle',
  ])
  expect(of(error, 'span.model_request_end')[0]?.is_error).toBe(true)
  expect(of(error, 'session.error')[0]?.error).toMatchObject({
    type: 'model_request_failed_error',
    message: 'API Error: 400 simulated error 400',
    retry_status: { type: 'exhausted' },
  })
  expect(error.events.at(-1)).toMatchObject({ stop_reason: { type: 'retries_exhausted' } })
})

test('an interrupt keeps what was said, and ends the turn without an error', () => {
  const interrupt = mapped(recorded('interrupt'))
  expect(of(interrupt, 'agent.message')[0]?.content[0]?.text).toContain('quick brown')
  expect(interrupt.types).not.toContain('session.error')
  expect(interrupt.events.at(-1)).toEqual(IDLE)
})

test('what a subagent says is its own; that it was called is told', () => {
  const task = mapped(recorded('task'))
  expect(of(task, 'agent.tool_use')[0]).toMatchObject({ name: 'Task' })
  expect(JSON.stringify(of(task, 'agent.message'))).not.toContain('You said: say hi')
})

test('a result that ends only one of the prompts of a turn does not end the turn', () => {
  const mapper = new EventTranslator()
  for (const message of recorded('text')) {
    const { events } = mapper.map(message, false)
    expect(events.map(({ type }) => type)).not.toContain('session.status_idle')
  }
})

test.each([
  ['error_max_turns', 'retries_exhausted', 'tool_use_limit_reached_error'],
  ['error_max_budget_usd', 'budget_reached', undefined],
  ['error_during_execution', 'retries_exhausted', 'unknown_error'],
])('a result of %s ends the turn with %s', (subtype, reason, error) => {
  const result = { ...recorded('text').at(-1), subtype, is_error: true, terminal_reason: undefined, errors: ['why'] }
  const { events } = new EventTranslator().map(result as unknown as SDKMessage, true)
  expect(events.at(-1)).toMatchObject({ type: 'session.status_idle', stop_reason: { type: reason } })
  const [first] = events
  if (error === undefined) expect(events.length).toBe(1)
  else expect(first).toMatchObject({ type: 'session.error', error: { type: error } })
})

test('a turn that ends without a result closes its request, and says why unless it was asked to', () => {
  const mapper = new EventTranslator(() => 'id')
  for (const message of recorded('text').slice(0, 3)) mapper.map(message, false)
  expect(mapper.end('the disk is full')).toMatchObject([
    { type: 'span.model_request_end', model_request_start_id: 'id', is_error: true },
    { type: 'session.error', error: { message: 'the disk is full', retry_status: { type: 'exhausted' } } },
    { type: 'session.status_idle', stop_reason: { type: 'retries_exhausted' } },
  ])
  expect(new EventTranslator().end(undefined)).toEqual([IDLE])
})

test('a prompt becomes content blocks; what events cannot show is shown as JSON', () => {
  const event = (content: unknown): NewSessionEvent =>
    promptEvent({ type: 'user', message: { role: 'user', content: content as string }, parent_tool_use_id: null })
  expect(event('hello')).toEqual({ type: 'user.message', content: [{ type: 'text', text: 'hello' }] })
  const image = { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'x' } }
  const cached = { type: 'text', text: 'a', cache_control: { type: 'ephemeral' } }
  expect(event([cached, image, { type: 'odd', x: 1 }])).toMatchObject({
    content: [{ type: 'text', text: 'a' }, image, { type: 'text', text: '{"type":"odd","x":1}' }],
  })
})

test('the event of a call is found by its id alone', () => {
  expect(toolUseEventId('toolu_1')).toMatch(/^sevt_[0-9a-f]{32}$/)
  expect(toolUseEventId('toolu_1')).toBe(toolUseEventId('toolu_1'))
  expect(toolUseEventId('toolu_1')).not.toBe(toolUseEventId('toolu_2'))
})
