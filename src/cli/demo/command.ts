import { Command } from 'commander'
import type { DemoFlags } from './run.ts'

/** `claude-agent-pool demo`: what a pool is for, measured on this machine. */
export function demoCommand(): Command {
  return new Command('demo')
    .description('Show what a pool is for: real processes on the simulated model, measured here, in under a minute')
    .option('--json', 'print one JSON object instead of words')
    .option('--keep', 'keep the data directory and say where it is')
    .action(async (flags: DemoFlags) => {
      const { demo } = await import('./run.ts')
      process.exitCode = await demo(flags)
    })
}
