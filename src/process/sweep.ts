import type { Clock } from '../clock.ts'
import { signalProcess } from './tree.ts'
import type { ProcessIdentity } from './marker.ts'

/** How often the dying are looked for, in milliseconds; the kernel takes a moment to bury them. */
const VERIFY_INTERVAL_MS = 25

// A host must not exit between the signal and the proof that it worked.
const KEEP_ALIVE = { keepAlive: true }

/** Waits, and keeps the process alive meanwhile. */
export const pause = (ms: number, clock: Clock): Promise<void> =>
  new Promise((resolve) => {
    clock.after(ms, resolve, KEEP_ALIVE)
  })

/** Signals each process that `look` finds, once, until it finds none or `graceMs` are over. Returns what it met. */
export async function sweep(
  look: () => ProcessIdentity[],
  signal: NodeJS.Signals,
  graceMs: number,
  clock: Clock,
): Promise<{ met: Set<number>; left: number }> {
  const met = new Set<number>()
  const deadline = clock.now() + graceMs
  for (;;) {
    const found = look()
    for (const identity of found) {
      if (met.has(identity.pid)) continue
      met.add(identity.pid)
      signalProcess(identity, signal)
    }
    if (found.length === 0 || clock.now() >= deadline) return { met, left: found.length }
    await pause(VERIFY_INTERVAL_MS, clock)
  }
}

/** True when `promise` settles within `ms`. */
export function settlesWithin(promise: Promise<unknown>, ms: number, clock: Clock): Promise<boolean> {
  return new Promise((resolve) => {
    const cancel = clock.after(ms, () => resolve(false), KEEP_ALIVE)
    const settled = (): void => {
      cancel()
      resolve(true)
    }
    promise.then(settled, settled)
  })
}
