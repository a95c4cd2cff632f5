import { Command } from 'commander'
import type { ReportFlags } from './run.ts'

/** `claude-agent-pool report`: how traffic goes, and a bundle for a ticket. */
export function reportCommand(): Command {
  return new Command('report')
    .description(
      'Say how traffic goes, why and what to do; and write a bundle for a ticket, without secrets and content',
    )
    .option('--data-dir <dir>', 'data directory of the host (default: as configured, else ./.claude-agent-pool)')
    .option('--config <file>', 'config file (default: ./claude-agent-pool.config.*)')
    .option('--output <file>', 'write the bundle into this new file')
    .option('--json', 'print the bundle')
    .action(async (flags: ReportFlags) => {
      const { report } = await import('./run.ts')
      process.exitCode = await report(flags)
    })
}
