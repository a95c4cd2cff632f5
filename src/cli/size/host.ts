/** The host that `size` measures: a process of its own, in the box if there is one. It does what its parent asks, and ends with it. */
import { loadConfig } from '../../config/load.ts'
import { CapacityError, PoolError, createPool } from '../../index.ts'
import type { AgentOptions, Pool, PoolOptions, Session } from '../../index.ts'
import { quantile } from './report.ts'
import { onSimulatedModel } from '../shared/simulated-model.ts'

/** How a pool is opened: to measure its workers, or to see how many turns it takes. */
export interface OpenRequest {
  config: string | undefined
  agent: string
  url: string
  dataDir: string
  /** Follows each prompt. */
  directive: string
  /** Exactly so many workers; undefined: as the config says, by default as many as fit into memory. */
  workers: number | undefined
}

/** What the parent may ask for, and what it gets. */
export interface SizeHost {
  open: (request: OpenRequest) => Promise<void>
  /** Brings up the worker of one more session. */
  start: () => Promise<void>
  /** One turn of every session, at the same time; resolves with what went wrong, and how long they took together. */
  turns: () => Promise<{ failed: Record<string, number>; seconds: number }>
  /** This many conversations ask all the time, for so long. */
  fill: (request: { asking: number; warmUpMs: number; ms: number }) => Promise<{
    turnsAtOnce: { median: number; most: number }
    completed: number
    refused: number
    failed: Record<string, number>
  }>
  close: () => Promise<void>
}

const SAMPLE_MS = 100
const LONGEST_RETRY_MS = 5_000

/** A scenario draws its answer by the prompt, so each has a number; without a scenario the directive says what to answer. */
let prompts = 0
let directive = ''
const prompt = (): string => `size, turn ${(prompts += 1)}\n${directive}`.trim()

let pool: Pool | undefined
let agentName = ''
let ended = false
const sessions: Session[] = []

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

function opened(): Pool {
  if (pool === undefined) throw new Error('no pool is open')
  return pool
}

const count = (counts: Record<string, number>, name: string): void => void (counts[name] = (counts[name] ?? 0) + 1)

/** Runs one turn; resolves with what went wrong. */
async function turn(session: Session): Promise<string | undefined> {
  try {
    const result = await session.send(prompt()).result
    return result.subtype === 'success' && !result.is_error ? undefined : `a result that says ${result.subtype}`
  } catch (error) {
    if (error instanceof CapacityError || !(error instanceof PoolError)) throw error
    return `${error.name} (${error.code})`
  }
}

const host: SizeHost = {
  async open({ config, agent, url, dataDir, workers, ...rest }) {
    directive = rest.directive
    const { options } = await loadConfig(config, process.cwd())
    const given = options as PoolOptions
    const own = { ...given.agents[agent], spares: { max: 0 }, unboundSpares: { max: 0 } } as AgentOptions
    const simulated = onSimulatedModel({ ...given, agents: { [agent]: own }, dataDir }, url)
    agentName = agent
    sessions.length = 0
    pool = await createPool(
      workers === undefined
        ? simulated
        : { ...simulated, limits: { ...given.limits, turns: workers, workers, memory: 'none' } },
    )
  },
  async start() {
    const session = await opened().session(`size-${sessions.length}`, { agent: agentName })
    sessions.push(session)
    await session.warm()
  },
  async turns() {
    const failed: Record<string, number> = {}
    let seconds = 0
    const timed = async (session: Session): Promise<void> => {
      const begun = performance.now()
      const problem = await turn(session)
      seconds += (performance.now() - begun) / 1_000
      if (problem !== undefined) count(failed, problem)
    }
    await Promise.all(sessions.map(timed))
    return { failed, seconds }
  },
  async fill({ asking, warmUpMs, ms }) {
    const filling = opened()
    const seen: number[] = []
    const failed: Record<string, number> = {}
    let [completed, refused] = [0, 0]
    const converse = async (index: number): Promise<void> => {
      const session = await filling.session(`fill-${index}`, { agent: agentName })
      while (!ended) {
        try {
          const problem = await turn(session)
          if (problem === undefined) completed += 1
          else count(failed, problem)
        } catch (error) {
          if (!(error instanceof CapacityError)) throw error
          refused += 1
          await sleep(Math.min(error.retryAfterMs, LONGEST_RETRY_MS))
        }
      }
    }
    const conversations = Promise.all(Array.from({ length: asking }, (_, index) => converse(index)))
    await Promise.race([sleep(warmUpMs), conversations])
    const sampling = setInterval(() => seen.push(filling.stats().turns.running), SAMPLE_MS)
    await Promise.race([sleep(ms), conversations])
    clearInterval(sampling)
    ended = true
    await conversations
    return { turnsAtOnce: { median: quantile(seen, 0.5), most: Math.max(0, ...seen) }, completed, refused, failed }
  },
  async close() {
    await pool?.close()
    pool = undefined
  },
}

// Ctrl-C reaches the whole group; the parent ends this process in order.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined)
process.on('disconnect', () => {
  ended = true
  void host.close().finally(() => process.exit())
})
// A parent that has gone waits for no answer, and to send one would end this process before its pool is closed.
const tell = (message: object): void => void (process.connected && process.send?.(message))
process.on('message', ({ ask, request }: { ask: keyof SizeHost; request: never }) => {
  void (host[ask] as (request: never) => Promise<unknown>)(request).then(
    (answer) => tell({ answer }),
    (error: Error) => {
      tell({ error: { message: error.message, code: error instanceof PoolError ? error.code : undefined } })
    },
  )
})
tell({ answer: undefined })
