import { ROOT_CONTEXT, SpanKind, SpanStatusCode, context, trace } from '@opentelemetry/api'
import type { Attributes, Context, HrTime, Tracer } from '@opentelemetry/api'
import type { TurnSummary } from '../events.ts'
import type { Pool } from '../pool/pool.ts'
import { parseTraceparent } from '../trace-context.ts'
import { currentRequest } from './request-scope.ts'
import { tokensByKind } from './tokens.ts'

type Step = TurnSummary['steps'][number]

/** By OpenTelemetry's conventions for generative AI, version 1.41. */
const PROVIDER = { 'gen_ai.provider.name': 'anthropic' }

/** Model and tool steps replace these phases. */
const COVERED: ReadonlySet<string> = new Set(['model', 'tool'])

/**
 * Makes spans of turns for the tracer that the process has registered with OpenTelemetry; without one, it does nothing.
 * The spans of a turn are made when it has ended: only then its steps are known.
 */
export function traceTurns(pool: Pick<Pool, 'on'>): void {
  // Finds a provider that is registered later, too.
  const tracer = trace.getTracer('claude-agent-pool')
  pool.on('turn.ended', (turn) => traceTurn(tracer, turn))
}

/** The trace that a turn belongs to: what `send()` was told, the span in which it was called, or what its request goes on with. */
export function traceIdOf(turn: Pick<TurnSummary, 'traceparent'>): string | undefined {
  return trace.getSpanContext(parentOf(turn))?.traceId
}

function parentOf({ traceparent }: Pick<TurnSummary, 'traceparent'>): Context {
  const active = context.active()
  const header = traceparent ?? (trace.getSpanContext(active) === undefined ? currentRequest()?.traceparent : undefined)
  const parent = parseTraceparent(header)
  if (parent === undefined) return active
  const { traceId, spanId, flags: traceFlags } = parent
  return trace.setSpanContext(ROOT_CONTEXT, { traceId, spanId, traceFlags, isRemote: true })
}

function traceTurn(tracer: Tracer, turn: TurnSummary): void {
  const { startedAt, durationMs, steps, outcome, session } = turn
  const startTime = at(startedAt)
  const span = tracer.startSpan(
    `invoke_agent ${session.agent}`,
    { kind: SpanKind.INTERNAL, startTime, attributes: turnAttributes(turn) },
    parentOf(turn),
  )
  if (span.isRecording()) {
    if (outcome !== 'success') span.setStatus({ code: SpanStatusCode.ERROR, message: outcome })
    const inside = trace.setSpan(ROOT_CONTEXT, span)
    for (const step of steps)
      if (step.type !== 'phase' || !COVERED.has(step.name)) traceStep(tracer, step, startedAt, inside)
  }
  span.end(at(startedAt + durationMs))
}

function traceStep(tracer: Tracer, step: Step, startedAt: number, parent: Context): void {
  const startTime = at(startedAt + step.startMs)
  const span = tracer.startSpan(
    nameOf(step),
    { kind: step.type === 'model' ? SpanKind.CLIENT : SpanKind.INTERNAL, startTime, attributes: stepAttributes(step) },
    parent,
  )
  if (step.type !== 'phase' && step.failed) span.setStatus({ code: SpanStatusCode.ERROR })
  span.end(at(startedAt + step.startMs + step.durationMs))
}

function nameOf(step: Step): string {
  if (step.type === 'model') return step.model === undefined ? 'chat' : `chat ${step.model}`
  return step.type === 'tool' ? `execute_tool ${step.name}` : step.name
}

function turnAttributes({ id, session, sdkSessionId, worker, warmth, outcome, usage }: TurnSummary): Attributes {
  const { request_id } = currentRequest() ?? {}
  return {
    ...PROVIDER,
    'gen_ai.operation.name': 'invoke_agent',
    'gen_ai.agent.name': session.agent,
    'gen_ai.conversation.id': session.key,
    'claude_agent_pool.tenant': session.tenant,
    'claude_agent_pool.turn': id,
    'claude_agent_pool.outcome': outcome,
    ...defined({
      'session.id': sdkSessionId,
      'claude_agent_pool.worker': worker,
      'claude_agent_pool.warmth': warmth,
      'claude_agent_pool.request': request_id,
      'claude_agent_pool.cost_usd': usage?.costUsd,
      'error.type': outcome === 'success' ? undefined : outcome,
    }),
    ...(usage === undefined ? {} : tokenAttributes(tokensByKind(usage))),
  }
}

function stepAttributes(step: Step): Attributes {
  if (step.type === 'phase') return defined({ 'claude_agent_pool.detail': step.detail })
  if (step.type === 'tool')
    return { 'gen_ai.operation.name': 'execute_tool', 'gen_ai.tool.name': step.name, 'gen_ai.tool.call.id': step.id }
  return {
    ...PROVIDER,
    'gen_ai.operation.name': 'chat',
    ...defined({
      'gen_ai.request.model': step.model,
      'gen_ai.response.time_to_first_chunk': step.firstTokenMs === undefined ? undefined : step.firstTokenMs / 1_000,
    }),
    ...tokenAttributes(step.tokens),
  }
}

/** The conventions count what the cache was read and written for as input. */
const tokenAttributes = (tokens: ReturnType<typeof tokensByKind>): Attributes => ({
  'gen_ai.usage.input_tokens': tokens.input + tokens.cache_read + tokens.cache_write,
  'gen_ai.usage.output_tokens': tokens.output,
  'gen_ai.usage.cache_read.input_tokens': tokens.cache_read,
  'gen_ai.usage.cache_creation.input_tokens': tokens.cache_write,
})

const defined = (attributes: Record<string, string | number | undefined>): Attributes =>
  Object.fromEntries(Object.entries(attributes).filter(([, value]) => value !== undefined))

const NS_PER_MS = 1e6

/** Milliseconds since the epoch, as seconds and nanoseconds. */
function at(ms: number): HrTime {
  const seconds = Math.floor(ms / 1_000)
  return [seconds, Math.round((ms - seconds * 1_000) * NS_PER_MS)]
}
