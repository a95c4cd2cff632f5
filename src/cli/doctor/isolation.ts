import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { tryBoundary } from '../../isolation/isolation.ts'
import type { PoolOptions } from '../../index.ts'
import { hasRemotes } from '../../agents/remotes.ts'
import { Confinements } from '../../isolation/confinement.ts'
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

/** Tries the sandbox as `serve` with this config would; what is wrong with it, or undefined. */
export async function boundaryProblem(
  { options }: ServedIsolation,
  { agents }: Pick<PoolOptions, 'agents'>,
): Promise<string | undefined> {
  const isolation = readIsolation(options)
  const network = new Confinements(isolation).needs(confined({ agents })) ?? 'open'
  const dataDir = mkdtempSync(join(tmpdir(), 'claude-agent-pool-doctor-'))
  const storeFile = join(dataDir, 'store')
  try {
    writeFileSync(storeFile, '')
    const trial = await tryBoundary(
      { network, paths: isolation.paths },
      { dataDir, storeFile, path: process.env['PATH'] },
    )
    return 'problem' in trial ? trial.problem : undefined
  } finally {
    rmSync(dataDir, { recursive: true, force: true })
  }
}

const OPEN = 'agents can do what this user can do'

/** What keeps agents of `serve` apart from the host, and whether that works here. */
export function checkIsolation(
  { options: { mode, egress = 'open' }, otherwise, because }: ServedIsolation,
  problem: string | undefined,
): Finding {
  const { ok, warning, error } = verdicts('isolation')
  if (because !== undefined) return warning(`none, since ${because}: ${OPEN}`, 'see docs/isolation.md')
  if (mode === 'none' || mode === undefined)
    return problem === undefined
      ? warning(`none: ${OPEN}`, 'bubblewrap works here: set isolation.mode to "bubblewrap"')
      : warning(`none: ${OPEN}. Bubblewrap cannot be used: ${problem}`, 'see docs/isolation.md')
  const whose = otherwise === undefined ? '' : ', the default of serve'
  if (problem === undefined)
    return ok(`bubblewrap${whose}: a probe reached nothing outside; network ${saysEgress(egress)}`)
  if (otherwise === 'warn')
    return warning(
      `none, since bubblewrap, the default of serve, cannot be used: ${problem}`,
      `${OPEN}; see docs/isolation.md`,
    )
  const why = otherwise === 'refuse' ? 'a server of several tenants needs isolation: ' : ''
  return error(
    `${why}${problem}`,
    'install bubblewrap, allow user namespaces, or write isolation.mode "none"; see docs/isolation.md',
  )
}
