import type { Meter } from '@opentelemetry/api'

/** What is measured of webhooks. */
interface MeasuredWebhooks {
  /** Deliveries that were not kept. */
  readonly dropped: number
  readonly queue: {
    readonly counts: Readonly<Record<'delivered' | 'retried' | 'failed', number>>
    readonly waiting: number
    /** Number of endpoints. */
    readonly disabled: number
  }
}

/** Measures webhooks for as long as the meter is read. */
export function measureWebhooks(meter: Meter, webhooks: MeasuredWebhooks): void {
  const { queue } = webhooks
  meter
    .createObservableCounter('claude_agent_pool_webhook_deliveries', {
      description:
        'Tries to deliver an event, by what came of them: delivered, retried, failed (given up), or dropped because its tenant had too many',
    })
    .addCallback((result) => {
      const outcomes = { ...queue.counts, dropped: webhooks.dropped }
      for (const [outcome, count] of Object.entries(outcomes)) result.observe(count, { outcome })
    })
  meter
    .createObservableGauge('claude_agent_pool_webhook_deliveries_waiting', {
      description: 'Deliveries of webhooks that wait in the memory of this host',
    })
    .addCallback((result) => result.observe(queue.waiting))
  meter
    .createObservableGauge('claude_agent_pool_webhook_endpoints_disabled', {
      description: 'Endpoints of webhooks that were disabled, as this host last knew',
    })
    .addCallback((result) => result.observe(queue.disabled))
}
