import type { Attributes, BatchObservableResult, Meter } from '@opentelemetry/api'
import type { Pool } from '../pool/pool.ts'
import { tokensByKind } from './tokens.ts'

const TOKENS = 'claude_agent_pool_tokens'
const COST = 'claude_agent_pool_cost_usd'
const DISK = 'claude_agent_pool_disk_used_bytes'

/** Metrics whose labels name tenants, and agents that tenants may have defined: not for strangers. */
export const NAMES_TENANTS: ReadonlySet<string> = new Set([TOKENS, COST, DISK])

/** Measures tokens, cost and disk by tenant, until the function that it returns is called. */
export function measureUsage(pool: Pick<Pool, 'stats' | 'diskUse'>, meter: Meter): () => void {
  const tokens = meter.createObservableCounter(TOKENS, {
    description: 'Tokens by tenant, agent and kind; without tenant and agent: of those beyond the first 1,000',
  })
  const cost = meter.createObservableCounter(COST, {
    description: 'Cost in US dollars by list prices; without tenant and agent: of those beyond the first 1,000',
  })
  const disk = meter.createObservableGauge(DISK, {
    description:
      'Files of a tenant on the disk of this host, as last counted: every ten minutes, of 1,000 tenants at most',
  })
  const observe = (result: BatchObservableResult<Attributes>): void => {
    const { byTenantAndAgent, otherTenantsAndAgents } = pool.stats().usage
    const rows = byTenantAndAgent.map(({ tenant, agent, usage }) => ({ labels: { tenant, agent }, usage }))
    const others = otherTenantsAndAgents === undefined ? [] : [{ labels: {}, usage: otherTenantsAndAgents }]
    for (const { labels, usage } of [...rows, ...others]) {
      for (const [kind, count] of Object.entries(tokensByKind(usage)))
        result.observe(tokens, count, { ...labels, kind })
      result.observe(cost, usage.costUsd, labels)
    }
    for (const { tenant, bytes } of pool.diskUse()) result.observe(disk, bytes, { tenant })
  }
  const instruments = [tokens, cost, disk]
  meter.addBatchObservableCallback(observe, instruments)
  return () => meter.removeBatchObservableCallback(observe, instruments)
}
