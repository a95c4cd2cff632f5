import { join } from 'node:path'
import { systemClock } from '../../clock.ts'
import { loadConfig } from '../../config/load.ts'
import { checkIsolation, limitedBy, triedBoundary } from './isolation.ts'
import { exposuresOf, memoryIsOpen } from '../../credentials/exposure.ts'
import { ConfigError } from '../../errors.ts'
import { DEFAULT_DATA_DIR } from '../../index.ts'
import type { PoolOptions } from '../../index.ts'
import { readIsolation } from '../../options/isolation.ts'
import { PROXY_ID } from '../../process/marker.ts'
import { swapSpace } from '../../process/cgroup-memory.ts'
import { findOrphans, reap } from '../../process/reaper.ts'
import { registerRuns } from '../../process/run-files.ts'
import type { ProcessEntry } from '../../process/table.ts'
import { RUN_DIR } from '../../store/data-dir.ts'
import {
  findSetpriv,
  readCgroups,
  readClock,
  readDescriptorLimit,
  readSoftware,
  readTasks,
  tryNamespace,
} from './facts.ts'
import type { Finding, Verdict } from './finding.ts'
import {
  checkCgroups,
  checkFreezing,
  checkClock,
  checkDescriptors,
  checkDisk,
  checkMemory,
  checkNamespaces,
  checkOrphans,
  checkSetpriv,
  checkTasks,
} from './machine.ts'
import { checkExposure, checkPlacement } from './credentials.ts'
import { credentialsOf, placementsOf, withRefreshed } from './credential-facts.ts'
import { checkServerSecrets, secretPlacesOf } from './server-secrets.ts'
import { checkServers, tryServers } from './servers.ts'
import { checkClaude, checkConfig, checkCredential, checkEnvironment, checkNode, checkSdk } from './software.ts'
import type { ConfigFacts } from './software.ts'
import { EXIT, oneLine } from '../shared/exit.ts'
import { readDisk, readMemory } from '../shared/machine-facts.ts'
import { secretsIn } from '../shared/secrets.ts'
import type { LiveReport } from './live/run.ts'
import { servedIsolation } from '../shared/serve-isolation.ts'
import type { ServedIsolation } from '../shared/serve-isolation.ts'
import { fromEnvironment, planOf } from '../shared/serve-plan.ts'
import { brokenCredentials, credentialSource } from '../shared/simulated-model.ts'
import { styleOf } from '../shared/style.ts'

/** The flags of `doctor`. */
export interface DoctorFlags {
  config?: string
  dataDir?: string
  reap?: true
  dryRun?: true
  live?: true
  model?: string
  json?: true
}

const processes = (count: number): string => (count === 1 ? '1 process' : `${count} processes`)

interface ReadConfig {
  facts: ConfigFacts
  options?: PoolOptions
  isolation: ServedIsolation
}

/** What the config says, or what is wrong with it. */
async function readConfig(file: string | undefined): Promise<ReadConfig> {
  try {
    const config = await loadConfig(file, process.cwd())
    const { file: found, options } = config
    const { isolation } = planOf(fromEnvironment({}), config)
    return { facts: { file: found, agents: Object.keys(options.agents) }, options: options as PoolOptions, isolation }
  } catch (error) {
    if (error instanceof ConfigError)
      return { facts: { problem: oneLine(error.message) }, isolation: servedIsolation({ agents: {} }, {}) }
    throw error
  }
}

/** All checks, in the order in which an operator would repair what they find. */
async function examine(config: ReadConfig, dataDir: string): Promise<Finding[]> {
  const [{ sdk, claude }, namespaces, clock] = await Promise.all([readSoftware(), tryNamespace(), readClock()])
  const memory = readMemory()
  const cgroups = readCgroups(limitedBy(config.options ?? { agents: {} }))
  const written = config.options ?? { agents: {} }
  const { options, problem } = await withRefreshed(written)
  const servers = await tryServers(options)
  const { credentials } = readIsolation(options.isolation)
  const secrets = checkServerSecrets(secretPlacesOf(options, credentials))
  return [
    checkNode(process.versions.node),
    checkSdk(sdk),
    checkClaude(claude),
    checkConfig(config.facts),
    checkCredential({
      from: credentialSource(written, process.env),
      broken: brokenCredentials(process.env),
      problem,
    }),
    checkEnvironment(secretsIn(process.env)),
    ...(servers === undefined ? [] : [checkServers(servers)]),
    checkIsolation(config.isolation, await triedBoundary(config.isolation, options, dataDir)),
    checkPlacement(credentials, placementsOf(options)),
    ...(secrets === undefined ? [] : [secrets]),
    checkExposure({
      ownPid: process.pid,
      exposures: exposuresOf(credentialsOf(options)),
      memoryIsOpen: memoryIsOpen(),
    }),
    checkMemory(memory),
    checkCgroups(cgroups),
    ...(freezes(options) ? [checkFreezing({ places: cgroups.places, swap: swapSpace() })] : []),
    checkDescriptors(readDescriptorLimit(), memory.limitBytes),
    checkTasks(readTasks(), memory.limitBytes),
    ...(process.platform === 'linux' ? [checkNamespaces(namespaces), checkSetpriv(findSetpriv())] : []),
    checkDisk(readDisk(dataDir)),
    checkClock(clock),
  ]
}

