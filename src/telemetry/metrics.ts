import type { Attributes, BatchObservableResult, Histogram, Meter, Observable } from '@opentelemetry/api'
import type { PoolEvents, TurnSummary } from '../events.ts'
import type { Pool, PoolStats } from '../pool/pool.ts'

/** From a live turn's milliseconds to the half hour that a turn has. */
const SECONDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800]

/** From a few words to the largest contexts. */
const TOKENS = [1, 16, 64, 256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576]

const TOKENS_PER_SECOND = [1, 5, 10, 20, 40, 60, 80, 100, 150, 200, 400, 1_000]

/** The agent's process names the model, and could invent any number of names. */
const MAX_MODELS = 100

/** A write to a disk is a millisecond, or something is wrong with it. */
const STORE_SECONDS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5]

const WORKER_STATES = ['starting', 'idle', 'frozen', 'busy', 'closing'] as const

/** A series that is there from the beginning can be alerted on. */
const NO_WAITS = { turns: 0, tenant: 0, memory: 0, suspended: 0, session: 0 }

/** One number of `pool.stats()`, or one for each value of a label. */
type Reading = number | { label: string; values: Readonly<Record<string, number | undefined>> }

type Kind = 'gauge' | 'counter'

/** No value before the first turn. */
function hitRatio({ live, thawed, primed, spare, resumed, cold }: PoolStats['totals']['turnsByWarmth']): number {
  const hits = live + thawed + primed + spare
  return hits / (hits + resumed + cold)
}

/** What is read from `pool.stats()`: it counts already, and a second count would drift from it. */
const READINGS: readonly [kind: Kind, name: string, says: string, read: (stats: PoolStats) => Reading][] = [
  ['gauge', 'turns_running', 'Turns that run', ({ turns }) => turns.running],
  ['gauge', 'turns_waiting', 'Turns that wait for a place', ({ turns }) => turns.waiting],
  [
    'gauge',
    'turns_waiting_by_reason',
    'Turns that are queued, by what they wait for: a place, or the turn before them in their session',
    ({ waits }) => ({ label: 'reason', values: { ...NO_WAITS, ...waits.byReason } }),
  ],
  [
    'gauge',
    'oldest_wait_seconds',
    'How long the turn has waited that waits longest for a place; 0 if none waits',
    ({ waits }) => (waits.oldest?.waitMs ?? 0) / 1_000,
  ],
  ['gauge', 'turns_limit', 'Turns that may run at once', ({ turns }) => turns.limit],
  [
    'counter',
    'turns_shed',
    'Turns that were refused',
    ({ totals }) => ({ label: 'reason', values: totals.refusedByReason }),
  ],
  [
    'counter',
    'turns_ended',
    'Turns that have ended, by their result or the code of their error',
    ({ totals }) => ({ label: 'outcome', values: totals.turnsByOutcome }),
  ],
  [
    'counter',
    'turns_started',
    'Turns that found a process, by how they found it',
    ({ totals }) => ({ label: 'warmth', values: totals.turnsByWarmth }),
  ],
  [
    'gauge',
    'hit_ratio',
    'Share of turns since the start that found a process waiting for them: live, primed or spare',
    ({ totals }) => hitRatio(totals.turnsByWarmth),
  ],
  [
    'gauge',
    'workers',
    'Processes by state',
    ({ workers }) => ({
      label: 'state',
      values: Object.fromEntries(WORKER_STATES.map((state) => [state, workers[state]])),
    }),
  ],
  ['gauge', 'spares', 'Idle processes without a session', ({ workers }) => workers.spares],
  ['gauge', 'starts_running', 'Processes that are being started', ({ starts }) => starts.running],
  ['gauge', 'starts_waiting', 'Starts that wait for others', ({ starts }) => starts.waiting],
  ['counter', 'starts', 'Processes that were started', ({ totals }) => totals.starts],
  [
    'counter',
    'workers_closed',
    'Processes that have left, by reason',
    ({ totals }) => ({ label: 'reason', values: totals.closedByReason }),
  ],
  [
    'counter',
    'exits',
    'Processes that have left, by what ended them',
    ({ totals }) => ({ label: 'cause', values: totals.exitsByCause }),
  ],
  [
    'counter',
    'kills',
    'Steps that it took to end processes',
    ({ totals }) => ({ label: 'stage', values: totals.terminationsByStage }),
  ],
  ['counter', 'processes_left', 'Processes that could not be ended', ({ totals }) => totals.processesLeft],
  ['gauge', 'memory_limit_bytes', 'What bounds host and processes', ({ memory }) => memory.limitBytes],
  ['gauge', 'memory_used_bytes', 'In use below that bound, by everybody', ({ memory }) => memory.usedBytes],
  ['gauge', 'memory_workers_bytes', 'Private memory of all processes', ({ memory }) => memory.workersBytes],
  ['gauge', 'memory_reserved_bytes', 'Kept back for the host and for surprises', ({ memory }) => memory.reservedBytes],
  ['gauge', 'memory_charged_bytes', 'For what is to start or to grow', ({ memory }) => memory.chargedBytes],
  ['gauge', 'memory_headroom_bytes', 'Left for more, with all charges', ({ memory }) => memory.headroomBytes],
  [
    'gauge',
    'memory_pressure',
    'How short memory is: 0 none, 1 high, 2 critical',
    ({ memory }) => ['none', 'high', 'critical'].indexOf(memory.pressure),
  ],
  [
    'gauge',
    'store_trouble',
    'Whether something keeps the store from working now: 1, by the code of its error; 0 where all is well',
    ({ store }) => ({ label: 'code', values: { [store.trouble ?? 'none']: store.trouble === undefined ? 0 : 1 } }),
  ],
  [
    'gauge',
    'store_lag_seconds',
    'For how long the oldest call of the store has been running; 0 if none runs',
    ({ store }) => store.lagMs / 1_000,
  ],
  ['gauge', 'disk_free_bytes', 'Free on the disk of the data directory', ({ store }) => store.freeBytes ?? Number.NaN],
  [
    'counter',
    'transcript_copies_failed',
    'Times that something of a transcript was not copied or not written, by reason',
    ({ totals }) => ({ label: 'reason', values: totals.transcriptCopiesFailed }),
  ],
  [
    'counter',
    'compactions',
    'Conversations that were compacted because they had outgrown limits.resumeSize',
    ({ totals }) => totals.compactions,
  ],
  ['gauge', 'active_sessions', 'Sessions that this host works on', ({ activeSessions }) => activeSessions],
]

