import type { Attributes, BatchObservableResult, Meter } from '@opentelemetry/api'
import { packageVersion } from '../package-version.ts'
import { EventLoopLag } from './event-loop.ts'

/** Measures the process that the pool runs in, until the function that it returns is called. */
export function measureHost(meter: Meter): () => void {
  const loop = new EventLoopLag()
  const build = { version: packageVersion(), node: process.version }
  const gauge = (name: string, description: string) =>
    meter.createObservableGauge(`claude_agent_pool_${name}`, { description })
  const lag = gauge(
    'event_loop_lag_seconds',
    'How late the event loop of the host ran since the last scrape, by quantile',
  )
  const rss = gauge('host_rss_bytes', 'Resident memory of the host process')
  const info = gauge('build_info', 'Always 1: the versions are in the labels')
  const observe = (result: BatchObservableResult<Attributes>): void => {
    for (const [quantile, ms] of Object.entries(loop.take())) result.observe(lag, ms / 1_000, { quantile })
    result.observe(rss, process.memoryUsage.rss())
    result.observe(info, 1, build)
  }
  const instruments = [lag, rss, info]
  meter.addBatchObservableCallback(observe, instruments)
  return () => {
    meter.removeBatchObservableCallback(observe, instruments)
    loop.close()
  }
}
