import { mkdtemp, rm } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { loadConfig } from '../../config/load.ts'
import { ConfigError } from '../../errors.ts'
import { MemoryBox } from '../../memory/box.ts'
import { readMemory } from '../shared/machine-facts.ts'
import { loadScenario, startSimulator } from '../../simulator/server.ts'
import { parseSize } from '../../units.ts'
import { EXIT } from '../shared/exit.ts'
import { Progress } from './progress.ts'
import { MeasuredHost } from './measured-host.ts'
import type { OpenRequest } from './host.ts'
import { printSize } from './print.ts'
import { reportOf } from './report.ts'
import type { Filled, Measured, SizeReport } from './report.ts'
import type { WorkerTrees } from './trees.ts'
import { listenForStop } from '../shared/stop.ts'
import { Unwinding } from '../../unwinding.ts'

/** The flags of `size`. */
export interface SizeFlags {
  config?: string
  agent?: string
  scenario?: string
  memory?: string
  workers: string
  rounds: string
  json?: true
}

/** What a turn does where no scenario says it: two seconds of text. */
const DIRECTIVE = '@sim tokens 100 pace 20'

const SAMPLE_MS = 100
/** A process that did something takes a moment to give back what it does not need. */
const SETTLE_MS = 3_000
const FILL = { warmUpMs: 15_000, ms: 20_000 }
const BOX_LEAST_BYTES = 512 * 2 ** 20
/** Only where two run can one tell what they share. */
const WORKERS = { least: 2, most: 64 }

interface Plan {
  config: string | undefined
  agent: string
  scenario: string | undefined
  boxBytes: number | undefined
  workers: number
  rounds: number
}

function whole(flag: string, text: string, least: number, most: number): number {
  const value = /^\d{1,4}$/.test(text) ? Number(text) : Number.NaN
  if (!(value >= least && value <= most))
    throw new ConfigError(flag, `"${text}" is not a number from ${least} to ${most}`)
  return value
}

async function planOf(flags: SizeFlags): Promise<Plan> {
  if (process.platform !== 'linux')
    throw new ConfigError('size', 'it measures by /proc, which only Linux has; run it where the pool will run')
  const { file, options } = await loadConfig(flags.config, process.cwd())
  const names = Object.keys(options.agents)
  const agent = flags.agent ?? names[0] ?? ''
  if (flags.agent === undefined && names.length > 1)
    throw new ConfigError('--agent', `is needed; the config has: ${names.join(', ')}`)
  if (!names.includes(agent))
    throw new ConfigError('--agent', `there is no agent "${agent}"; known are: ${names.join(', ')}`)
  const boxBytes = flags.memory === undefined ? undefined : parseSize('--memory', flags.memory)
  if (boxBytes !== undefined && boxBytes < BOX_LEAST_BYTES)
    throw new ConfigError('--memory', `"${flags.memory}" is less than 512MiB: a host and a turn would hardly fit`)
  return {
    config: file,
    agent,
    scenario: flags.scenario,
    boxBytes,
    workers: whole('--workers', flags.workers, WORKERS.least, WORKERS.most),
    rounds: whole('--rounds', flags.rounds, 1, 1_000),
  }
}

/** The most that each worker had while `work` ran. */
async function peaks<T>(trees: WorkerTrees, work: Promise<T>): Promise<{ result: T; most: Map<string, number> }> {
  const most = new Map<string, number>()
  let over = false
  const finished = work.finally(() => {
    over = true
  })
  finished.catch(() => undefined)
  while (!over) {
    for (const [worker, bytes] of trees.read()) most.set(worker, Math.max(most.get(worker) ?? 0, bytes))
    await Promise.race([sleep(SAMPLE_MS), finished.catch(() => undefined)])
  }
  return { result: await finished, most }
}

async function measure(
  host: MeasuredHost,
  plan: Plan,
  open: OpenRequest,
  progress: Progress,
  signal: AbortSignal,
): Promise<Measured> {
  const { workers, rounds } = plan
  await host.ask('open', open)
  await sleep(SETTLE_MS, undefined, { signal })
  const baselineBytes = host.trees.host()
  const starts: number[] = []
  const known = new Set<string>()
  for (let worker = 1; worker <= workers; worker += 1) {
    progress.say(`worker ${worker} of ${workers} starts`)
    const { most } = await peaks(host.trees, host.ask('start'))
    // Of the first one it cannot be told what is its own and what it would share.
    for (const [id, bytes] of most) if (!known.has(id) && worker > 1) starts.push(bytes)
    for (const id of host.trees.read().keys()) known.add(id)
  }
  const turns: number[] = []
  const failed: Record<string, number> = {}
  const cpu = { seconds: 0, turnSeconds: 0 }
  for (let round = 1; round <= rounds; round += 1) {
    progress.say(`turns ${(round - 1) * workers + 1} to ${round * workers} of ${rounds * workers}`)
    const before = host.trees.cpuSeconds()
    const { result, most } = await peaks(host.trees, host.ask('turns'))
    cpu.seconds += Math.max(0, host.trees.cpuSeconds() - before)
    cpu.turnSeconds += result.seconds
    turns.push(...most.values())
    for (const [name, times] of Object.entries(result.failed)) failed[name] = (failed[name] ?? 0) + times
  }
  progress.say('idle workers')
  await sleep(SETTLE_MS, undefined, { signal })
  const measured = {
    baselineBytes,
    sharedBytes: host.trees.shared(),
    starts,
    idle: [...host.trees.read().values()],
    turns,
    cpu,
    failed,
  }
  await host.ask('close')
  return measured
}

