import { z } from 'zod'
import { canonicalHost } from '../addresses.ts'

/**
 * What processes reach over the network. `"open"`: everything. `"none"`: the model alone, by the credential proxy. `allow`: the model and
 * these, as `host:port`, `*.domain:port`, `1.2.3.4:port` or `[v6]:port`. An empty list is `"none"`.
 */
export type EgressOptions = 'open' | 'none' | { allow: readonly string[] }

/** What was checked: everything, or a list of `host:port`. */
export type Egress = 'open' | readonly string[]

const MOST = 1_000

/** An entry as it is compared; undefined if it is none. */
function entryOf(text: string): string | undefined {
  const [, star = '', host = '', port = ''] = /^(\*\.)?(\[[^\]]+\]|[^:/@\s]+):(\d{1,5})$/.exec(text) ?? []
  const name = canonicalHost(host)
  if (name === undefined || Number(port) < 1 || Number(port) > 65_535) return undefined
  return `${star}${name.includes(':') ? `[${name}]` : name}:${Number(port)}`
}

const entry = z
  .string()
  .refine((text) => entryOf(text) !== undefined, { error: 'is not of the form host:port, *.domain:port or [v6]:port' })

export const egressSchema: z.ZodType<EgressOptions> = z.union(
  [z.literal(['open', 'none']), z.strictObject({ allow: z.array(entry).max(MOST) })],
  {
    error: 'is neither "open", "none" nor { allow: [host:port, …] }',
  },
)

/** What {@link egressSchema} has let pass. */
export function readEgress(given: EgressOptions): Egress {
  if (given === 'open') return given
  const allow = given === 'none' ? [] : given.allow
  return Object.freeze([...new Set(allow.map((text) => entryOf(text) ?? text))])
}

/** As it is written. */
export const writtenEgress = (egress: Egress): EgressOptions =>
  egress === 'open' ? egress : egress.length === 0 ? 'none' : { allow: egress }
