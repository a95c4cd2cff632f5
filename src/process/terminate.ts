import type { Clock } from '../clock.ts'
import { unregister } from './registered.ts'
import type { OwnedProcess } from './spawn.ts'
import { settlesWithin, sweep } from './sweep.ts'
import { signalProcess } from './tree.ts'

/** How long each step of ending a process may take, in milliseconds. */
export interface Graces {
  eofMs: number
  sigtermMs: number
}

/** Which step ended a process. `gone`: it had exited before it was asked. */
export type TerminateStage = 'gone' | 'eof' | 'sigterm' | 'sigkill'

/** What it took to end a process and everything it had started. */
export interface TerminateReport {
  stage: TerminateStage
  ms: number
  /** Processes that lived when it began, or were met on the way, and are gone. */
  processes: number
  /** Descendants that had outlived the process and were ended after it. */
  stragglers: number
  /** What could not be ended: processes stuck in the kernel. */
  left: number
}

/** How long a process may take to vanish after SIGKILL; only one stuck in the kernel takes longer. */
const SIGKILL_GRACE_MS = 2_000

/** What a tree may take to follow its root, which told it to go, before it is told by us. */
const FOLLOW_GRACE_MS = 250

const isGone = ({ child }: OwnedProcess): boolean =>
  child.pid === undefined || child.exitCode !== null || child.signalCode !== null

/** Samples a tree, and counts the processes that were in it. */
class Census {
  readonly #owned: OwnedProcess
  readonly #met = new Set<string>()

  constructor(owned: OwnedProcess) {
    this.#owned = owned
    // Where there is no /proc, the child itself is what is known.
    if (this.look().length === 0 && !isGone(owned)) this.#met.add('child')
  }

  get met(): number {
    return this.#met.size
  }

  look(): ReturnType<OwnedProcess['tree']['look']> {
    const members = this.#owned.tree.look()
    for (const { pid, startTime } of members) this.#met.add(`${pid}:${startTime}`)
    return members
  }
}

function signalTree(owned: OwnedProcess, census: Census, signal: NodeJS.Signals): void {
  const members = census.look()
  // A sandbox that is told to go takes the process inside with it before that can end by itself.
  const told = owned.isSandbox && signal === 'SIGTERM' ? members.filter(({ pid }) => pid !== owned.child.pid) : members
  for (const identity of told) signalProcess(identity, signal)
  if (members.length === 0 && !isGone(owned)) owned.child.kill(signal)
  if (signal === 'SIGKILL') owned.cgroup?.kill()
}

async function endChild(owned: OwnedProcess, census: Census, graces: Graces, clock: Clock): Promise<TerminateStage> {
  if (isGone(owned)) return 'gone'
  owned.child.stdin.end()
  if (await settlesWithin(owned.exited, graces.eofMs, clock)) return 'eof'
  signalTree(owned, census, 'SIGTERM')
  if (await settlesWithin(owned.exited, graces.sigtermMs, clock)) return 'sigterm'
  signalTree(owned, census, 'SIGKILL')
  await settlesWithin(owned.exited, SIGKILL_GRACE_MS, clock)
  return 'sigkill'
}

/** Ends what has outlived its root: it may follow by itself, then SIGTERM, then SIGKILL, then verified. */
async function endStragglers(
  census: Census,
  graces: Graces,
  clock: Clock,
): Promise<Pick<TerminateReport, 'stragglers' | 'left'>> {
  const look = (): ReturnType<Census['look']> => census.look()
  if (look().length === 0) return { stragglers: 0, left: 0 }
  await settlesWithin(new Promise(() => undefined), Math.min(FOLLOW_GRACE_MS, graces.eofMs), clock)
  const asked = await sweep(look, 'SIGTERM', graces.sigtermMs, clock)
  if (asked.left === 0) return { stragglers: asked.met.size, left: 0 }
  const forced = await sweep(look, 'SIGKILL', SIGKILL_GRACE_MS, clock)
  return { stragglers: new Set([...asked.met, ...forced.met]).size, left: forced.left }
}

/** Ends a process step by step (end of input, SIGTERM, SIGKILL), then whatever it left behind, and verifies that. */
export async function terminate(owned: OwnedProcess, graces: Graces, clock: Clock): Promise<TerminateReport> {
  // What is stopped hears neither the end of its input nor SIGTERM.
  owned.cgroup?.thaw()
  const start = clock.now()
  const census = new Census(owned)
  const stage = await endChild(owned, census, graces, clock)
  const rest = await endStragglers(census, graces, clock)
  owned.cgroup?.remove()
  if (owned.child.pid !== undefined) unregister(owned.child.pid)
  return { stage, ms: clock.now() - start, processes: census.met - rest.left, ...rest }
}
