import { expect, test } from 'vitest'
import { readTelemetry } from '../../../src/options/telemetry.ts'
import { problemOf } from '../../fixtures/config-problem.ts'

test('Agents send no telemetry unless variables are given, which switch it on', () => {
  expect(readTelemetry(undefined)).toEqual({ agents: undefined })
  expect(readTelemetry({ agents: { OTEL_METRICS_EXPORTER: 'otlp' } })).toEqual({
    agents: { CLAUDE_CODE_ENABLE_TELEMETRY: '1', OTEL_METRICS_EXPORTER: 'otlp' },
  })
  expect(readTelemetry({ agents: { CLAUDE_CODE_ENABLE_TELEMETRY: '0' } }).agents).toEqual({
    CLAUDE_CODE_ENABLE_TELEMETRY: '0',
  })
})

test.each([
  [{ agents: { PATH: '/tmp' } }, 'telemetry.agents.PATH', 'agents.NAME.env'],
  [{ agents: { OTEL_: 'x' } }, 'telemetry.agents.OTEL_', 'is not a variable'],
  [{ agents: { OTEL_BSP_SCHEDULE_DELAY: 500 } }, 'telemetry.agents.OTEL_BSP_SCHEDULE_DELAY', 'in quotes'],
  [{ agents: true }, 'telemetry.agents', 'must be a map of variables'],
  [{ agent: {} }, 'telemetry.agent', 'is not an option'],
])('Anything else is refused by name: %j', (given, path, words) => {
  const problem = problemOf(() => readTelemetry(given as never))
  expect(problem).toContain(`${path}: `)
  expect(problem).toContain(words)
})
