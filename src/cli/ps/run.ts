import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { listWorkers } from './worker-list.ts'
import type { ListedWorker } from './worker-list.ts'
import type { ProcessInfo, TurnInfo } from '../../index.ts'
import { PROXY_ID } from '../../process/marker.ts'
import { readRunFiles, registerRuns } from '../../process/run-files.ts'
import { ProcessTable } from '../../process/table.ts'
import { RUN_DIR } from '../../store/data-dir.ts'
import { formatDuration, formatSize, parseDuration } from '../../units.ts'
import { EXIT } from '../shared/exit.ts'
import { phaseWords } from '../shared/phase-words.ts'
import { askHost, dataDirOf } from '../shared/running-host.ts'
import type { DataDirFlags } from '../shared/running-host.ts'
import { listenForStop } from '../shared/stop.ts'
import { tableOf } from '../shared/table.ts'
import type { Column } from '../shared/table.ts'
import { columnsOf } from '../shared/text.ts'

/** The flags of `ps`. */
export interface PsFlags extends DataDirFlags {
  json?: boolean
  watch?: true | string
}

/** How often `--watch` looks by default. */
const WATCH_EVERY = '2s'

/** Moves the cursor of a terminal to its beginning, and clears what is below. */
const CLEAR = '\u001B[H\u001B[J'

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

function rowsOf({ id, state, host, run, phase, processes }: ListedWorker): string[][] {
  const serves = id === PROXY_ID ? ['-', '-'] : [sessionOf(run), run?.agent ?? '?']
  const owner = state === 'running' ? `host ${host.pid}` : `orphan of ${host.pid}`
  return processes.map((process, index) => [
    ...(index === 0 ? [id, ...serves, owner, phaseWords(phase)] : ['', '', '', '', '']),
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
  { head: 'phase', least: 8 },
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

/** A host that does not answer in this time is listed without what its turns do. */
const ANSWER_MS = 2_000

/** What the turns of the host do that runs on a data directory. */
async function turnsOf(dataDir: string): Promise<readonly TurnInfo[]> {
  const answer = await askHost(dataDir, { do: 'turns' }, ANSWER_MS).catch(() => undefined)
  return (answer?.value ?? []) as readonly TurnInfo[]
}

async function show(dataDir: string, json: boolean): Promise<void> {
  const runDir = join(dataDir, RUN_DIR)
  registerRuns(runDir)
  const workers = listWorkers(new ProcessTable().read(), readRunFiles(runDir), await turnsOf(dataDir))
  if (json) console.log(JSON.stringify(workers))
  else print(workers)
}

/** Shows every process of every worker again and again, until a signal or the reader of the output ends it. Resolves with the exit code. */
async function watchAll(dataDir: string, json: boolean, everyMs: number): Promise<number> {
  using stop = listenForStop(['SIGINT', 'SIGTERM'])
  const { signal } = stop
  while (!signal.aborted) {
    if (process.stdout.isTTY) console.log(CLEAR)
    await show(dataDir, json)
    // An abort ends the wait.
    await setTimeout(everyMs, undefined, { signal }).catch(() => undefined)
  }
  return signal.reason as number
}

/** Shows every process of every worker. Resolves with the exit code. Throws ConfigError for a config that cannot be read. */
export async function ps({ json = false, watch, ...flags }: PsFlags): Promise<number> {
  const everyMs = watch === undefined ? undefined : parseDuration('--watch', watch === true ? WATCH_EVERY : watch)
  const dataDir = await dataDirOf(flags)
  if (everyMs !== undefined) return watchAll(dataDir, json, everyMs)
  await show(dataDir, json)
  return EXIT.done
}
