import { Command } from 'commander'
import { hideSecrets } from '../shared/secrets.ts'
import type { ServeFlags } from '../shared/serve-plan.ts'

const HELP = `
Every flag but --check, --migrate-only, --simulate and --json is also an environment variable, such as CLAUDE_AGENT_POOL_PORT; a flag wins over
that, and that over the config. CLAUDE_AGENT_POOL_API_KEYS is "tenant=key,tenant=key", and
CLAUDE_AGENT_POOL_OPERATOR_KEYS is "name=key,name=key". CLAUDE_AGENT_POOL_WEBHOOK_SECRETS is "name=secret,tenant/name=secret", and
CLAUDE_AGENT_POOL_VAULT_KEYS is "id=key,id=key".

SIGHUP reads the config again: agents, keys, tokens, operators, webhooks and the default agent hold at once, and the log says what needs a
restart. SIGTERM and SIGINT drain; a second one cuts the turns that run.
Exit codes: 0 drained, 1 failed, 2 a bad option or config, 128 + N when a second signal N cut it short.`

/** `claude-agent-pool serve`: the pool over HTTP. */
export function serveCommand(): Command {
  return new Command('serve')
    .description('Serve agents over HTTP, until SIGTERM or SIGINT')
    .option(
      '--config <file>',
      'config file (default: ./claude-agent-pool.config.{ts,js,mjs,yaml,yml}, if there is one)',
    )
    .option(
      '--host <address>',
      'address to listen on; any other than loopback needs keys (default: as configured, else 127.0.0.1)',
    )
    .option('--port <number>', 'port to listen on; 0 takes any free one (default: as configured, else 8080)')
    .option('--data-dir <dir>', 'where sessions are kept (default: as configured, else ./.claude-agent-pool)')
    .option(
      '--store <url>',
      'postgres://user@host/database, instead of SQLite in the data directory; give its password by PGPASSFILE or a file',
    )
    .option('--log-level <level>', 'debug, info, warn, error or silent (default: info; warn on a terminal)')
    .option('--simulate', 'use the simulated model, also where there is a key')
    .option('--check', 'check the config as a start would, say what it means, and serve nothing')
    .option('--migrate-only', 'bring the schema of the store up to date, and serve nothing')
    .option('--json', 'say where it listens, or what was checked, as one line of JSON')
    .addHelpText('after', HELP)
    .action(async (flags: ServeFlags) => {
      hideSecrets()
      const { serve } = await import('./run.ts')
      process.exitCode = await serve(flags)
    })
}