/** The source of a pool's events: the pool, or an object that passes them on. */
interface EventSource {
  on<Name extends keyof PoolEvents>(name: Name, listener: (...args: PoolEvents[Name]) => void): unknown
  off<Name extends keyof PoolEvents>(name: Name, listener: (...args: PoolEvents[Name]) => void): unknown
}

/** Measures a pool with this meter, until the function that it returns is called. No label names a tenant or a session. */
export function measurePool(pool: Pick<Pool, 'stats'>, heard: EventSource, meter: Meter): () => void {
  const nameOf = (name: string): string => `claude_agent_pool_${name}`
  const readings = READINGS.map(([kind, name, description, read]) => {
    const options = { description }
    const instrument =
      kind === 'gauge'
        ? meter.createObservableGauge(nameOf(name), options)
        : meter.createObservableCounter(nameOf(name), options)
    return { instrument, read }
  })
  const instruments: Observable<Attributes>[] = readings.map(({ instrument }) => instrument)
  const observe = (result: BatchObservableResult<Attributes>): void => {
    const stats = pool.stats()
    for (const { instrument, read } of readings) {
      const reading = read(stats)
      if (typeof reading === 'number') result.observe(instrument, reading)
      else
        for (const [value, count] of Object.entries(reading.values))
          if (count !== undefined) result.observe(instrument, count, { [reading.label]: value })
    }
  }
  meter.addBatchObservableCallback(observe, instruments)
  const unlisten = measureTimes(heard, meter, nameOf)
  return () => {
    meter.removeBatchObservableCallback(observe, instruments)
    unlisten()
  }
}

