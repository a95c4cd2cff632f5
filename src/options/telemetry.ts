import { z } from 'zod'
import { ConfigError } from '../errors.ts'
import { validate } from './section.ts'

/** Telemetry of agents' processes. The pool's own spans need no option. */
export interface TelemetryOptions {
  /**
   * Variables for agents' processes: `OTEL_*`, `CLAUDE_CODE_ENABLE_TELEMETRY` (set to `"1"` if left out) and
   * `CLAUDE_CODE_ENHANCED_TELEMETRY_BETA` (for spans). Agents get none of the host's. Default: agents send no telemetry.
   */
  agents?: Readonly<Record<string, string>>
}

export interface Telemetry {
  /** Undefined: agents send none. */
  readonly agents: Readonly<Record<string, string>> | undefined
}

const ALLOWED = /^(?:OTEL_[A-Z][A-Z0-9_]*|CLAUDE_CODE_ENABLE_TELEMETRY|CLAUDE_CODE_ENHANCED_TELEMETRY_BETA)$/

const schema = z.strictObject({
  agents: z
    .record(z.string(), z.string({ error: 'must be text; write numbers in quotes' }), {
      error: 'must be a map of variables, like { OTEL_METRICS_EXPORTER: "otlp" }',
    })
    .optional(),
})

export function readTelemetry(input: TelemetryOptions | undefined): Telemetry {
  const { agents } = validate('telemetry', schema, input ?? {})
  if (agents === undefined) return { agents }
  const strange = Object.keys(agents).find((name) => !ALLOWED.test(name))
  if (strange !== undefined)
    throw new ConfigError(
      `telemetry.agents.${strange}`,
      'is not a variable of telemetry (OTEL_…, CLAUDE_CODE_ENABLE_TELEMETRY, CLAUDE_CODE_ENHANCED_TELEMETRY_BETA); give other variables in agents.NAME.env',
    )
  return { agents: Object.freeze({ CLAUDE_CODE_ENABLE_TELEMETRY: '1', ...agents }) }
}
