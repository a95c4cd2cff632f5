import { z } from 'zod'
import { validate } from '../options/section.ts'
import type { Scenario } from './scenario.ts'

/** The addresses that a simulator may listen on. */
export type LoopbackHost = '127.0.0.1' | '::1' | 'localhost'

/** How to start a simulator. */
export interface SimulatorOptions {
  /** 0, the default, takes any free port. */
  port?: number
  /** The loopback address to listen on. Default `127.0.0.1`. */
  host?: LoopbackHost
  /** When set, requests with another key get 401. Default: every key is good. */
  apiKey?: string
  /** How to answer prompts that have no directives of their own. Default: `[turn N] You said: TEXT`. */
  scenario?: Scenario
  /** How many requests are kept in `requests`. Default 1,000; fewer when their bodies exceed 64 Mi characters. */
  recordLimit?: number
  /** How long an open stream is quiet before it sends a ping. Default 10,000. */
  pingMs?: number
}

/** The options with their defaults filled in. */
export interface ResolvedOptions {
  readonly port: number
  readonly host: LoopbackHost
  readonly apiKey?: string | undefined
  readonly scenario?: Scenario | undefined
  readonly recordLimit: number
  readonly pingMs: number
}

const LOOPBACK = ['127.0.0.1', '::1', 'localhost'] as const satisfies LoopbackHost[]

const schema = z.strictObject({
  port: z.int().min(0).max(65_535).default(0),
  host: z
    .enum(LOOPBACK, {
      error: `the simulator answers every caller, so it listens on loopback only: ${LOOPBACK.join(', ')}`,
    })
    .default('127.0.0.1'),
  apiKey: z.string().min(1).optional(),
  scenario: z
    .custom<Scenario>((value) => Array.isArray((value as Scenario | null)?.rules), {
      error: 'is no scenario; make one with loadScenario() or parseScenario()',
    })
    .optional(),
  recordLimit: z.int().min(0).default(1000),
  pingMs: z.int().min(1).default(10_000),
})

/** Checks the options and fills in their defaults. Throws {@link ConfigError} that names the first bad one. */
export function resolveOptions(options: SimulatorOptions): ResolvedOptions {
  return Object.freeze(validate('', schema, options))
}
