/** Turns of a process that lives: what metrics, spans over OTLP and a line in the log for each turn add to the same turns. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto'
import { trace } from '@opentelemetry/api'
import { MeterProvider } from '@opentelemetry/sdk-metrics'
import { BasicTracerProvider, BatchSpanProcessor, SamplingDecision } from '@opentelemetry/sdk-trace-base'
import { destination } from 'pino'
import type { Logger, Pool, PoolEvents } from '../src/index.ts'
import { jsonLog } from '../src/server/log.ts'
import { measurePool } from '../src/telemetry/metrics.ts'
import { measureUsage } from '../src/telemetry/usage-metrics.ts'
import { bench, reply, startRole } from './shared/bench.ts'
import { poolTurn, startPool } from './shared/conversation.ts'
import { liveTurns } from './shared/live-turns.ts'

type EventName = keyof PoolEvents
type Listener<Name extends EventName> = (...payload: PoolEvents[Name]) => void

/** One pool and one process for both sides, so that nothing else differs: what observes is told of every other turn. */
let isObserved = false

/** The events of the pool, for turns that are observed. */
const observed = (pool: Pool) => ({
  on: <Name extends EventName>(name: Name, listener: Listener<Name>): unknown =>
    pool.on(name, ((...payload: PoolEvents[Name]) => {
      if (isObserved) listener(...payload)
    }) as Listener<Name>),
  off: (): void => undefined,
})

const log = jsonLog('info', destination({ dest: '/dev/null', sync: true }))

const logger: Logger = {
  debug: (message, facts) => isObserved && log.debug(message, facts),
  info: (message, facts) => isObserved && log.info(message, facts),
  warn: (message, facts) => isObserved && log.warn(message, facts),
  error: (message, facts) => isObserved && log.error(message, facts),
}

/** As `serve` exports spans, and scrapes of `/metrics` read them. */
function observe(url: string): { meters: MeterProvider; close: () => Promise<void> } {
  const spans = new BasicTracerProvider({
    sampler: {
      shouldSample: () => ({
        decision: isObserved ? SamplingDecision.RECORD_AND_SAMPLED : SamplingDecision.NOT_RECORD,
      }),
    },
    spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter({ url }))],
  })
  trace.setGlobalTracerProvider(spans)
  const meters = new MeterProvider({ readers: [new PrometheusExporter({ preventServerStart: true })] })
  return {
    meters,
    async close() {
      trace.disable()
      await Promise.all([spans.shutdown(), meters.shutdown()])
    },
  }
}

await bench(async (target) => {
  const { quick, owned, dir } = target
  const receiver = startRole('otlp-receiver.ts', [], dir)
  owned.defer(() => void (receiver.connected && receiver.disconnect()))
  const { meters, close } = observe(await reply<string>(receiver))
  owned.defer(close)
  const pool = await startPool(target, { logger })
  const meter = meters.getMeter('bench')
  measurePool(pool, observed(pool), meter)
  measureUsage(pool, meter)
  const cwd = join(dir, 'live')
  mkdirSync(cwd)
  const rows = await liveTurns(quick, { ours: 'observed', theirs: 'not observed' }, async (pair) => {
    const session = await pool.session(`live-${pair}`, { agent: 'assistant', cwd })
    await poolTurn(session, 'hello', 'cold')
    const turn = (text: string, isOn: boolean): ReturnType<typeof poolTurn> => {
      isObserved = isOn
      return poolTurn(session, text, 'live')
    }
    return {
      ours: (text) => turn(text, true),
      theirs: (text) => turn(text, false),
      [Symbol.asyncDispose]: () => session.delete(),
    }
  })
  return rows.map((row) => ({
    ...row,
    what: row.what.replace('live turn', 'observed live turn'),
    reach: { atMost: 1.02 },
  }))
})
