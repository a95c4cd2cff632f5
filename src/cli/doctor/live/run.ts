import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../../../clock.ts'
import { agentEnvironment, hostEnvironment } from '../../../driver/environment.ts'
import { createPool } from '../../../index.ts'
import type { ApiOptions } from '../../../index.ts'
import { processesOfThisHost } from '../../../process/tree.ts'
import { createServer, listen } from '../../../server/index.ts'
import { PlainSdk, plainOptions } from './plain.ts'
import { liveAgents, liveSteps } from './steps.ts'
import type { Step } from './steps.ts'
import type { Times } from './stopwatch.ts'
import { NotHere } from './wire.ts'

/** What all of it costs at most, in dollars; beyond the lower figure no process is started. */
export const MOST_USD = 0.05
const STOP_AT_USD = 0.03

/** An answer has a few tokens. A model that goes on and on must not cost more than was said. */
const MOST_OUTPUT_TOKENS = '1000'

/** A step takes seconds; what hangs must not make the doctor hang. */
const STEP_MS = 120_000

/** What came of one step. */
export interface LiveFinding {
  name: string
  pool?: Times
  plain?: Times
  /** The step whose time of the plain SDK is meant, if it is another. */
  besides?: string
  costUsd: number
  /** What is not as promised. */
  broken?: string
  /** Why it was not tried. */
  skipped?: string
}

/** What `doctor --live` found. */
export interface LiveReport {
  model: string
  steps: LiveFinding[]
  costUsd: number
  /** Processes of this host that were there after the pool had closed. */
  left: number
  broken: string[]
}

/** How it is run. */
export interface LiveOptions {
  api: ApiOptions
  env: Readonly<Record<string, string | undefined>>
  /** What the agents' processes get beside it. */
  agentEnv: Readonly<Record<string, string | undefined>>
  model: string
  /** Told of each step when it is done. */
  told: (finding: LiveFinding) => void
  stop: AbortSignal
}

/** Tries the promises of the pool with the real model. Everything that it makes is removed. */
export async function runLive(options: LiveOptions): Promise<LiveReport> {
  const root = await mkdtemp(join(tmpdir(), 'claude-agent-pool-live-'))
  try {
    const steps = await tryAll(options, root)
    const left = processesOfThisHost().length
    const broken = steps.flatMap(({ name, broken: problem }) => (problem === undefined ? [] : [`${name}: ${problem}`]))
    if (left > 0) broken.push(`${left} processes were left after the pool had closed`)
    const costUsd = steps.reduce((sum, step) => sum + step.costUsd, 0)
    return { model: options.model, steps, costUsd, left, broken }
  } finally {
    await rm(root, { recursive: true, force: true, maxRetries: 3 })
  }
}

async function tryAll(options: LiveOptions, root: string): Promise<LiveFinding[]> {
  const { api, env, model, told, stop } = options
  const agentEnv = { ...options.agentEnv, CLAUDE_CODE_MAX_OUTPUT_TOKENS: MOST_OUTPUT_TOKENS }
  const asked: string[] = []
  const agents = liveAgents({ model, env: agentEnv }, (tool) => asked.push(tool))
  await using pool = await createPool({ dataDir: join(root, 'data'), api, agents, limits: { turnTimeoutMs: STEP_MS } })
  const server = createServer(pool)
  const listening = await listen(server, { port: 0 })
  const places = { home: root, configDir: join(root, 'config'), tmpDir: root }
  const environment = agentEnvironment(hostEnvironment(api, env), places, agentEnv)
  await using plain = new PlainSdk(join(root, 'plain'), (name) => plainOptions(agents[name] ?? {}, environment))
  const findings: LiveFinding[] = []
  try {
    for (const step of liveSteps({ pool, url: listening.url, model, plain }, asked)) {
      if (stop.aborted) break
      const spent = findings.reduce((sum, { costUsd }) => sum + costUsd, 0)
      const costs = (): number => pool.stats().usage.total.costUsd
      const finding = spent > STOP_AT_USD ? tooDear(step, spent) : await tryStep(step, costs, spent)
      findings.push(finding)
      told(finding)
    }
  } finally {
    await listening.drain(AbortSignal.abort())
  }
  return findings
}

const tooDear = ({ name }: Step, spent: number): LiveFinding => ({
  name,
  costUsd: 0,
  broken: `not tried: $${spent.toFixed(3)} were spent before it, and all of it was to cost less than $${MOST_USD}`,
})

async function tryStep(step: Step, costs: () => number, spent: number): Promise<LiveFinding> {
  const { name, besides } = step
  const finding: LiveFinding = { name, costUsd: 0, ...(besides === undefined ? {} : { besides }) }
  const before = costs()
  try {
    const { firstMs, wholeMs, text, failed, broken } = await inTime(step.pool())
    finding.pool = { firstMs, wholeMs }
    if (failed) finding.broken = `the turn failed: ${text.slice(0, 200)}`
    else if (broken !== undefined) finding.broken = broken
  } catch (error) {
    if (error instanceof NotHere) finding.skipped = error.message
    else finding.broken = (error as Error).message
  }
  finding.costUsd += costs() - before
  if (step.plain === undefined || finding.skipped !== undefined || spent + finding.costUsd > STOP_AT_USD) return finding
  try {
    const { firstMs, wholeMs, costUsd } = await inTime(step.plain())
    finding.plain = { firstMs, wholeMs }
    finding.costUsd += costUsd
  } catch (error) {
    finding.broken ??= `the plain SDK failed: ${(error as Error).message}`
  }
  return finding
}

async function inTime<T>(work: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>()
  const cancel = systemClock.after(STEP_MS, () => reject(new Error(`it did not end within ${STEP_MS / 1_000} s`)))
  try {
    return await Promise.race([work, promise])
  } finally {
    cancel()
  }
}