/** Lets more ask than fit, and sees how many turns run at once under the pool's own governor. */
async function fill(
  host: MeasuredHost,
  box: MemoryBox,
  limitBytes: number,
  open: OpenRequest,
  asking: number,
): Promise<Filled> {
  await host.ask('open', { ...open, workers: undefined })
  const before = box.read().oomKills
  let peakBytes = 0
  let over = false
  const filling = host.ask('fill', { asking, ...FILL }).finally(() => {
    over = true
  })
  filling.catch(() => undefined)
  while (!over) {
    peakBytes = Math.max(peakBytes, box.read().usedBytes)
    await Promise.race([sleep(SAMPLE_MS), filling.catch(() => undefined)])
  }
  const result = await filling
  await host.ask('close')
  return { limitBytes, asking, ...result, peakBytes, oomKills: box.read().oomKills - before }
}

async function run(plan: Plan, tmp: string, progress: Progress, stop: AbortSignal): Promise<SizeReport> {
  await using unwinding = new Unwinding()
  const scenario = plan.scenario === undefined ? {} : { scenario: await loadScenario(plan.scenario) }
  const simulator = unwinding.use(await startSimulator({ recordLimit: 0, ...scenario }))
  const box = plan.boxBytes === undefined ? undefined : boxOf(plan.boxBytes, unwinding)
  progress.say('the host starts')
  const host = unwinding.use(new MeasuredHost(tmp, box, stop))
  await host.ready()
  const open = (dataDir: string, workers: number | undefined): OpenRequest => ({
    config: plan.config,
    agent: plan.agent,
    url: simulator.url,
    directive: plan.scenario === undefined ? DIRECTIVE : '',
    dataDir: join(tmp, dataDir),
    workers,
  })
  const measured = await measure(host, plan, open('measured', plan.workers), progress, stop)
  const limitBytes = plan.boxBytes ?? readMemory().limitBytes
  const cores = availableParallelism()
  const estimated = reportOf(plan.agent, measured, { limitBytes, cores })
  if (box === undefined) return estimated
  const fits = estimated.fits.find(({ memoryBytes }) => memoryBytes === limitBytes)?.turns ?? 0
  const asking = Math.max(4, 2 * fits)
  progress.say(`${asking} conversations fill the box, for ${Math.round((FILL.warmUpMs + FILL.ms) / 1_000)} s`)
  const filled = await fill(host, box, limitBytes, open('filled', undefined), asking)
  return reportOf(plan.agent, measured, { limitBytes, cores }, filled)
}

function boxOf(bytes: number, unwinding: Unwinding): MemoryBox {
  const box = MemoryBox.make(bytes)
  if (box === undefined)
    throw new ConfigError(
      '--memory',
      'no memory cgroup can be made here: it takes root on Linux, and a cgroup tree that may be written to (in a container: --privileged). Without --memory it measures and computes',
    )
  unwinding.defer(async () => {
    for (let tries = 0; !box.remove() && tries < 100; tries += 1) await sleep(50)
  })
  return box
}

/** Measures, reports, and resolves with the exit code. A signal ends it in order. */
export async function size(flags: SizeFlags): Promise<number> {
  using stop = listenForStop(['SIGINT', 'SIGTERM', 'SIGHUP'])
  const plan = await planOf(flags)
  const tmp = await mkdtemp(join(tmpdir(), 'claude-agent-pool-size-'))
  const progress = new Progress(process.stderr)
  try {
    const report = await run(plan, tmp, progress, stop.signal)
    progress.clear()
    if (flags.json === true) console.log(JSON.stringify(report))
    else printSize(report)
    const failed = { ...report.failed, ...report.filled?.failed }
    return Object.keys(failed).length === 0 ? EXIT.done : EXIT.failed
  } catch (error) {
    if (!stop.signal.aborted) throw error
    progress.clear()
    console.error('Stopped: nothing is left.')
    return stop.signal.reason as number
  } finally {
    progress.clear()
    await rm(tmp, { recursive: true, force: true, maxRetries: 3 })
  }
}
