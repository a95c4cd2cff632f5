import { Command } from 'commander'
import type { ActionFlags } from './run.ts'

const shared = (name: string, says: string): Command =>
  new Command(name)
    .description(says)
    .option('--data-dir <dir>', 'data directory of the host (default: as configured, else ./.claude-agent-pool)')
    .option('--config <file>', 'config file (default: ./claude-agent-pool.config.*)')
    .option('--json', 'print JSON')

/** `claude-agent-pool workers …`: acts on processes of the host that runs. */
export function workersCommand(): Command {
  const root = new Command('workers').description('Act on workers of the running host; "ps" shows them')
  root.addCommand(
    shared('close', 'Close workers: idle ones at once, the others after their turn. Their sessions stay')
      .argument('<ids...>')
      .option('--now', 'also in mid-turn: the turn fails')
      .action(async (ids: string[], flags: ActionFlags & { now?: true }) => {
        const { closeWorkers } = await import('./run.ts')
        process.exitCode = await closeWorkers(ids, flags)
      }),
  )
  return root
}

const suspension = (name: 'suspend' | 'resume', says: string): Command =>
  shared(name, says)
    .option('--tenant <name>', 'only of this tenant')
    .action(async (flags: ActionFlags & { tenant?: string }) => {
      const { setSuspended } = await import('./run.ts')
      await setSuspended(name === 'suspend', flags)
    })

/** `claude-agent-pool suspend`: running turns go on, new ones do not start. */
export const suspendCommand = (): Command =>
  suspension('suspend', 'Let no new turn start on the running host until "resume", or none of one tenant')

/** `claude-agent-pool resume`: ends `suspend` with the same options. */
export const resumeCommand = (): Command => suspension('resume', 'Let turns start again')
