import { Command } from 'commander'
import type { CopyFlags } from './run.ts'

const HELP = `
DIR is a data directory, URL the postgres:// address of a database. Its password comes from PGPASSFILE or from the file that
CLAUDE_AGENT_POOL_STORE_PASSWORD_FILE names. No host may run on either side. A copy that was cut off goes on where it was when
it is asked for again. Workspaces and the files of agents stay in their data directory.

  $ claude-agent-pool store copy --from .claude-agent-pool --to postgres://agents@db/agents
  $ claude-agent-pool store copy --from postgres://agents@db/agents --to ./back`

/** `claude-agent-pool store copy`: everything that a store keeps, into another one. */
export function storeCommand(): Command {
  const root = new Command('store').description('Copy what a store keeps into another store')
  root.addCommand(
    new Command('copy')
      .description(
        'Copy sessions, events, transcripts, usage, resources and idempotency keys from SQLite to PostgreSQL, or back',
      )
      .requiredOption('--from <dir|url>', 'what is copied; it is not changed')
      .requiredOption('--to <dir|url>', 'where to; it must be empty, or an unfinished copy of the same')
      .option('--restart', 'remove an unfinished copy and begin anew')
      .option('--json', 'print the report as one line of JSON')
      .addHelpText('after', HELP)
      .action(async (flags: CopyFlags) => {
        const { copyStore } = await import('./run.ts')
        await copyStore(flags)
      }),
  )
  return root
}
