import { destination, pino, stdSerializers, stdTimeFunctions } from 'pino'
import type { Logger } from '../telemetry/log.ts'

/** How much a log says. */
export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const

export type LogLevel = (typeof LOG_LEVELS)[number]

/** A log of JSON lines on stderr. */
export function jsonLog(level: LogLevel): Logger {
  const log = pino(
    { level, base: null, timestamp: stdTimeFunctions.isoTime, serializers: { error: stdSerializers.err } },
    // Lines of a process that ends must not be lost, and those that follow a line on stdout should stand below it.
    destination({ fd: 2, sync: true }),
  )
  return {
    debug: (message, facts) => log.debug(facts, message),
    info: (message, facts) => log.info(facts, message),
    warn: (message, facts) => log.warn(facts, message),
    error: (message, facts) => log.error(facts, message),
  }
}
