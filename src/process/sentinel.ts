/*
 * A small process beside the host. It holds the end of a pipe that only the host writes to. When the host dies, however
 * that happens, the kernel closes the pipe, and the sentinel ends all processes of the host's workers: no other process would
 * before the next host starts. Run as: node sentinel.js PID START_TIME BOOT_ID RUN_DIR [CGROUP…]
 */
import { repeatedly, systemClock } from '../clock.ts'
import { removeCgroup, thawBelow } from './cgroup-tree.ts'
import type { HostIdentity } from './marker.ts'
import { registerRuns } from './run-files.ts'
import { pause, sweep } from './sweep.ts'
import { ProcessTable } from './table.ts'
import type { ProcessEntry } from './table.ts'
import { hostTree, signalProcess } from './tree.ts'

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

/** Begins a line that says how long processes may run: until a reading of the machine's uptime, or no longer. */
const LEASE = 'lease '
const LOST = 'lost'

/** How often the end of the lease is looked for. */
const LEASE_INTERVAL_MS = 50

/** A tree that starts processes may have one that was not seen. */
const FREEZES = 3

const [pid = '', startTime = '', bootId = '', runDir = '', ...cgroups] = process.argv.slice(2)
const host: HostIdentity = { pid: Number(pid), startTime, bootId }
const tree = hostTree(host, new ProcessTable(), cgroups[0])

const uptime = (): number => systemClock.uptime?.() ?? systemClock.now()

function look(): ProcessEntry[] {
  registerRuns(runDir)
  return tree.look().filter((member) => member.pid !== host.pid)
}

async function endAll(): Promise<void> {
  const start = systemClock.now()
  // What its host has frozen ends by itself only when it runs. With a lease all were killed.
  if (validUntil === undefined) for (const cgroup of cgroups) thawBelow(cgroup)
  do {
    await sweep(look, 'SIGTERM', SIGTERM_GRACE_MS, systemClock)
    await pause(LATE_CHILD_INTERVAL_MS, systemClock)
  } while (systemClock.now() - start < LATE_CHILD_MS)
  await sweep(look, 'SIGKILL', SIGKILL_GRACE_MS, systemClock)
  for (const cgroup of cgroups) removeCgroup(cgroup)
}

function signalAll(signal: NodeJS.Signals): void {
  for (const member of look()) signalProcess(member, signal)
}

/** Others may own the sessions of these processes by now. */
function killAll(): void {
  const met = new Map<number, ProcessEntry>()
  for (let times = 0; times < FREEZES; times += 1) {
    for (const member of look()) {
      met.set(member.pid, member)
      signalProcess(member, 'SIGSTOP')
    }
  }
  // Processes that the host starts from now on do not count.
  for (const member of met.values()) signalProcess(member, 'SIGKILL')
}

/** Until when processes may run; undefined: as long as the host does. */
let validUntil: number | undefined
let isFrozen = false

function extend(lease: string): void {
  if (lease === LOST) {
    validUntil = -Infinity
    isFrozen = true
    killAll()
    return
  }
  validUntil = Number(lease)
  watchLease()
  if (!isFrozen || uptime() >= validUntil) return
  isFrozen = false
  signalAll('SIGCONT')
}

function checkLease(): void {
  if (isFrozen || validUntil === undefined || uptime() < validUntil) return
  isFrozen = true
  for (let times = 0; times < FREEZES; times += 1) signalAll('SIGSTOP')
}

let watching = false

function watchLease(): void {
  if (watching) return
  watching = true
  repeatedly(systemClock, () => LEASE_INTERVAL_MS, checkLease)
}

let said = ''
process.stdin.setEncoding('utf8')
process.stdin.on('data', (text: string) => {
  const lines = (said + text).split('\n')
  said = lines.pop() ?? ''
  const lease = lines.findLast((line) => line.startsWith(LEASE))
  if (lease !== undefined) extend(lease.slice(LEASE.length))
})
process.stdin.on('error', () => undefined)
process.stdin.on('close', () => {
  if (said === FAREWELL) process.exit(0)
  // Other hosts take over before processes could end by themselves.
  if (validUntil !== undefined) killAll()
  void endAll().then(() => process.exit(0))
})
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined)
look()
repeatedly(systemClock, () => REMEMBER_INTERVAL_MS, look)
