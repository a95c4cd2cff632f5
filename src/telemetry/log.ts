import type { TurnSummary } from '../events.ts'
import type { Pool } from '../pool/pool.ts'
import { currentRequest } from './request-scope.ts'
import { tokensByKind } from './tokens.ts'
import { traceIdOf } from './tracing.ts'

/** Where log lines go: a message and its facts. pino, winston and console fit with a line of glue. */
export interface Logger {
  debug(message: string, facts: object): void
  info(message: string, facts: object): void
  warn(message: string, facts: object): void
  error(message: string, facts: object): void
}

/** Why workers are closed when something went wrong; all other reasons are the pool at work. */
export const ALARMING: ReadonlySet<string> = new Set([
  'exited',
  'start_failed',
  'unresponsive',
  'limit',
  'outgrown',
  'output',
  'bind_refused',
  'transcript',
  'fenced',
])

/** Writes a line for what an operator wants to find afterwards: every close of a worker with its reason, every refusal, every failure. */
export function logPool(pool: Pool, logger: Logger): void {
  pool.on('worker.ready', ({ worker, startMs }) => {
    logger.debug('worker ready', { ...worker, startMs: Math.round(startMs) })
  })
  pool.on('worker.closed', ({ worker, reason, exit, termination }) => {
    const level = ALARMING.has(reason) || termination.left > 0 ? 'warn' : 'info'
    logger[level](`worker closed: ${reason} (${exit.cause}, ${termination.stage})`, {
      ...worker,
      reason,
      ...exit,
      termination,
    })
  })
  pool.on('mcp.failed', ({ worker, server, status, error }) => {
    logger.warn(`MCP server "${server}" ${status === 'failed' ? 'failed' : 'needs to be signed in to'}`, {
      ...worker,
      server,
      status,
      error,
    })
  })
  pool.on('turn.ended', (turn) => logger.info('turn ended', factsOf(turn)))
  pool.on('turn.refused', ({ id, session, error }) => {
    const { reason, retryAfterMs, facts } = error
    logger.info(`turn refused: ${reason}`, { id, session, reason, retryAfterMs, ...facts, ...origin({}) })
  })
  pool.on('memory.pressure', ({ level, from, memory }) => {
    const { agents: _, ...figures } = memory
    logger[level === 'none' ? 'info' : 'warn'](`memory pressure: ${level}, after ${from}`, figures)
  })
  pool.on('store.health', ({ trouble, from, freeBytes }) => {
    if (trouble === undefined) logger.info('the store works again', { from, freeBytes })
    else logger.error(`the store fails: ${trouble}`, { trouble, freeBytes })
  })
  pool.on('budget.reached', ({ message, ...facts }) => logger.warn(message, facts))
  pool.on('egress', (traffic) => {
    const { place, refused, problem } = traffic
    logger[refused > 0 ? 'warn' : 'info'](`egress to ${place}${problem === undefined ? '' : `: ${problem}`}`, traffic)
  })
  pool.on('session.restarted', (event) => logger.warn('session began anew: its transcript was gone', event))
  pool.on('session.compacted', (event) => logger.info('session compacted: its transcript had grown too large', event))
  pool.on('session.deleted', (event) => logger.info('session deleted', event))
  pool.on('tenant.erased', (event) => logger.info('tenant erased', event))
  pool.on('session.expired', (event) => logger.info(`session expired: ${event.reason}`, event))
  pool.on('transcript.copyFailed', (event) =>
    logger.warn(`the transcript of a session is not safe: ${event.error}`, event),
  )
  pool.on('orphans.reaped', (report) => logger.warn('orphans of a host that is gone were ended', report))
  pool.on('host.departed', (event) => logger.warn('another host is gone', event))
  pool.on('host.lost', (event) =>
    logger.error(
      'the other hosts held this one for gone: what it ran has ended, and it comes back as another host',
      event,
    ),
  )
  pool.on('host.drainAsked', (event) => logger.info('an operator drains this host', event))
  pool.on('session.takenOver', (event) => logger.info('session taken over from a host that is gone', event))
  pool.on('warning', ({ message, error }) => logger.warn(message, { error }))
}

/** The request and the trace that have sent a turn. The pool's events of a turn come in the context of its `send()`. */
function origin(turn: { traceparent?: string | undefined }): { request_id?: string; trace_id?: string } {
  const { request_id } = currentRequest() ?? {}
  const trace_id = traceIdOf({ traceparent: turn.traceparent })
  return { ...(request_id === undefined ? {} : { request_id }), ...(trace_id === undefined ? {} : { trace_id }) }
}

const rounded = (times: Readonly<Record<string, number>>): Record<string, number> =>
  Object.fromEntries(Object.entries(times).map(([name, ms]) => [name, Math.round(ms)]))

/** What the line of a turn says. Times are milliseconds, the cost is in US dollars. */
function factsOf(summary: TurnSummary): object {
  const {
    durationMs,
    firstMessageMs,
    usage,
    phases,
    tools,
    steps: _,
    startedAt: __,
    traceparent: ___,
    ...turn
  } = summary
  return {
    ...turn,
    durationMs: Math.round(durationMs),
    ...(firstMessageMs === undefined ? {} : { firstMessageMs: Math.round(firstMessageMs) }),
    phases: rounded(phases),
    ...(Object.keys(tools).length === 0 ? {} : { tools: rounded(tools) }),
    ...(usage === undefined ? {} : { tokens: tokensByKind(usage), cost: usage.costUsd, estimated: usage.estimated }),
    ...origin(summary),
  }
}
