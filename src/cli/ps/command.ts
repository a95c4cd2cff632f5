import { Command } from 'commander'
import type { PsFlags } from './run.ts'

/** `claude-agent-pool ps`: every process of every worker, also when their host has died. */
export function psCommand(): Command {
  return new Command('ps')
    .description('Show every process of every worker on this machine, also of hosts that have died')
    .option(
      '--data-dir <dir>',
      'data directory that knows whose session each worker serves; default: that of the config',
    )
    .option('--config <file>', 'config file')
    .option('--json', 'print JSON')
    .action(async (flags: PsFlags) => {
      const { ps } = await import('./run.ts')
      await ps(flags)
    })
}
