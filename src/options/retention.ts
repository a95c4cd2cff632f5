import { z } from 'zod'
import { NONE, count, duration, readSection, size, validate } from './section.ts'

/** Limits for unused sessions and their events. A missing option limits nothing. */
export interface RetentionRuleOptions {
  /** Unused for longer than this. */
  maxAge?: string
  maxAgeMs?: number
  /** The number of sessions; the least recently used are removed first. */
  maxSessions?: number
  /**
   * The size of events, transcripts and their copies, workspaces and the CLI's notes together. The least recently used
   * sessions are removed first.
   */
  maxSize?: string
  maxSizeBytes?: number
  /** The number of events of a session; older ones are removed. The last one always stays. */
  maxEvents?: number
  /** Events of a session that are older go. */
  maxEventAge?: string
  maxEventAgeMs?: number
  /** The size of the events of a session; older ones are removed. */
  maxEventSize?: string
  maxEventSizeBytes?: number
}

/** How long sessions and their events are kept. The rules apply to each tenant. Default: no limit. */
export interface RetentionOptions extends RetentionRuleOptions {
  /** Rules in place of those above, for tenants by name. */
  tenants?: Readonly<Record<string, RetentionRuleOptions>>
  /** Rules beside those of the tenant, for each tenant's sessions of these agents. */
  agents?: Readonly<Record<string, RetentionRuleOptions>>
  /** Sessions that `pool.query()` began can be resumed so long after their last use. Default `"1d"`; `"none"`: for ever. */
  queries?: string
  queriesMs?: number
  /** What no session knows: transcripts and their copies, workspaces, the CLI's notes, and directories of tenants, that are older than this. Default `"7d"`. */
  leftovers?: string
  leftoversMs?: number
  /** How often it is looked at. Default `"10m"`. */
  interval?: string
  intervalMs?: number
}

/** A rule of `retention`, resolved. */
export interface RetentionRule {
  maxAgeMs: number
  maxSessions: number
  maxSizeBytes: number
  maxEvents: number
  maxEventAgeMs: number
  maxEventSizeBytes: number
}

/** `retention`, resolved. */
export interface Retention extends RetentionRule {
  queriesMs: number
  leftoversMs: number
  intervalMs: number
  tenants: Readonly<Record<string, RetentionRule>>
  agents: Readonly<Record<string, RetentionRule>>
}

const RETENTION_RULE = {
  maxAgeMs: duration('maxAge', NONE, [NONE]),
  maxSessions: count('maxSessions', Infinity),
  maxSizeBytes: size('maxSize', NONE, [NONE]),
  maxEvents: count('maxEvents', Infinity),
  maxEventAgeMs: duration('maxEventAge', NONE, [NONE]),
  maxEventSizeBytes: size('maxEventSize', NONE, [NONE]),
}

export function readRetention(input: RetentionOptions | undefined): Retention {
  const { tenants = {}, agents = {}, ...own } = validate('retention', retentionShape, input ?? {}) as RetentionOptions
  const rules = (path: string, named: Readonly<Record<string, RetentionRuleOptions>>): Record<string, RetentionRule> =>
    Object.fromEntries(
      Object.entries(named).map(([name, rule]) => [
        name,
        readSection<RetentionRule>(`retention.${path}.${name}`, RETENTION_RULE, rule),
      ]),
    )
  const rest = readSection<Omit<Retention, 'tenants' | 'agents'>>(
    'retention',
    {
      ...RETENTION_RULE,
      queriesMs: duration('queries', '1d', [NONE]),
      leftoversMs: duration('leftovers', '7d', [NONE]),
      intervalMs: duration('interval', '10m'),
    },
    own,
  )
  return Object.freeze({ ...rest, tenants: rules('tenants', tenants), agents: rules('agents', agents) })
}

const named = z.record(z.string(), z.record(z.string(), z.unknown())).optional()
const retentionShape = z.looseObject({ tenants: named, agents: named })
