import { PrometheusExporter, PrometheusSerializer } from '@opentelemetry/exporter-prometheus'
import { MeterProvider } from '@opentelemetry/sdk-metrics'
import type { MetricData, ResourceMetrics } from '@opentelemetry/sdk-metrics'
import { Hono } from 'hono'
import { describeRoute } from 'hono-openapi'
import { measureHost } from '../telemetry/host-metrics.ts'
import { measurePool } from '../telemetry/metrics.ts'
import { NAMES_TENANTS, measureUsage } from '../telemetry/usage-metrics.ts'
import { measureWebhooks } from '../telemetry/webhook-metrics.ts'
import { knowsAll } from './auth/operators.ts'
import type { KnowsTenant } from './auth/operators.ts'
import type { Pool } from '../index.ts'
import type { ServerEnv } from './context.ts'
import type { Quotas } from './limits.ts'
import type { Webhooks } from './managed-agents/webhooks/webhooks.ts'
import type { PoolListeners } from './pool-listeners.ts'

/** What is measured, without figures of tenants that the reader may not know. */
const shownOf = (all: ResourceMetrics, knows: KnowsTenant): ResourceMetrics => ({
  ...all,
  scopeMetrics: all.scopeMetrics.map(({ scope, metrics: each }) => ({
    scope,
    metrics: each.map((metric) => (NAMES_TENANTS.has(metric.descriptor.name) ? withoutOthers(metric, knows) : metric)),
  })),
})

/** Series without a tenant are sums of several. */
function withoutOthers(metric: MetricData, knows: KnowsTenant): MetricData {
  if (knows === knowsAll) return metric
  const dataPoints = metric.dataPoints.filter(
    ({ attributes: { tenant } }) => typeof tenant === 'string' && knows(tenant),
  )
  return { ...metric, dataPoints } as MetricData
}

/** What is measured of a pool and its host, from when this is made until it is closed. */
export class Metrics {
  readonly #exporter = new PrometheusExporter({ preventServerStart: true })
  readonly #serializer = new PrometheusSerializer('', false, undefined, true, true)
  readonly #provider = new MeterProvider({ readers: [this.#exporter] })
  readonly #ends: readonly (() => void)[]

  constructor(pool: Pool, listeners: PoolListeners, { quotas, webhooks }: { quotas: Quotas; webhooks: Webhooks }) {
    const meter = this.#provider.getMeter('claude-agent-pool')
    this.#ends = [measurePool(pool, listeners, meter), measureUsage(pool, meter), measureHost(meter)]
    meter
      .createObservableGauge('claude_agent_pool_streams_open', { description: 'Event streams that are open' })
      .addCallback((result) => result.observe(quotas.streams))
    measureWebhooks(meter, webhooks)
  }

  /** `GET /metrics` for Prometheus. `knowledgeOf`: which tenants the sender of a request may know. */
  route(knowledgeOf: (headers: Headers) => KnowsTenant): Hono<ServerEnv> {
    return new Hono<ServerEnv>().get(
      '/metrics',
      describeRoute({
        operationId: 'metrics',
        summary: 'Measurements in the text format of Prometheus',
        tags: ['operations'],
        responses: { 200: { description: 'Now', content: { 'text/plain': { schema: { type: 'string' } } } } },
      }),
      async (c) => {
        const { resourceMetrics } = await this.#exporter.collect()
        return c.body(this.#serializer.serialize(shownOf(resourceMetrics, knowledgeOf(c.req.raw.headers))), 200, {
          'content-type': 'text/plain; version=0.0.4; charset=utf-8',
        })
      },
    )
  }

  close(): void {
    for (const end of this.#ends) end()
    void this.#provider.shutdown()
  }
}
