import { Command } from 'commander'
import type { SizeFlags } from './run.ts'

/** `claude-agent-pool size`: how many turns this machine takes, found out by running them. */
export function sizeCommand(): Command {
  return new Command('size')
    .description(
      'Measure how many turns and sessions of your agent fit: real workers on a simulated model, no key, no tokens',
    )
    .option('--config <file>', 'config file; default: claude-agent-pool.config.* of this folder')
    .option('--agent <name>', 'agent of the config; needed where there are several')
    .option('--scenario <file>', 'YAML or JSON file that scripts the answers, tools included')
    .option('--memory <size>', 'run in a real memory cgroup of this size, like 2GiB, and fill it (Linux, root)')
    .option('--workers <number>', 'workers to measure', '4')
    .option('--rounds <number>', 'turns that each of them runs', '5')
    .option('--json', 'print JSON')
    .action(async (flags: SizeFlags) => {
      const { size } = await import('./run.ts')
      process.exitCode = await size(flags)
    })
}
