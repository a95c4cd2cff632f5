import { Command } from 'commander'
import type { DoctorFlags } from './run.ts'

/** `claude-agent-pool doctor`: what keeps a pool from working well on this machine, and what hosts that died have left. */
export function doctorCommand(): Command {
  return new Command('doctor')
    .description(
      'Check this machine, what is installed, and what dead hosts have left; exit code 1 if something must be mended',
    )
    .option('--config <file>', 'config file; default: claude-agent-pool.config.* of this folder')
    .option('--data-dir <dir>', 'data directory of the pool; default: as configured, else .claude-agent-pool')
    .option('--reap', 'end what was left: only what carries the marker of a host that is gone')
    .option('--dry-run', 'with --reap: show it and end nothing')
    .option(
      '--live',
      'then try the promises of the pool with the real model and your credential, for less than 5 cents',
    )
    .option('--model <id>', 'with --live: which model (default: haiku)')
    .option('--json', 'print JSON')
    .action(async (flags: DoctorFlags) => {
      const { doctor } = await import('./run.ts')
      process.exitCode = await doctor(flags)
    })
}
