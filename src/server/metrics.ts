import { PrometheusExporter, PrometheusSerializer } from '@opentelemetry/exporter-prometheus'
import { MeterProvider } from '@opentelemetry/sdk-metrics'
import { Hono } from 'hono'
import { describeRoute } from 'hono-openapi'
import { measurePool } from '../telemetry/metrics.ts'
import type { Pool } from '../index.ts'
import type { ServerEnv } from './context.ts'
import type { Quotas } from './limits.ts'
import type { PoolListeners } from './pool-listeners.ts'

/** `GET /metrics` for Prometheus. It measures from when it is made until it is closed. */
export function metrics(
  pool: Pool,
  listeners: PoolListeners,
  quotas: Quotas,
): {
  app: Hono<ServerEnv>
  close: () => void
} {
  const exporter = new PrometheusExporter({ preventServerStart: true })
  const serializer = new PrometheusSerializer('', false, undefined, true, true)
  const provider = new MeterProvider({ readers: [exporter] })
  const meter = provider.getMeter('claude-agent-pool')
  const unmeasure = measurePool(pool, listeners, meter)
  meter
    .createObservableGauge('claude_agent_pool_streams_open', { description: 'Event streams that are open' })
    .addCallback((result) => result.observe(quotas.streams))
  const app = new Hono<ServerEnv>()
  app.get(
    '/metrics',
    describeRoute({
      operationId: 'metrics',
      summary: 'Measurements in the text format of Prometheus',
      tags: ['operations'],
      responses: { 200: { description: 'Now', content: { 'text/plain': { schema: { type: 'string' } } } } },
    }),
    async (c) => {
      const { resourceMetrics } = await exporter.collect()
      return c.body(serializer.serialize(resourceMetrics), 200, {
        'content-type': 'text/plain; version=0.0.4; charset=utf-8',
      })
    },
  )
  return {
    app,
    close() {
      unmeasure()
      void provider.shutdown()
    },
  }
}
