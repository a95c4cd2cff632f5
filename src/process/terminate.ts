import type { Clock } from '../clock.ts'
import type { Graces, TerminateReport, TerminateStage } from '../driver/driver.ts'
import type { OwnedProcess } from './spawn.ts'
import { markedProcesses, signalProcess } from './tree.ts'

/** How long a process may take to vanish after SIGKILL; only one stuck in the kernel takes longer. */
const SIGKILL_GRACE_MS = 2_000

/** How often a straggler is looked for after SIGKILL, in milliseconds; the kernel takes a moment to reap. */
const VERIFY_INTERVAL_MS = 20

// A host must not exit between the signal and the proof that it worked.
const KEEP_ALIVE = { keepAlive: true }

function settlesWithin(promise: Promise<unknown>, ms: number, clock: Clock): Promise<boolean> {
  return new Promise((resolve) => {
    const cancel = clock.after(ms, () => resolve(false), KEEP_ALIVE)
    void promise.then(() => {
      cancel()
      resolve(true)
    })
  })
}

const pause = (ms: number, clock: Clock): Promise<void> =>
  new Promise((resolve) => {
    clock.after(ms, resolve, KEEP_ALIVE)
  })

function signalTree(owned: OwnedProcess, signal: NodeJS.Signals): void {
  const marked = markedProcesses(owned.marker)
  for (const identity of marked) signalProcess(identity, signal)
  // Where there is no /proc the child itself and its group are what can be reached.
  if (marked.length === 0 && owned.child.exitCode === null && owned.child.signalCode === null) owned.child.kill(signal)
}

/** Signals what still carries the marker until nothing does or `graceMs` are over; returns the pids it met. */
async function sweep(owned: OwnedProcess, signal: NodeJS.Signals, graceMs: number, clock: Clock): Promise<Set<number>> {
  const met = new Set<number>()
  const deadline = clock.now() + graceMs
  for (;;) {
    const left = markedProcesses(owned.marker)
    for (const identity of left) {
      if (met.has(identity.pid)) continue
      met.add(identity.pid)
      signalProcess(identity, signal)
    }
    if (left.length === 0 || clock.now() >= deadline) return met
    await pause(VERIFY_INTERVAL_MS, clock)
  }
}

async function endStragglers(owned: OwnedProcess, graces: Graces, clock: Clock): Promise<number> {
  const asked = await sweep(owned, 'SIGTERM', graces.sigtermMs, clock)
  const forced = await sweep(owned, 'SIGKILL', SIGKILL_GRACE_MS, clock)
  return new Set([...asked, ...forced]).size
}

async function endChild(owned: OwnedProcess, graces: Graces, clock: Clock): Promise<TerminateStage> {
  const { child, exited } = owned
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return 'gone'
  child.stdin.end()
  if (await settlesWithin(exited, graces.eofMs, clock)) return 'eof'
  signalTree(owned, 'SIGTERM')
  if (await settlesWithin(exited, graces.sigtermMs, clock)) return 'sigterm'
  signalTree(owned, 'SIGKILL')
  await settlesWithin(exited, SIGKILL_GRACE_MS, clock)
  return 'sigkill'
}

/** Ends a process step by step (end of input, SIGTERM, SIGKILL) and then whatever it left behind. */
export async function terminate(owned: OwnedProcess, graces: Graces, clock: Clock): Promise<TerminateReport> {
  const start = clock.now()
  const stage = await endChild(owned, graces, clock)
  const stragglers = await endStragglers(owned, graces, clock)
  return { stage, ms: clock.now() - start, stragglers }
}
