#!/usr/bin/env node
import module from 'node:module'
import { join } from 'node:path'
import { Command } from 'commander'
import { checkNode } from '../node-version.ts'
import { packageVersion } from '../package-version.ts'
import { resumeCommand, suspendCommand, workersCommand } from './actions/command.ts'
import { chatCommand } from './chat/command.ts'
import { demoCommand } from './demo/command.ts'
import { doctorCommand } from './doctor/command.ts'
import { reportCommand } from './report/command.ts'
import { report } from './shared/exit.ts'
import { drainCommand, hostsCommand } from './hosts/command.ts'
import { psCommand } from './ps/command.ts'
import { serveCommand } from './serve/command.ts'
import { backupCommand, sessionsCommand } from './sessions/command.ts'
import { simulateCommand } from './simulate.ts'
import { sizeCommand } from './size/command.ts'
import { storeCommand } from './store/command.ts'
import { topCommand } from './top/command.ts'
import { outliveReaders } from './shared/streams.ts'

const EXAMPLES = `
Examples:
  $ claude-agent-pool serve                       agents over HTTP
  $ claude-agent-pool demo                        what a pool is for, in under a minute
  $ claude-agent-pool chat                        talk to an agent; run it again to go on
  $ claude-agent-pool chat --session plan --agent writer
  $ echo 'Say hello.' | claude-agent-pool chat    one turn for each line of the input
  $ claude-agent-pool ps                          whose process is whose
  $ claude-agent-pool top                         what runs, since when and why it is slow
  $ claude-agent-pool report                      does traffic flow; if not, why and what next
  $ claude-agent-pool suspend --tenant acme       no new turn of acme, until resume
  $ claude-agent-pool size --memory 2GiB          how many turns fit, found out by running them
  $ claude-agent-pool doctor                      is this machine fit for it
  $ claude-agent-pool doctor --reap               end what hosts that died have left
  $ claude-agent-pool sessions list               what is kept, also beside a running host
  $ claude-agent-pool simulate --port 8399        a model without a key, for your programs

Exit codes: 0 done, 1 failed, 2 a bad option or config, 128 + N ended by signal N.`

function program(): Command {
  const root = new Command('claude-agent-pool')
    .description('A pool for Claude Agent SDK processes: durable sessions, warm workers, no process left behind.')
    .version(packageVersion(), '-v, --version')
    .addHelpText('after', EXAMPLES)
    .configureOutput({ outputError: () => undefined })
    .exitOverride()
  for (const command of [
    serveCommand(),
    chatCommand(),
    demoCommand(),
    psCommand(),
    topCommand(),
    reportCommand(),
    doctorCommand(),
    sessionsCommand(),
    workersCommand(),
    hostsCommand(),
    drainCommand(),
    suspendCommand(),
    resumeCommand(),
    backupCommand(),
    storeCommand(),
    sizeCommand(),
    simulateCommand(),
  ]) {
    root.addCommand(command.copyInheritedSettings(root))
    for (const part of command.commands) part.copyInheritedSettings(command)
  }
  return root
}

/** Compiled code stays in the package's own folder: who may write there may change the code itself. npm removes it with the package. */
const COMPILE_CACHE = join(import.meta.dirname, '..', '..', 'node_modules', '.cache', 'compiled')

outliveReaders()
try {
  checkNode()
  module.enableCompileCache(COMPILE_CACHE)
  const words = process.argv.slice(2)
  await program().parseAsync(words.length === 0 ? ['--help'] : words, { from: 'user' })
} catch (error) {
  process.exitCode = report(error)
}
