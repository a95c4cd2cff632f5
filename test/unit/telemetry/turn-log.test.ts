import { expect, test } from 'vitest'
import type { Logger } from '../../../src/telemetry/log.ts'
import { parseTraceparent } from '../../../src/trace-context.ts'
import { fakes } from '../../fixtures/fakes.ts'
import { served } from '../../fixtures/server.ts'

interface Line {
  level: string
  message: string
  facts: Record<string, unknown>
}

function recorder(): { logger: Logger; lines: Line[] } {
  const lines: Line[] = []
  const line =
    (level: string) =>
    (message: string, facts: object): void =>
      void lines.push({ level, message, facts: { ...facts } })
  return { lines, logger: { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') } }
}

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'

test('Each turn leaves one line: its request, session, process, outcome, phases, tokens, cost and trace', async () => {
  const { logger, lines } = recorder()
  const { ask, clock, driver, log } = await served({}, { logger })
  driver.onStart = (process) => (process.answersAtOnce = false)
  const asking = ask('POST', '/sessions/one/messages', {
    body: { prompt: 'go' },
    headers: { 'content-type': 'application/json', traceparent: `00-${TRACE}-00f067aa0ba902b7-01` },
  })
  const process = await driver.process(0)
  await driver.until(() => process.unanswered === 1)
  process.sayText('hi')
  await clock.advance(1_500)
  process.finish({ costUsd: 0.25 })
  await (await asking).text()
  await clock.settle()
  const [ended, ...more] = lines.filter(({ message }) => message === 'turn ended')
  const request = log.find(({ message }) => message === 'request')
  expect(more).toEqual([])
  expect(ended).toMatchObject({
    level: 'info',
    facts: {
      request_id: request?.facts['request_id'],
      trace_id: TRACE,
      session: { tenant: 'default', key: 'one', agent: 'assistant' },
      worker: process.spec.workerId,
      outcome: 'success',
      warmth: 'cold',
      durationMs: 1_500,
      phases: { queued: 0, starting: 0, prompt: 0, model: 1_500, tool: 0, permission: 0, reader: 0, saving: 0 },
      tokens: { input: 0, output: 0, cache_read: 0, cache_write: 0 },
      cost: 0.25,
    },
  })
})

test('A turn of no request has neither a request id nor a trace in its line, and one without a process no tokens', async () => {
  const { logger, lines } = recorder()
  const { pool, session } = await fakes({ logger })
  pool.suspend()
  await (await session('one')).send('go').result.catch(() => undefined)
  const facts = lines.find(({ message }) => message === 'turn ended')?.facts ?? {}
  expect(facts).toMatchObject({ outcome: 'capacity', worker: undefined })
  for (const name of ['request_id', 'trace_id', 'tokens', 'cost']) expect(facts).not.toHaveProperty(name)
})

test('Only a well-formed traceparent names a trace', () => {
  const parent = { traceId: TRACE, spanId: '00f067aa0ba902b7', flags: 1 }
  expect(parseTraceparent(`00-${TRACE}-00f067aa0ba902b7-01`)).toEqual(parent)
  expect(parseTraceparent(`01-${TRACE}-00f067aa0ba902b7-01-more`)).toEqual(parent)
  const malformed = [
    undefined,
    '',
    TRACE,
    `ff-${TRACE}-00f067aa0ba902b7-01`,
    `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`,
    `00-${TRACE}-${'0'.repeat(16)}-01`,
    `00-${TRACE.toUpperCase()}-00f067aa0ba902b7-01`,
    `00-${TRACE}-00f067aa0ba902b7-01\n{}`,
  ]
  for (const header of malformed) expect(parseTraceparent(header)).toBeUndefined()
})
