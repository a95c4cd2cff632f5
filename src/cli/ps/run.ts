import { join } from 'node:path'
import { listWorkers } from './worker-list.ts'
import type { ListedWorker } from './worker-list.ts'
import { loadConfig } from '../../config/load.ts'
import { DEFAULT_DATA_DIR } from '../../index.ts'
import type { ProcessInfo } from '../../index.ts'
import { readRunFiles, registerRuns } from '../../process/run-files.ts'
import { ProcessTable } from '../../process/table.ts'
import { RUN_DIR } from '../../store/data-dir.ts'
import { formatDuration, formatSize } from '../../units.ts'
import { tableOf } from '../shared/table.ts'
import type { Column } from '../shared/table.ts'
import { columnsOf } from '../shared/text.ts'

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

const COLUMNS: readonly Column[] = [
  { head: 'worker', title: true },
  { head: 'session', title: true, least: 10 },
  { head: 'agent', least: 8 },
  { head: 'host', least: 10 },
  { head: 'pid', align: 'right' },
  { head: 'age', align: 'right' },
  { head: 'memory', align: 'right' },
  { head: 'command', least: 12 },
]

function print(workers: readonly ListedWorker[]): void {
  if (workers.length > 0) console.log(tableOf(COLUMNS, workers.flatMap(rowsOf), columnsOf(process.stdout)))
  else console.log(seesAll() ? 'No worker runs on this machine.' : 'No worker of this user runs on this machine.')
  // The kernel shows the environment, which has the marker, to its owner alone.
  if (!seesAll()) console.error('Workers of other users are not shown: run it as their user, or as root.')
}

const seesAll = (): boolean => process.platform !== 'linux' || process.getuid?.() === 0

/** Shows every process of every worker. Throws ConfigError for a config that cannot be read. */
export async function ps({ dataDir, config, json }: PsFlags): Promise<void> {
  const configured = dataDir ?? (await loadConfig(config, process.cwd())).options.dataDir
  const runDir = join(configured ?? DEFAULT_DATA_DIR, RUN_DIR)
  registerRuns(runDir)
  const workers = listWorkers(new ProcessTable().read(), readRunFiles(runDir))
  if (json === true) console.log(JSON.stringify(workers))
  else print(workers)
}
