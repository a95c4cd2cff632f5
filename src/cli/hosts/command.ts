import { Command } from 'commander'
import type { HostFlags } from './run.ts'

const shared = (name: string, says: string): Command =>
  new Command(name)
    .description(says)
    .option('--store <url>', 'database of the hosts (default: as configured)')
    .option('--data-dir <dir>', 'data directory of a host (default: as configured, else ./.claude-agent-pool)')
    .option('--config <file>', 'config file (default: ./claude-agent-pool.config.*)')
    .option('--json', 'print JSON')

/** `claude-agent-pool hosts`: the hosts that share a database. */
export const hostsCommand = (): Command =>
  shared('hosts', 'List the hosts that share a database').action(async (flags: HostFlags) => {
    const { listHosts } = await import('./run.ts')
    await listHosts(flags)
  })

/** `claude-agent-pool drain [HOST]`: the host ends its turns, takes no other, and exits. */
export const drainCommand = (): Command =>
  shared('drain', 'Drain a host: it takes no turn any more, ends the running ones, and exits')
    .argument('[host]', 'id or place of the host, as "hosts" shows them (default: the host of the data directory)')
    .action(async (host: string | undefined, flags: HostFlags) => {
      const { drainHost } = await import('./run.ts')
      await drainHost(host, flags)
    })
