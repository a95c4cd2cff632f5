import { Command } from 'commander'
import { ConfigError } from '../../errors.ts'
import type { ClusterDemoFlags } from './cluster.ts'
import type { DemoFlags } from './run.ts'

/** `claude-agent-pool demo`: what a pool is for, measured on this machine. */
export function demoCommand(): Command {
  return new Command('demo')
    .description('Show what a pool is for: real processes on the simulated model, measured here, in under a minute')
    .option('--json', 'print one JSON object instead of words')
    .option('--keep', 'keep the data directory and say where it is')
    .option('--cluster', 'three hosts on one PostgreSQL database instead, one of which is killed in mid-turn')
    .option('--store <url>', 'the database of --cluster; CLAUDE_AGENT_POOL_STORE does not show its password')
    .action(async ({ cluster, ...flags }: DemoFlags & ClusterDemoFlags & { cluster?: true }) => {
      if (cluster) {
        const { demoCluster } = await import('./cluster.ts')
        process.exitCode = await demoCluster(flags)
        return
      }
      if (flags.store !== undefined) throw new ConfigError('--store', 'is the database of --cluster')
      const { demo } = await import('./run.ts')
      process.exitCode = await demo(flags)
    })
}