const freezes = ({ residency, agents }: Pick<PoolOptions, 'agents' | 'residency'>): boolean =>
  [residency, ...Object.values(agents).map((agent) => agent.residency)].some((given) => given?.freeze === 'auto')

const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`

const SHOWN: Record<Verdict, string> = { ok: 'ok', warning: 'warning', error: 'ERROR' }

function print(findings: readonly Finding[]): void {
  const style = styleOf(process.stdout)
  const paint: Record<Verdict, (text: string) => string> = { ok: style.green, warning: style.bold, error: style.red }
  const width = Math.max(...findings.map(({ check }) => check.length))
  for (const { check, verdict, says, advice } of findings) {
    console.log(`${paint[verdict](SHOWN[verdict].padEnd(7))}  ${check.padEnd(width)}  ${says}`)
    if (advice !== undefined) console.log(`${' '.repeat(9 + width)}  ${style.dim(`→ ${advice}`)}`)
  }
}

function printOrphans(orphans: readonly ProcessEntry[]): void {
  for (const { pid, marker } of orphans) {
    const what = marker?.workerId === PROXY_ID ? 'credential proxy' : `worker ${marker?.workerId}`
    console.log(`  orphan ${pid}: ${what} of host ${marker?.host.pid}`)
  }
}

const described = (orphans: readonly ProcessEntry[]): object[] =>
  orphans.map(({ pid, marker }) => ({ pid, worker: marker?.workerId, host: marker?.host.pid }))

/** Ends what was left behind; with `dryRun` only shows it. */
async function endOrphans(orphans: readonly ProcessEntry[], dryRun: boolean, json: boolean): Promise<number> {
  const { pids, left } = dryRun ? { pids: [], left: orphans.length } : await reap(systemClock)
  if (json) console.log(JSON.stringify({ orphans: described(orphans), ended: pids, left }))
  else {
    printOrphans(orphans)
    if (dryRun) console.log(`orphans: ${left === 0 ? 'none' : processes(left)}`)
    else console.log(`orphans: ended ${processes(pids.length)}, ${left} left`)
  }
  return left === 0 ? EXIT.done : EXIT.failed
}

/** With the real model; a number is the exit code of a signal. */
async function tryLive(options: PoolOptions = { agents: {} }, flags: DoctorFlags): Promise<LiveReport | number> {
  const { checkLive } = await import('./live/check.ts')
  return checkLive(options, flags)
}

/** Says what is well here and what is not, or ends what was left behind. Resolves with the exit code. */
export async function doctor(flags: DoctorFlags): Promise<number> {
  const { json = false, reap: reaping = false, dryRun = false } = flags
  if (flags.live !== true && flags.model !== undefined) throw new ConfigError('--model', 'is for --live alone')
  const config = await readConfig(flags.config)
  const dataDir = flags.dataDir ?? config.options?.dataDir ?? DEFAULT_DATA_DIR
  registerRuns(join(dataDir, RUN_DIR))
  const orphans = findOrphans()
  if (reaping || dryRun) return endOrphans(orphans, dryRun, json)
  const findings = [...(await examine(config, dataDir)), checkOrphans(orphans.length)]
  const errors = findings.filter(({ verdict }) => verdict === 'error').length
  const warnings = findings.filter(({ verdict }) => verdict === 'warning').length
  if (!json) {
    print(findings)
    printOrphans(orphans)
    console.log(`\n${counted(errors, 'error')}, ${counted(warnings, 'warning')}`)
  }
  const live = flags.live === true ? await tryLive(config.options, flags) : { broken: [] }
  if (typeof live === 'number') return live
  if (json) {
    const found = {
      checks: findings,
      errors,
      warnings,
      orphans: described(orphans),
      ended: [],
      left: orphans.length,
    }
    console.log(JSON.stringify(flags.live === true ? { ...found, live } : found))
  }
  return errors === 0 && live.broken.length === 0 ? EXIT.done : EXIT.failed
}
