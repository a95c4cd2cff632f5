import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { Frames } from '../fixtures/server.ts'
import { post, serve } from './serving.ts'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const SPAN = '00f067aa0ba902b7'

interface Span {
  name: string
  traceId: string
  spanId: string
  parentSpanId?: string
  startTimeUnixNano: string
  attributes: { key: string; value: { stringValue?: string } }[]
}

/** A receiver of OTLP in JSON: `service` is what its resource calls itself. */
async function receiver() {
  const spans: (Span & { service: string | undefined; resource: Span['attributes'] })[] = []
  const server = createServer((request, response) => {
    let body = ''
    request.setEncoding('utf8')
    request.on('data', (piece: string) => (body += piece))
    request.on('end', () => {
      response.setHeader('content-type', 'application/json').end('{}')
      if (request.url !== '/v1/traces') return
      const { resourceSpans } = JSON.parse(body) as {
        resourceSpans: { resource: { attributes: Span['attributes'] }; scopeSpans: { spans: Span[] }[] }[]
      }
      for (const { resource, scopeSpans } of resourceSpans) {
        const service = attribute(resource, 'service.name')
        const told = scopeSpans.flatMap((scope) => scope.spans)
        spans.push(...told.map((span) => ({ ...span, service, resource: resource.attributes })))
      }
    })
  })
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return { url: `http://127.0.0.1:${port}`, spans }
}

const attribute = ({ attributes }: Pick<Span, 'attributes'>, name: string): string | undefined =>
  attributes.find(({ key }) => key === name)?.value.stringValue

test('OTEL_ variables send the spans of turns to a receiver, as part of the trace of their request; telemetry.agents sends those of agents', async () => {
  const { url, spans } = await receiver()
  const config = `
agents: { a: { spares: { max: 0 }, unboundSpares: { max: 0 }, model: claude-sonnet-5 } }
telemetry:
  agents:
    CLAUDE_CODE_ENHANCED_TELEMETRY_BETA: '1'
    OTEL_TRACES_EXPORTER: otlp
    OTEL_EXPORTER_OTLP_PROTOCOL: http/json
    OTEL_EXPORTER_OTLP_ENDPOINT: ${url}
    OTEL_RESOURCE_ATTRIBUTES: team=blue
`
  const env = {
    OTEL_EXPORTER_OTLP_ENDPOINT: url,
    OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
    OTEL_SERVICE_NAME: 'pool-under-test',
  }
  const serving = await serve(config, { env })
  const headers = { traceparent: `00-${TRACE}-${SPAN}-01` }
  await new Frames(await post(serving, 'ada', '@sim tool Bash {"command":"true"}\n@sim say done', { headers })).rest()
  serving.command.child.kill('SIGTERM')
  expect(await serving.command.ended).toMatchObject({ code: 0, left: 0 })

  const own = spans.filter(({ service }) => service === 'pool-under-test')
  const turn = own.find(({ name }) => name === 'invoke_agent a')
  expect(turn).toMatchObject({ traceId: TRACE, parentSpanId: SPAN })
  const parts = own.filter(({ parentSpanId }) => parentSpanId === turn?.spanId)
  expect(parts.map(({ name }) => name)).toEqual(
    expect.arrayContaining(['starting', 'chat claude-sonnet-5', 'execute_tool Bash', 'chat claude-sonnet-5']),
  )
  expect(new Set(own.map(({ traceId }) => traceId))).toEqual(new Set([TRACE]))

  const agents = spans.find(({ name }) => name === 'claude_code.interaction')
  expect(attribute(agents as Span, 'session.id')).toBe(attribute(turn as Span, 'session.id'))
  const resource = { attributes: agents?.resource ?? [] }
  expect(
    ['team', 'claude_agent_pool.tenant', 'claude_agent_pool.agent'].map((name) => attribute(resource, name)),
  ).toEqual(['blue', 'default', 'a'])
})
