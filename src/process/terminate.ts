import type { Clock } from '../clock.ts'
import type { Graces, TerminateReport, TerminateStage } from '../driver/driver.ts'
import { killCgroup, removeCgroup } from './cgroup.ts'
import { unregister } from './registered.ts'
import type { OwnedProcess } from './spawn.ts'
import { settlesWithin, sweep } from './sweep.ts'
import { signalProcess } from './tree.ts'

/** How long a process may take to vanish after SIGKILL; only one stuck in the kernel takes longer. */
const SIGKILL_GRACE_MS = 2_000

/** What a tree may take to follow its root, which told it to go, before it is told by us. */
const FOLLOW_GRACE_MS = 250

const isGone = ({ child }: OwnedProcess): boolean =>
  child.pid === undefined || child.exitCode !== null || child.signalCode !== null

function signalTree(owned: OwnedProcess, signal: NodeJS.Signals): void {
  const members = owned.tree.look()
  for (const identity of members) signalProcess(identity, signal)
  // Where there is no /proc, the child itself is what can be reached.
  if (members.length === 0 && !isGone(owned)) owned.child.kill(signal)
  if (signal === 'SIGKILL' && owned.cgroup !== undefined) killCgroup(owned.cgroup)
}

async function endChild(owned: OwnedProcess, graces: Graces, clock: Clock): Promise<TerminateStage> {
  if (isGone(owned)) return 'gone'
  owned.tree.look()
  owned.child.stdin.end()
  if (await settlesWithin(owned.exited, graces.eofMs, clock)) return 'eof'
  signalTree(owned, 'SIGTERM')
  if (await settlesWithin(owned.exited, graces.sigtermMs, clock)) return 'sigterm'
  signalTree(owned, 'SIGKILL')
  await settlesWithin(owned.exited, SIGKILL_GRACE_MS, clock)
  return 'sigkill'
}

/** Ends what has outlived its root: it may follow by itself, then SIGTERM, then SIGKILL, then verified. */
async function endStragglers(
  owned: OwnedProcess,
  graces: Graces,
  clock: Clock,
): Promise<Pick<TerminateReport, 'stragglers' | 'left'>> {
  const look = (): ReturnType<typeof owned.tree.look> => owned.tree.look()
  if (look().length === 0) return { stragglers: 0, left: 0 }
  await settlesWithin(new Promise(() => undefined), Math.min(FOLLOW_GRACE_MS, graces.eofMs), clock)
  const asked = await sweep(look, 'SIGTERM', graces.sigtermMs, clock)
  if (asked.left === 0) return { stragglers: asked.met.size, left: 0 }
  const forced = await sweep(look, 'SIGKILL', SIGKILL_GRACE_MS, clock)
  return { stragglers: new Set([...asked.met, ...forced.met]).size, left: forced.left }
}

/** Ends a process step by step (end of input, SIGTERM, SIGKILL), then whatever it left behind, and verifies that. */
export async function terminate(owned: OwnedProcess, graces: Graces, clock: Clock): Promise<TerminateReport> {
  const start = clock.now()
  const stage = await endChild(owned, graces, clock)
  const rest = await endStragglers(owned, graces, clock)
  if (owned.cgroup !== undefined) removeCgroup(owned.cgroup)
  if (owned.child.pid !== undefined) unregister(owned.child.pid)
  return { stage, ms: clock.now() - start, ...rest }
}
