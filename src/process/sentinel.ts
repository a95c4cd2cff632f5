/*
 * A small process beside the host. It holds the end of a pipe that only the host writes to. When the host dies, however
 * that happens, the kernel closes the pipe, and the sentinel ends all processes of the host's workers: no other process would
 * before the next host starts. Run as: node sentinel.js PID START_TIME BOOT_ID RUN_DIR [CGROUP]
 */
import { repeatedly, systemClock } from '../clock.ts'
import { removeCgroup } from './cgroup.ts'
import type { HostIdentity } from './marker.ts'
import { registerRuns } from './run-files.ts'
import { pause, sweep } from './sweep.ts'
import { ProcessTable } from './table.ts'
import type { ProcessEntry } from './table.ts'
import { hostTree } from './tree.ts'

/** The word with which a host that has ended everything itself takes its leave. */
const FAREWELL = 'farewell'

/** A child that the host was starting when it died may show up this much later. */
const LATE_CHILD_MS = 500
const LATE_CHILD_INTERVAL_MS = 100

/** A busy `claude` ends its tools first on SIGTERM, and has been seen to take 6 s; 7 s is what we promise in all. */
const SIGTERM_GRACE_MS = 4_000

const SIGKILL_GRACE_MS = 10_000

/** How often the living trees are looked at, for members that will have hidden when the host dies. */
const REMEMBER_INTERVAL_MS = 1_000

const [pid = '', startTime = '', bootId = '', runDir = '', cgroup] = process.argv.slice(2)
const host: HostIdentity = { pid: Number(pid), startTime, bootId }
const tree = hostTree(host, new ProcessTable(), cgroup)

function look(): ProcessEntry[] {
  registerRuns(runDir)
  return tree.look().filter((member) => member.pid !== host.pid)
}

async function endAll(): Promise<void> {
  const start = systemClock.now()
  do {
    await sweep(look, 'SIGTERM', SIGTERM_GRACE_MS, systemClock)
    await pause(LATE_CHILD_INTERVAL_MS, systemClock)
  } while (systemClock.now() - start < LATE_CHILD_MS)
  await sweep(look, 'SIGKILL', SIGKILL_GRACE_MS, systemClock)
  if (cgroup !== undefined) removeCgroup(cgroup)
}

let said = ''
process.stdin.setEncoding('utf8')
process.stdin.on('data', (text: string) => {
  said = (said + text).slice(-FAREWELL.length)
})
process.stdin.on('error', () => undefined)
process.stdin.on('close', () => {
  if (said === FAREWELL) process.exit(0)
  void endAll().then(() => process.exit(0))
})
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined)
look()
repeatedly(systemClock, () => REMEMBER_INTERVAL_MS, look)
