import { join } from 'node:path'
import Table from 'cli-table3'
import { listWorkers } from './worker-list.ts'
import type { ListedWorker } from './worker-list.ts'
import { loadConfig } from '../config/load.ts'
import { DEFAULT_DATA_DIR } from '../index.ts'
import type { ProcessInfo } from '../index.ts'
import { readRunFiles, registerRuns } from '../process/run-files.ts'
import { ProcessTable } from '../process/table.ts'
import { RUN_DIR } from '../store/data-dir.ts'
import { formatDuration, formatSize } from '../units.ts'

/** The flags of `ps`. */
export interface PsFlags {
  dataDir?: string
  config?: string
  json?: true
}

/** Longer command lines are cut: their beginning tells them apart. */
const COMMAND_COLUMNS = 32

const memory = ({ memoryBytes }: ProcessInfo): string => (memoryBytes === undefined ? '-' : formatSize(memoryBytes))

const branch = ({ depth, command }: ProcessInfo): string =>
  `${depth === 0 ? '' : `${'  '.repeat(depth - 1)}└ `}${command}`.slice(0, COMMAND_COLUMNS)

/** Keys are those of a tenant. */
function sessionOf(run: ListedWorker['run']): string {
  if (run === undefined) return '?'
  const { session = '(spare)', tenant } = run
  return tenant === 'default' ? session : `${tenant}/${session}`
}

function rowsOf({ id, state, host, run, processes }: ListedWorker): string[][] {
  const owner = state === 'running' ? `host ${host.pid}` : `orphan of ${host.pid}`
  return processes.map((process, index) => [
    ...(index === 0 ? [id, sessionOf(run), run?.agent ?? '?', owner] : ['', '', '', '']),
    String(process.pid),
    formatDuration(process.ageMs),
    memory(process),
    branch(process),
  ])
}

function print(workers: readonly ListedWorker[]): void {
  if (workers.length === 0) return console.log('No worker runs on this machine.')
  const table = new Table({
    head: ['worker', 'session', 'agent', 'host', 'pid', 'age', 'memory', 'command'],
    style: { head: [], border: [] },
    colAligns: ['left', 'left', 'left', 'left', 'right', 'right', 'right', 'left'],
  })
  for (const worker of workers) table.push(...rowsOf(worker))
  console.log(table.toString())
}

/** Shows every process of every worker. Throws ConfigError for a config that cannot be read. */
export async function ps({ dataDir, config, json }: PsFlags): Promise<void> {
  const configured = dataDir ?? (await loadConfig(config, process.cwd())).options.dataDir
  const runDir = join(configured ?? DEFAULT_DATA_DIR, RUN_DIR)
  registerRuns(runDir)
  const workers = listWorkers(new ProcessTable().read(), readRunFiles(runDir))
  if (json === true) console.log(JSON.stringify(workers))
  else print(workers)
}
