import { join } from 'node:path'
import { Command } from 'commander'
import { systemClock } from '../clock.ts'
import { findOrphans, reap } from '../process/reaper.ts'
import { registerRuns } from '../process/run-files.ts'
import { RUN_DIR } from '../store/data-dir.ts'

interface Flags {
  dataDir: string
  reap?: true
  dryRun?: true
  json?: true
}

const processes = (count: number): string => (count === 1 ? '1 process' : `${count} processes`)

async function doctor({ dataDir, reap: reaping, dryRun, json }: Flags): Promise<void> {
  registerRuns(join(dataDir, RUN_DIR))
  const orphans = findOrphans()
  const report = reaping === true && dryRun !== true ? await reap(systemClock) : undefined
  const left = report === undefined ? orphans.length : report.left
  if (left > 0) process.exitCode = 1
  if (json === true) {
    const found = orphans.map(({ pid, marker }) => ({ pid, worker: marker?.workerId, host: marker?.host.pid }))
    console.log(JSON.stringify({ orphans: found, ended: report?.pids ?? [], left }))
    return
  }
  for (const { pid, marker } of orphans)
    console.log(`  orphan ${pid}: worker ${marker?.workerId} of host ${marker?.host.pid}`)
  if (report !== undefined) console.log(`orphans: ended ${processes(report.pids.length)}, ${left} left`)
  else if (left === 0) console.log('orphans: none')
  else console.log(`orphans: ${processes(left)} of hosts that are gone; end them with: claude-agent-pool doctor --reap`)
}

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
    .action(doctor)
}
