import { Command } from 'commander'
import type { DoctorFlags } from './doctor-run.ts'

/** `claude-agent-pool doctor`: finds what hosts that died have left, and ends it when told to. */
export function doctorCommand(): Command {
  return new Command('doctor')
    .description('Look for processes that hosts have left behind; exit code 1 while there are any')
    .option(
      '--data-dir <dir>',
      'data directory of the pool, where processes show no marker (macOS, Windows)',
      '.claude-agent-pool',
    )
    .option('--reap', 'end them: only what carries the marker of a host that is gone')
    .option('--dry-run', 'with --reap: show them and end nothing')
    .option('--json', 'print JSON')
    .action(async (flags: DoctorFlags) => {
      const { doctor } = await import('./doctor-run.ts')
      await doctor(flags)
    })
}
