import { Command, InvalidArgumentError } from 'commander'
import type { DeleteFlags } from './delete.ts'
import type { ListFlags, SessionFlags } from './run.ts'

function limitOf(text: string): number {
  const limit = Number(text)
  if (!Number.isInteger(limit) || limit < 1) throw new InvalidArgumentError(`"${text}" is not a whole number above 0`)
  return limit
}

const shared = (name: string, says: string): Command =>
  new Command(name)
    .description(says)
    .option('--data-dir <dir>', 'data directory (default: as configured, else ./.claude-agent-pool)')
    .option('--config <file>', 'config file (default: ./claude-agent-pool.config.*)')
    .option('--store <url>', 'database that has the sessions (default: as configured, else the data directory)')
    .option('--json', 'print JSON')

const ofOne = (name: string, says: string): Command =>
  shared(name, says).option('--tenant <name>', 'whose session', 'default')

/** `claude-agent-pool sessions …`: the sessions of a data directory, also beside the host that runs on it. */
export function sessionsCommand(): Command {
  const run = () => import('./run.ts')
  const actions = () => import('./actions.ts')
  const root = new Command('sessions').description(
    'List, show, interrupt, hibernate, export, import, delete and prune sessions, also beside a running host',
  )
  root.addCommand(
    shared('list', 'List sessions by tenant and key')
      .option('--tenant <name>', 'only of this tenant')
      .option('--agent <name>', 'only of this agent')
      .option('--limit <number>', 'how many', limitOf, 100)
      .option('--after <key>', 'only after this key; needs --tenant')
      .action(async (flags: ListFlags) => (await run()).list(flags)),
  )
  root.addCommand(
    ofOne('show', 'Show one session')
      .argument('<key>')
      .action(async (key: string, flags: SessionFlags) => (await run()).show(key, flags)),
  )
  root.addCommand(
    ofOne('interrupt', 'Stop the turn that a session runs on the running host')
      .argument('<key>')
      .action(async (key: string, flags: SessionFlags) => (await actions()).interrupt(key, flags)),
  )
  root.addCommand(
    ofOne('hibernate', 'End the process of a session on the running host, and keep the session')
      .argument('<key>')
      .action(async (key: string, flags: SessionFlags) => (await actions()).hibernate(key, flags)),
  )
  root.addCommand(
    ofOne('export', 'Write a session with events, transcript and workspace into a file')
      .argument('<key>')
      .argument('[file]', 'where to; "-" is the standard output', '-')
      .option('--no-workspace', 'leave the workspace out')
      .action(async (key: string, file: string, flags: SessionFlags & { workspace: boolean }) =>
        (await run()).exportTo(key, file, flags),
      ),
  )
  root.addCommand(
    shared('import', 'Bring an exported session back')
      .argument('[file]', 'where from; "-" is the standard input', '-')
      .option('--key <key>', 'another key than it had')
      .option('--tenant <name>', 'another tenant than it had')
      .option('--agent <name>', 'another agent than it had')
      .option('--cwd <dir>', 'where it runs, unless its agent says so; not for a workspace of the pool')
      .action(async (file: string, flags) => (await run()).importFrom(file, flags)),
  )
  root.addCommand(
    shared('delete', 'End what runs of sessions and remove all of them')
      .argument('[keys...]')
      .option('--tenant <name>', 'whose sessions; with keys it is "default" if left out')
      .option('--all', 'every session of the tenant, and its directories; asks before')
      .option('--yes', 'with --all: do not ask')
      .option('--dry-run', 'only show what would go')
      .action(async (keys: string[], flags: DeleteFlags) => {
        const { remove } = await import('./delete.ts')
        process.exitCode = await remove(keys, flags)
      }),
  )
  root.addCommand(
    shared('prune', 'Remove what has outlived its retention, as the config says')
      .option('--dry-run', 'only show it')
      .action(async (flags: SessionFlags & { dryRun?: true }) => (await run()).prune(flags)),
  )
  return root
}

/** `claude-agent-pool backup DIR`: a consistent copy of the data directory. */
export function backupCommand(): Command {
  return shared(
    'backup',
    'Copy the data directory into a new one that can take its place, also while a host runs on it',
  )
    .argument('<dir>')
    .action(async (dir: string, flags: SessionFlags) => {
      const { backup } = await import('./run.ts')
      await backup(dir, flags)
    })
}
