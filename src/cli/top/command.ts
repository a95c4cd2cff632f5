import { Command } from 'commander'
import type { TopFlags } from './run.ts'

const HELP = `
Keys: m, a, p sort by memory, age, phase. The arrow keys mark a row; i interrupts its turn, h hibernates its session,
c closes its worker after its turn, C at once; each asks first. q leaves.
Without a terminal it prints once.`

/** `claude-agent-pool top`: what the running host does, again and again. */
export function topCommand(): Command {
  return new Command('top')
    .description('Watch the running host: its turns with their phases, its workers and its memory; and act on them')
    .option('--data-dir <dir>', 'data directory of the host (default: as configured, else ./.claude-agent-pool)')
    .option('--config <file>', 'config file')
    .option('--every <time>', 'how often it looks', '2s')
    .option('--sort <by>', 'memory, age or phase', 'phase')
    .option('--once', 'print once')
    .option('--json', 'print once, as JSON')
    .addHelpText('after', HELP)
    .action(async (flags: TopFlags) => {
      const { top } = await import('./run.ts')
      process.exitCode = await top(flags)
    })
}
