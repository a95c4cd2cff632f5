import { destination, pino, stdSerializers, stdTimeFunctions } from 'pino'
import type { DestinationStream } from 'pino'
import type { Logger } from '../telemetry/log.ts'

/** How much a log says. */
export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const

/** How much a log contains: each level also has those after it; `silent` has none. */
export type LogLevel = (typeof LOG_LEVELS)[number]

/** Lines of a process that ends must not be lost, and a line that follows one on stdout should stand below it. */
const standardError = (): DestinationStream => destination({ fd: 2, sync: true })

/** A log of JSON lines. Default: on stderr. */
export function jsonLog(level: LogLevel, stream: DestinationStream = standardError()): Logger {
  // A message and its cause stay apart: most of our messages quote their cause, and would say it twice.
  const serializers = { error: stdSerializers.errWithCause }
  const log = pino({ level, base: null, timestamp: stdTimeFunctions.isoTime, serializers }, stream)
  return {
    debug: (message, facts) => log.debug(facts, message),
    info: (message, facts) => log.info(facts, message),
    warn: (message, facts) => log.warn(facts, message),
    error: (message, facts) => log.error(facts, message),
  }
}
