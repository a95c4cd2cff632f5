import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { tryBoundary } from '../../isolation/isolation.ts'
import type { PoolOptions } from '../../index.ts'
import { hasRemotes } from '../../agents/remotes.ts'
import { findClaudeExecutable } from '../../driver/executable.ts'
import { Confinements } from '../../isolation/confinement.ts'
import type { Mode } from '../../isolation/confinement.ts'
import { readAgentIsolation, readIsolation } from '../../options/isolation.ts'
import { saysEgress } from '../shared/serve-isolation.ts'
import type { ServedIsolation } from '../shared/serve-isolation.ts'
import type { Controller } from '../../process/cgroup-tree.ts'
import { verdicts } from './finding.ts'
import type { Finding } from './finding.ts'

const confined = ({ agents }: Pick<PoolOptions, 'agents'>): Parameters<Confinements['needs']>[0] =>
  Object.entries(agents).map(([name, agent]) => ({
    name,
    isolation: readAgentIsolation(`agents.${name}.isolation`, agent.isolation),
    hasRemotes: hasRemotes(agent),
  }))

/** What cgroups must limit with this config. */
export const limitedBy = (options: Pick<PoolOptions, 'agents' | 'isolation'>): Controller[] =>
  new Confinements(readIsolation(options.isolation)).limited(confined(options))

/** What a trial of the boundary has shown: the mode that holds, or why none does. */
export type TriedMode = { mode: Mode } | { problem: string }

/** Tries the boundary as `serve` with this config would. */
export async function triedBoundary(
  { options }: ServedIsolation,
  { agents }: Pick<PoolOptions, 'agents'>,
  where: string,
): Promise<TriedMode> {
  const isolation = readIsolation(options)
  const confinements = new Confinements(isolation)
  const network = confinements.needs(confined({ agents })) ?? 'open'
  const modes = confinements.modes(confined({ agents }))
  // Users of tenants must be able to enter the folders that it is in.
  const parent = modes.includes('user') && process.geteuid?.() === 0 ? existing(dirname(resolve(where))) : tmpdir()
  const dataDir = mkdtempSync(join(parent, 'claude-agent-pool-doctor-'))
  const storeFile = join(dataDir, 'store')
  try {
    writeFileSync(storeFile, '')
    chmodSync(storeFile, 0o600)
    if (modes.includes('user')) chmodSync(dataDir, 0o711)
    const { paths, uids } = isolation
    const claude = findClaudeExecutable()
    const programs = claude === undefined ? [] : [claude]
    const trial = await tryBoundary(
      { modes, network, paths, uids },
      { dataDir, storeFile, path: process.env['PATH'], programs },
    )
    return 'problem' in trial ? { problem: trial.problem } : { mode: trial.boundary.mode }
  } finally {
    rmSync(dataDir, { recursive: true, force: true })
  }
}

const existing = (path: string): string => (existsSync(path) ? path : existing(dirname(path)))

const OPEN = 'agents can do what this user can do'

/** What keeps agents of `serve` apart from the host, and whether that works here. */
export function checkIsolation(
  { options: { mode, egress = 'open' }, otherwise, because }: ServedIsolation,
  tried: TriedMode,
): Finding {
  const { ok, warning, error } = verdicts('isolation')
  if (because !== undefined) return warning(`none, since ${because}: ${OPEN}`, 'see docs/isolation.md')
  if (mode === 'none' || mode === undefined)
    return 'mode' in tried
      ? warning(`none: ${OPEN}`, `${tried.mode} works here: set isolation.mode to "${tried.mode}"`)
      : warning(`none: ${OPEN}. Bubblewrap cannot be used: ${tried.problem}`, 'see docs/isolation.md')
  const whose = otherwise === undefined ? '' : ', the default of serve'
  if ('mode' in tried) {
    const found =
      tried.mode === 'user'
        ? 'a probe as the user of a tenant reached nothing of the host and of another tenant'
        : 'a probe reached nothing outside'
    return ok(`${tried.mode}${whose}: ${found}; network ${saysEgress(egress)}`)
  }
  const { problem } = tried
  if (otherwise === 'warn')
    return warning(
      `none, since bubblewrap, the default of serve, cannot be used: ${problem}`,
      `${OPEN}; see docs/isolation.md`,
    )
  const why = otherwise === 'refuse' ? 'a server of several tenants needs isolation: ' : ''
  return error(
    `${why}${problem}`,
    mode === 'user'
      ? 'run the host as root, or write another isolation.mode; see docs/isolation.md'
      : 'install bubblewrap, allow user namespaces, or write isolation.mode "none"; see docs/isolation.md',
  )
}
