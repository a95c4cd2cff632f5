import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { StartError } from '../../errors.ts'
import type { PoolOptions } from '../../index.ts'
import { openBoundary } from '../../isolation/isolation.ts'
import { readIsolation } from '../../options/isolation.ts'
import { verdicts } from './finding.ts'
import type { Finding } from './finding.ts'

/** Tries the sandbox as a pool with this config would; what is wrong with it, or undefined. */
export async function tryBoundary(options: Pick<PoolOptions, 'isolation'>): Promise<string | undefined> {
  const { egress, paths } = readIsolation(options.isolation)
  const dataDir = mkdtempSync(join(tmpdir(), 'claude-agent-pool-doctor-'))
  const storeFile = join(dataDir, 'store')
  try {
    writeFileSync(storeFile, '')
    await openBoundary({ mode: 'bubblewrap', egress, paths }, { dataDir, storeFile, path: process.env['PATH'] })
    return undefined
  } catch (error) {
    if (!(error instanceof StartError)) throw error
    return error.message
  } finally {
    rmSync(dataDir, { recursive: true, force: true })
  }
}

/** What keeps agents apart from the host, and whether that works here. */
export function checkIsolation(mode: 'none' | 'bubblewrap', problem: string | undefined): Finding {
  const { ok, warning, error } = verdicts('isolation')
  if (mode === 'bubblewrap')
    return problem === undefined
      ? ok('bubblewrap: a probe reached nothing outside')
      : error(
          problem,
          'install bubblewrap, allow user namespaces, or write isolation.mode "none"; see docs/isolation.md',
        )
  return problem === undefined
    ? warning('none: agents can do what this user can do', 'bubblewrap works here: set isolation.mode to "bubblewrap"')
    : warning(`none: agents can do what this user can do. ${problem}`, 'see docs/isolation.md')
}
