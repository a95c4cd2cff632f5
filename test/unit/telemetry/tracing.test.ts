import { AsyncLocalStorage } from 'node:async_hooks'
import { ROOT_CONTEXT, SpanStatusCode, context, trace } from '@opentelemetry/api'
import type { Context } from '@opentelemetry/api'
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import type { ReadableSpan } from '@opentelemetry/sdk-trace-base'
import { beforeAll, beforeEach, expect, test } from 'vitest'
import type { SDKMessage } from '../../../src/driver/driver.ts'
import { assistantMessage } from '../../../src/testing/messages.ts'
import { fakes, outcome } from '../../fixtures/fakes.ts'
import type { Fakes } from '../../fixtures/fakes.ts'
import { served } from '../../fixtures/server.ts'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const SPAN = '00f067aa0ba902b7'
const TRACEPARENT = `00-${TRACE}-${SPAN}-01`

const exporter = new InMemorySpanExporter()

beforeAll(() => {
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
  trace.setGlobalTracerProvider(provider)
  const contexts = new AsyncLocalStorage<Context>()
  context.setGlobalContextManager({
    active: () => contexts.getStore() ?? ROOT_CONTEXT,
    with: (active, work, self, ...args) => contexts.run(active, () => work.apply(self, args)),
    bind: (_, target) => target,
    enable() {
      return this
    },
    disable() {
      return this
    },
  })
})

beforeEach(() => exporter.reset())

const said = (fields: object): SDKMessage => ({ parent_tool_use_id: null, ...fields }) as unknown as SDKMessage

/** OpenTelemetry wants whole seconds, and nanoseconds below one. */
function millis([seconds, ns]: ReadableSpan['startTime']): number {
  expect([Number.isInteger(seconds), ns >= 0, ns < 1e9]).toEqual([true, true, true])
  return seconds * 1_000 + ns / 1e6
}

/** Spans by name, with their times in milliseconds since the first began. */
function spans(): Record<string, { from: number; to: number; span: ReadableSpan }> {
  const all = exporter.getFinishedSpans()
  const begun = Math.min(...all.map(({ startTime }) => millis(startTime)))
  return Object.fromEntries(
    all.map((span) => [span.name, { from: millis(span.startTime) - begun, to: millis(span.endTime) - begun, span }]),
  )
}

/** A turn of known delays: 200 ms for the model, 3 s in Bash, 100 ms for the model. */
async function turnWithTool({ driver, clock, session }: Fakes): Promise<void> {
  driver.onStart = (process) => (process.answersAtOnce = false)
  const turn = (await session('one')).send('go', { traceparent: TRACEPARENT })
  const process = await driver.process(0)
  await driver.until(() => process.unanswered === 1)
  process.say(said({ type: 'system', subtype: 'init', session_id: 's' }))
  await clock.advance(200)
  const call = assistantMessage('s', '') as Extract<SDKMessage, { type: 'assistant' }>
  const content = [{ type: 'tool_use', id: 'toolu_1', name: 'Bash', input: { command: 'secret' } }]
  process.say({ ...call, message: { ...call.message, content } } as SDKMessage)
  await clock.advance(3_000)
  const results = [{ type: 'tool_result', tool_use_id: 'toolu_1', content: 'secret', is_error: true }]
  process.say(said({ type: 'user', message: { role: 'user', content: results } }))
  await clock.advance(100)
  process.sayText('secret')
  process.finish({ costUsd: 0.5 })
  await turn.result
}

