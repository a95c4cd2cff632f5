import { join } from 'node:path'
import { systemClock } from '../clock.ts'
import { findOrphans, reap } from '../process/reaper.ts'
import { registerRuns } from '../process/run-files.ts'
import { RUN_DIR } from '../store/data-dir.ts'

/** The flags of `doctor`. */
export interface DoctorFlags {
  dataDir: string
  reap?: true
  dryRun?: true
  json?: true
}

const processes = (count: number): string => (count === 1 ? '1 process' : `${count} processes`)

/** Says what was left behind, and ends it when told to. */
export async function doctor({ dataDir, reap: reaping, dryRun, json }: DoctorFlags): Promise<void> {
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
