import { Command } from 'commander'
import type { ChatFlags } from './run.ts'

const HELP = `
The conversation is kept: the same --session goes on with it, today or next week.
At the prompt: /help /info /new [KEY] /exit. A line that ends with \\ goes on in the next.
Ctrl-C interrupts the running turn; twice, or at the prompt, it leaves. So does Ctrl-D.
From a pipe, each line is a turn, answers go to stdout and everything else to stderr.`

/** `claude-agent-pool chat`: a conversation in the terminal. */
export function chatCommand(): Command {
  return new Command('chat')
    .description('Talk to an agent in the terminal; the conversation outlives the command')
    .option('--agent <name>', 'agent of the config; needed for a new conversation if there are several')
    .option('--session <key>', 'which conversation', 'chat')
    .option('--tenant <name>', 'whose conversation (default: "default")')
    .option('--data-dir <dir>', 'where conversations are kept (default: as configured, else ./.claude-agent-pool)')
    .option(
      '--config <file>',
      'config file (default: ./claude-agent-pool.config.{ts,js,mjs,yaml,yml}, if there is one)',
    )
    .option('--simulate', 'use the simulated model, also where there is a key')
    .option('--server <url>', 'talk to an agent of this server; CLAUDE_AGENT_POOL_KEY is the key, if it needs one')
    .addHelpText('after', HELP)
    .action(async (flags: ChatFlags) => {
      const { chat } = await import('./run.ts')
      process.exitCode = await chat(flags)
    })
}