test('A turn is a span with its wait, requests and tools below it, at the times when they were', async () => {
  await turnWithTool(await fakes())
  const { 'invoke_agent assistant': turn, 'execute_tool Bash': tool, 'chat claude-fake': request } = spans()
  expect(turn).toMatchObject({ from: 0, to: 3_300 })
  expect(tool).toMatchObject({ from: 200, to: 3_200 })
  expect(request).toMatchObject({ from: 3_200, to: 3_300 })
  expect(turn?.span.attributes).toMatchObject({
    'gen_ai.operation.name': 'invoke_agent',
    'gen_ai.agent.name': 'assistant',
    'gen_ai.conversation.id': 'one',
    'claude_agent_pool.tenant': 'default',
    'claude_agent_pool.warmth': 'cold',
    'claude_agent_pool.outcome': 'success',
    'claude_agent_pool.cost_usd': 0.5,
  })
  expect(tool?.span.attributes).toMatchObject({ 'gen_ai.tool.name': 'Bash', 'gen_ai.tool.call.id': 'toolu_1' })
  expect(tool?.span.status.code).toBe(SpanStatusCode.ERROR)
  for (const part of [tool, request]) expect(part?.span.parentSpanContext?.spanId).toBe(turn?.span.spanContext().spanId)
})

test('No span has what was said, asked or returned', async () => {
  await turnWithTool(await fakes())
  const told = exporter.getFinishedSpans().map(({ name, attributes, events }) => ({ name, attributes, events }))
  expect(told.length).toBeGreaterThan(2)
  expect(JSON.stringify(told)).not.toMatch(/secret|"go"/)
})

test('A turn that waits for a place has a span of that time', async () => {
  const { driver, clock, session } = await fakes({ limits: { turns: 1 }, admission: { mode: 'wait', timeout: '1h' } })
  driver.onStart = (process) => (process.answersAtOnce = false)
  const first = (await session('one')).send('go')
  const process = await driver.process(0)
  await driver.until(() => process.unanswered === 1)
  driver.onStart = undefined
  const second = (await session('two')).send('go')
  await clock.advance(700)
  process.finish()
  await first.result
  await second.result
  await expect.poll(() => spans()['queued']).toMatchObject({ from: 0, to: 700 })
  expect(spans()['queued']?.span.attributes).toEqual({ 'claude_agent_pool.detail': 'turns' })
})

test('A turn that fails is a failed span with the code of its error', async () => {
  const { pool, session } = await fakes()
  pool.suspend()
  await outcome((await session('one')).send('go'))
  const { span } = spans()['invoke_agent assistant'] ?? {}
  expect(span?.status).toEqual({ code: SpanStatusCode.ERROR, message: 'capacity' })
  expect(span?.attributes['error.type']).toBe('capacity')
})

test('The parent of a turn is what send() is told, else the span around send(), else the traceparent of its request', async () => {
  const { session, ask } = await served()
  const parentOf = (): unknown => spans()['invoke_agent assistant']?.span.parentSpanContext
  const around = { traceId: 'a'.repeat(32), spanId: 'b'.repeat(16), traceFlags: 1 }
  const inside = trace.setSpanContext(ROOT_CONTEXT, around)
  const one = await session('one')
  await context.with(inside, async () => one.send('go', { traceparent: TRACEPARENT }).result)
  expect(parentOf()).toMatchObject({ traceId: TRACE, spanId: SPAN, isRemote: true })
  exporter.reset()
  await context.with(inside, async () => one.send('go').result)
  expect(parentOf()).toMatchObject(around)
  exporter.reset()
  const headers = { 'content-type': 'application/json', traceparent: TRACEPARENT }
  await (await ask('POST', '/sessions/two/messages', { body: { prompt: 'go' }, headers })).text()
  await expect.poll(parentOf).toMatchObject({ traceId: TRACE, spanId: SPAN })
  exporter.reset()
  await one.send('go').result
  expect(parentOf()).toBeUndefined()
})

test('A caller that does not record its trace gets no spans of it', async () => {
  const one = await (await fakes()).session('one')
  await one.send('go', { traceparent: `00-${TRACE}-${SPAN}-00` }).result
  expect(exporter.getFinishedSpans()).toEqual([])
})

test('send() refuses a traceparent that is malformed', async () => {
  const one = await (await fakes()).session('one')
  for (const traceparent of ['', TRACE, `00-${TRACE}-${SPAN}`, `00-${'0'.repeat(32)}-${SPAN}-01`])
    await expect(one.send('go', { traceparent }).result).rejects.toMatchObject({
      code: 'invalid_config',
      path: 'traceparent',
    })
})
