import type { Exposure } from '../../credentials/exposure.ts'
import { verdicts } from './finding.ts'
import type { Finding } from './finding.ts'

/** Where agents find the credential of the model, or a part of what leads to it. */
export interface PlacementFacts {
  /** What holds a credential: the pool, a tenant or an agent. */
  of: string
  kind: 'taken' | 'kept' | 'none'
  /** Which variables the proxy keeps from agents, or why it does not. */
  says: string
}

export interface ExposureFacts {
  /** This process may show what it was started with: it is no host. */
  ownPid: number
  exposures: readonly Exposure[]
  /** Undefined where `/proc` does not say. */
  memoryIsOpen: boolean
}

/** Where the credential of the model goes when a pool is opened with this config. */
export function checkPlacement(mode: 'proxy' | 'environment', placements: readonly PlacementFacts[]): Finding {
  const { ok, warning } = verdicts('key')
  const there = placements.filter(({ kind }) => kind !== 'none')
  if (there.length === 0) return ok('no agent gets one, since there is none')
  const advice = 'agents can read it there; see docs/credentials.md for what the proxy can hold'
  if (mode === 'environment') return warning('in the environment of agents, as isolation.credentials says', advice)
  const kept = there.filter(({ kind }) => kind === 'kept')
  if (kept.length > 0)
    return warning(`in the environment of agents: ${kept.map(({ of, says }) => `${of}: ${says}`).join('; ')}`, advice)
  return ok(`with the credential proxy: ${there.map(({ of, says }) => `${of}: ${says}`).join('; ')}`)
}

/** Where processes of this user can read the credential now. */
export function checkExposure({ ownPid, exposures, memoryIsOpen }: ExposureFacts): Finding {
  const { ok, warning } = verdicts('key shown')
  const shown = exposures.filter(({ pid }) => pid !== ownPid)
  if (shown.length > 0) {
    const places = shown.slice(0, 5).map((one) => `${one.command} (/proc/${one.pid}/${one.in})`)
    const more = shown.length > 5 ? ` and ${shown.length - 5} more` : ''
    return warning(
      `${places.join(', ')}${more} show it to all processes of this user, agents included`,
      'start "serve" from a shell or service that reads the key from a file, or run it as a user of its own',
    )
  }
  if (memoryIsOpen)
    return ok(
      'no process shows it; the memory of processes of one user is open to each other here (kernel.yama.ptrace_scope)',
    )
  return ok('no process shows it')
}
