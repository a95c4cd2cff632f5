import { Command } from 'commander'
import type { PsFlags } from './run.ts'

/** `claude-agent-pool ps`: every process of every worker, also when their host has died. */
export function psCommand(): Command {
  return new Command('ps')
    .description(
      'Show every process of every worker and credential proxy on this machine, also of hosts that have died',
    )
    .option(
      '--data-dir <dir>',
      'data directory that knows whose session each worker serves; default: that of the config',
    )
    .option('--config <file>', 'config file')
    .option('--json', 'print JSON')
    .option('--watch [every]', 'print it again and again, by default every 2s, until it is interrupted')
    .action(async (flags: PsFlags) => {
      const { ps } = await import('./run.ts')
      process.exitCode = await ps(flags)
    })
}
