import { DiagLogLevel, diag, trace } from '@opentelemetry/api'
import type { DiagLogger } from '@opentelemetry/api'
import { ConfigError } from '../../errors.ts'
import type { Logger } from '../../index.ts'

type Environment = Readonly<Record<string, string | undefined>>

/** Time for the last spans when the server ends. */
const FLUSH_MS = 2_000

type Protocol = 'http/protobuf' | 'http/json'

/** Reads the variables of OpenTelemetry. Undefined: no spans are sent. Throws ConfigError. */
export function readTracing(env: Environment): { protocol: Protocol } | undefined {
  const isSet = (name: string): boolean => (env[name] ?? '') !== ''
  if (env['OTEL_SDK_DISABLED']?.toLowerCase() === 'true') return undefined
  const exporter = env['OTEL_TRACES_EXPORTER'] ?? ''
  if (exporter === 'none') return undefined
  if (exporter !== '' && exporter !== 'otlp')
    throw new ConfigError('OTEL_TRACES_EXPORTER', `is "${exporter}"; spans can go to "otlp", or to "none"`)
  const wanted =
    exporter === 'otlp' || isSet('OTEL_EXPORTER_OTLP_ENDPOINT') || isSet('OTEL_EXPORTER_OTLP_TRACES_ENDPOINT')
  if (!wanted) return undefined
  const name = isSet('OTEL_EXPORTER_OTLP_TRACES_PROTOCOL')
    ? 'OTEL_EXPORTER_OTLP_TRACES_PROTOCOL'
    : 'OTEL_EXPORTER_OTLP_PROTOCOL'
  const protocol = env[name] || 'http/protobuf'
  if (protocol !== 'http/protobuf' && protocol !== 'http/json')
    throw new ConfigError(
      name,
      `is "${protocol}"; write "http/protobuf" or "http/json", and the port of OTLP over HTTP (4318) in OTEL_EXPORTER_OTLP_ENDPOINT`,
    )
  return { protocol }
}

/** A running export of spans. */
export interface Tracing {
  /** Sends what is left, for at most 2 s. */
  close(): Promise<void>
}

/**
 * Sends spans over OTLP as the `OTEL_*` variables of the environment say, if they do. All variables of the exporter, of batches,
 * of limits, of sampling and of resources are OpenTelemetry's own. Throws ConfigError for what it cannot do.
 */
export async function startTracing(env: Environment, logger: Logger): Promise<Tracing | undefined> {
  const tracing = readTracing(env)
  if (tracing === undefined) return undefined
  const [{ BasicTracerProvider, BatchSpanProcessor }, resources, { OTLPTraceExporter }] = await Promise.all([
    import('@opentelemetry/sdk-trace-base'),
    import('@opentelemetry/resources'),
    tracing.protocol === 'http/json'
      ? import('@opentelemetry/exporter-trace-otlp-http')
      : import('@opentelemetry/exporter-trace-otlp-proto'),
  ])
  const { defaultResource, detectResources, envDetector, resourceFromAttributes } = resources
  const own = resourceFromAttributes({ 'service.name': 'claude-agent-pool' })
  const provider = new BasicTracerProvider({
    resource: defaultResource()
      .merge(own)
      .merge(detectResources({ detectors: [envDetector] })),
    spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter())],
  })
  trace.setGlobalTracerProvider(provider)
  diag.setLogger(new Failures(logger), { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true })
  if ((env['OTEL_METRICS_EXPORTER'] ?? 'none') !== 'none' || (env['OTEL_LOGS_EXPORTER'] ?? 'none') !== 'none')
    logger.warn('only spans go to OpenTelemetry: metrics are at GET /metrics, and log lines on the standard output', {})
  return {
    async close() {
      const tooLate = Promise.withResolvers<void>()
      const timer = setTimeout(tooLate.resolve, FLUSH_MS)
      const failed = (error: unknown): void => diag.error('the last spans were not sent', String(error))
      await Promise.race([provider.shutdown().catch(failed), tooLate.promise])
      clearTimeout(timer)
      trace.disable()
      diag.disable()
    },
  }
}

/** Between two lines about spans that were not sent: each batch of them fails while the receiver is away. */
const QUIET_MS = 60_000

/** Logs what OpenTelemetry complains of. */
class Failures implements DiagLogger {
  readonly #logger: Logger
  #quietUntil = -Infinity

  constructor(logger: Logger) {
    this.#logger = logger
  }

  error(message: string, ...details: unknown[]): void {
    const now = performance.now()
    if (now < this.#quietUntil) return
    this.#quietUntil = now + QUIET_MS
    this.#logger.warn('spans were not sent to OpenTelemetry', { problem: [message, ...details].map(String).join(' ') })
  }

  warn(message: string, ...details: unknown[]): void {
    this.error(message, ...details)
  }

  info(): void {}

  debug(): void {}

  verbose(): void {}
}
