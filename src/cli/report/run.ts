import { writeFile } from 'node:fs/promises'
import { availableParallelism, release } from 'node:os'
import { loadConfig } from '../../config/load.ts'
import type { HostOverview } from '../../control/operations.ts'
import { ConfigError } from '../../errors.ts'
import { fileProblem } from '../../options/file-problem.ts'
import { packageVersion } from '../../package-version.ts'
import type { Verdict } from '../../telemetry/verdict.ts'
import { formatSize } from '../../units.ts'
import { EXIT } from '../shared/exit.ts'
import { readDisk, readMemory } from '../shared/machine-facts.ts'
import { askHost, dataDirOf } from '../shared/running-host.ts'
import type { DataDirFlags } from '../shared/running-host.ts'
import { styleOf } from '../shared/style.ts'
import { redactedConfig, redactedHost } from './redact.ts'

/** The flags of `report`. */
export interface ReportFlags extends DataDirFlags {
  output?: string
  json?: true
}

/** A host that does not answer in this time hangs. */
const ANSWER_MS = 10_000

const DOWN: Verdict = {
  state: 'failing',
  says: 'No host runs on this data directory: nothing flows.',
  because: [],
  next: ['start it ("claude-agent-pool serve")', 'look for processes that it left: "claude-agent-pool doctor"'],
}

const HANGS: Verdict = {
  state: 'failing',
  says: 'The host does not answer: nothing can be said of its traffic.',
  because: [`no answer came within ${ANSWER_MS / 1_000} s`],
  next: ['look at its log and at its event_loop_lag_seconds', 'end it with SIGTERM; sessions go on with the next host'],
}

/** Says how traffic goes, and writes a bundle for a ticket if asked. Resolves with the exit code: 1 if turns are refused or fail. */
export async function report({ output, json, ...flags }: ReportFlags): Promise<number> {
  const dataDir = await dataDirOf(flags)
  const { host, verdict } = await judge(dataDir)
  const bundle = {
    report: 1,
    verdict,
    ...softwareFacts(),
    machine: machineFacts(dataDir),
    config: await configFacts(flags),
    host: host === undefined ? null : redactedHost(host),
  }
  if (output !== undefined) await write(output, bundle)
  if (json === true) console.log(JSON.stringify(bundle))
  else print(verdict, output)
  return verdict.state === 'refusing' || verdict.state === 'failing' ? EXIT.failed : EXIT.done
}

async function judge(dataDir: string): Promise<{ host: HostOverview | undefined; verdict: Verdict }> {
  try {
    const answer = await askHost(dataDir, { do: 'overview' }, ANSWER_MS)
    const host = answer?.value as HostOverview | undefined
    return { host, verdict: host?.verdict ?? DOWN }
  } catch {
    return { host: undefined, verdict: HANGS }
  }
}

function softwareFacts(): object {
  const { platform, arch, versions } = process
  return { version: packageVersion(), node: versions.node, platform, arch, kernel: release() }
}

function machineFacts(dataDir: string): object {
  const { limitBytes } = readMemory()
  const { freeBytes, writable } = readDisk(dataDir)
  return {
    cores: availableParallelism(),
    memoryLimit: formatSize(limitBytes),
    diskFree: formatSize(freeBytes),
    writable,
  }
}

/** A config that cannot be read is a fact, too. */
async function configFacts({ config }: DataDirFlags): Promise<unknown> {
  try {
    const { options, server } = await loadConfig(config, process.cwd())
    return redactedConfig({ ...options, server })
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return { invalid: error.path }
  }
}

/** A file of someone else is not replaced. */
async function write(file: string, bundle: object): Promise<void> {
  try {
    await writeFile(file, `${JSON.stringify(bundle, undefined, 2)}\n`, { flag: 'wx', mode: 0o600 })
  } catch (error) {
    throw new ConfigError('--output', `${file} cannot be written: ${fileProblem(error)}`, { cause: error })
  }
}

function print({ state, says, because, next }: Verdict, output: string | undefined): void {
  const { bold, dim } = styleOf(process.stdout)
  console.log(bold(`${state}: ${says}`))
  if (because.length > 0) console.log(`\nWhy:\n${because.map((fact) => `  - ${fact}`).join('\n')}`)
  if (next.length > 0) console.log(`\nNext:\n${next.map((advice) => `  - ${advice}`).join('\n')}`)
  console.log(
    dim(
      output === undefined
        ? '\n--output FILE writes all of it for a ticket, without secrets, names of tenants and sessions, and what was said. It has names of tools and MCP servers.'
        : `\nWrote ${output}: it has no secrets, no names of tenants and sessions, and nothing that was said.`,
    ),
  )
}
