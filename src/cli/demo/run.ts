import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createPool } from '../../index.ts'
import { processesOfThisHost } from '../../process/tree.ts'
import { startSimulator } from '../../simulator/server.ts'
import type { DemoReport } from './findings.ts'
import { DemoStory } from './story.ts'
import { printJson, printSummary, silent, storyteller } from './words.ts'
import { EXIT } from '../shared/exit.ts'
import { onSimulatedModel } from '../shared/simulated-model.ts'
import { listenForStop, stopped } from '../shared/stop.ts'

/** The flags of `demo`. */
export interface DemoFlags {
  json?: true
  keep?: true
}

/** So few that the demo can show a refusal. */
const TURNS_AT_ONCE = 2

/** Runs the demo and resolves with its exit code. A signal ends it in order. */
export async function demo({ json = false, keep = false }: { json?: boolean; keep?: boolean }): Promise<number> {
  using stop = listenForStop(['SIGINT', 'SIGTERM', 'SIGHUP'])
  const dataDir = await mkdtemp(join(tmpdir(), 'claude-agent-pool-demo-'))
  try {
    const report = await run(dataDir, json, stop.signal)
    if (report === undefined) {
      console.error('Stopped: the pool is closed.')
      return stop.signal.reason as number
    }
    if (json) printJson(report)
    else printSummary(report)
    return report.broken.length === 0 ? EXIT.done : EXIT.failed
  } finally {
    if (keep) console.error(`The data directory stays: ${dataDir}`)
    else await rm(dataDir, { recursive: true, force: true, maxRetries: 3 })
  }
}

/** Undefined: it was stopped. */
async function run(dataDir: string, json: boolean, stop: AbortSignal): Promise<DemoReport | undefined> {
  const begun = performance.now()
  const agent = { model: 'claude-sonnet-5', includePartialMessages: true }
  await using simulator = await startSimulator({ recordLimit: 0 })
  const options = {
    agents: { plain: { ...agent, spares: { max: 0 } }, spared: { ...agent, spares: { min: 1, max: 1 } } },
    limits: { turns: TURNS_AT_ONCE },
    dataDir,
  }
  await using pool = await createPool(onSimulatedModel(options, simulator.url))
  const story = new DemoStory(pool, json ? silent : storyteller())
  const telling = story.tell()
  telling.catch(() => undefined)
  await Promise.race([telling, stopped(stop)])
  if (stop.aborted) return undefined
  const before = processesOfThisHost().length
  await pool.close()
  // Counted, not taken from the pool: all that carry this process's mark, or hang on one that does.
  const left = processesOfThisHost().length
  const { findings } = story
  if (left > 0) findings.broken.push(`${left} processes were left after pool.close()`)
  return { ...findings, seconds: (performance.now() - begun) / 1_000, processes: { before, left } }
}
