import { expect, test } from 'vitest'
import { readTracing } from '../../../../src/cli/serve/tracing.ts'

test('Spans go where the variables of OpenTelemetry say, and nowhere without them', () => {
  const endpoint = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4318' }
  expect(readTracing({})).toBeUndefined()
  expect(readTracing({ OTEL_SERVICE_NAME: 'agents', OTEL_EXPORTER_OTLP_ENDPOINT: '' })).toBeUndefined()
  expect(readTracing(endpoint)).toEqual({ protocol: 'http/protobuf' })
  expect(readTracing({ OTEL_TRACES_EXPORTER: 'otlp' })).toEqual({ protocol: 'http/protobuf' })
  const forTraces = { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://127.0.0.1:4318/v1/traces' }
  expect(readTracing({ ...forTraces, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json' })).toEqual({ protocol: 'http/json' })
  expect(readTracing({ ...endpoint, OTEL_TRACES_EXPORTER: 'none' })).toBeUndefined()
  expect(readTracing({ ...endpoint, OTEL_SDK_DISABLED: 'TRUE' })).toBeUndefined()
})

test('The protocol of traces goes before the one of all signals', () => {
  const both = { OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc', OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'http/json' }
  expect(readTracing({ OTEL_TRACES_EXPORTER: 'otlp', ...both })).toEqual({ protocol: 'http/json' })
})

test('What it cannot do is refused by the name of the variable', () => {
  const endpoint = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4317' }
  const problem = (env: Record<string, string>): unknown => {
    try {
      return readTracing(env)
    } catch (error) {
      return error
    }
  }
  expect(problem({ ...endpoint, OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' })).toMatchObject({
    code: 'invalid_config',
    path: 'OTEL_EXPORTER_OTLP_PROTOCOL',
    message: expect.stringContaining('4318'),
  })
  expect(problem({ ...endpoint, OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'grpc' })).toMatchObject({
    path: 'OTEL_EXPORTER_OTLP_TRACES_PROTOCOL',
  })
  expect(problem({ OTEL_TRACES_EXPORTER: 'zipkin' })).toMatchObject({ path: 'OTEL_TRACES_EXPORTER' })
})