/** Times and events, of which the pool keeps no count. */
function measureTimes(heard: EventSource, meter: Meter, nameOf: (name: string) => string): () => void {
  const histogram = (name: string, description: string, explicitBucketBoundaries = SECONDS): Histogram =>
    meter.createHistogram(nameOf(name), { description, unit: 's', advice: { explicitBucketBoundaries } })
  const turn = histogram('turn_seconds', 'Turns from send() to their end, by how they found their process')
  const phase = histogram('turn_phase_seconds', 'Time that turns spent in each phase that they were in')
  const first = histogram('first_message_seconds', 'From send() to the first message of the assistant')
  const request = measureRequests(meter, nameOf)
  const start = histogram('start_seconds', 'Processes from their start until they were ready')
  const call = histogram('store_seconds', 'Calls of the store', STORE_SECONDS)
  const failures = meter.createCounter(nameOf('store_failures'), { description: 'Calls of the store that failed' })
  const events = meter.createCounter(nameOf('events'), { description: 'Events of sessions that were kept' })
  const sessions = meter.createCounter(nameOf('sessions'), { description: 'Sessions that began or were deleted' })
  const warnings = meter.createCounter(nameOf('warnings'), { description: 'What went wrong and no caller asked for' })
  const listeners = {
    'turn.ended': ({ warmth, durationMs, firstMessageMs, phases, steps }) => {
      for (const step of steps) if (step.type === 'model') request(step)
      for (const [name, ms] of Object.entries(phases)) if (ms > 0) phase.record(ms / 1_000, { phase: name })
      if (warmth === undefined) return
      turn.record(durationMs / 1_000, { warmth })
      if (firstMessageMs !== undefined) first.record(firstMessageMs / 1_000, { warmth })
    },
    'worker.ready': ({ startMs, worker: { purpose } }) => start.record(startMs / 1_000, { purpose }),
    'store.called': ({ operation, ms, failed, events: added }) => {
      call.record(ms / 1_000, { operation })
      if (added !== undefined && !failed) events.add(added)
      if (failed) failures.add(1, { operation })
    },
    'session.created': () => sessions.add(1, { event: 'created' }),
    'session.deleted': () => sessions.add(1, { event: 'deleted' }),
    warning: () => warnings.add(1),
  } satisfies Listeners
  const names = Object.keys(listeners) as (keyof typeof listeners)[]
  for (const name of names) heard.on(name, listeners[name] as never)
  return () => {
    for (const name of names) heard.off(name, listeners[name] as never)
  }
}

type Listeners = { [Name in keyof PoolEvents]?: (...args: PoolEvents[Name]) => void }

type ModelStep = Extract<TurnSummary['steps'][number], { type: 'model' }>

/** Requests to the model, by OpenTelemetry's conventions for generative AI, version 1.41; the names are those that they have in Prometheus. */
function measureRequests(meter: Meter, nameOf: (name: string) => string): (step: ModelStep) => void {
  const histogram = (name: string, description: string, unit: string, explicitBucketBoundaries: number[]): Histogram =>
    meter.createHistogram(name, { description, unit, advice: { explicitBucketBoundaries } })
  const duration = histogram(
    'gen_ai_client_operation_duration_seconds',
    'Requests to the model, until their answer is whole',
    's',
    SECONDS,
  )
  const first = histogram(
    'gen_ai_client_operation_time_to_first_chunk_seconds',
    'Requests to the model, until the first piece of the answer',
    's',
    SECONDS,
  )
  const usage = histogram('gen_ai_client_token_usage', 'Tokens of a request to the model', '{token}', TOKENS)
  const speed = histogram(
    nameOf('output_tokens_per_second'),
    'Tokens that the model wrote in a second, from the first piece of its answer on',
    '{token}/s',
    TOKENS_PER_SECOND,
  )
  const models = new Set<string>()
  return ({ model, durationMs, firstTokenMs, tokens, failed }) => {
    const labels = {
      'gen_ai.operation.name': 'chat',
      'gen_ai.provider.name': 'anthropic',
      ...modelLabel(models, model),
    }
    duration.record(durationMs / 1_000, failed ? { ...labels, 'error.type': '_OTHER' } : labels)
    if (failed) return
    if (firstTokenMs !== undefined) first.record(firstTokenMs / 1_000, labels)
    const { input, output, cache_read, cache_write } = tokens
    usage.record(input + cache_read + cache_write, { ...labels, 'gen_ai.token.type': 'input' })
    usage.record(output, { ...labels, 'gen_ai.token.type': 'output' })
    const writingMs = durationMs - (firstTokenMs ?? durationMs)
    if (writingMs > 0 && output > 0) speed.record(output / (writingMs / 1_000), labels)
  }
}

function modelLabel(models: Set<string>, model: string | undefined): Attributes {
  if (model === undefined) return {}
  if (models.size < MAX_MODELS) models.add(model)
  return { 'gen_ai.request.model': models.has(model) ? model : 'other' }
}
