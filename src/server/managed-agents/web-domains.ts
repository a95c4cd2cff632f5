import type { Domains } from './schema.ts'

/** What becomes of a call of a web tool: its input as it is to be, or why it must not be. */
export type Bounded = { input: Record<string, unknown> } | { problem: string }

/** True for a domain, and for those below it. */
const isIn = (host: string, domains: readonly string[]): boolean =>
  domains.some((domain) => host === domain.toLowerCase() || host.endsWith(`.${domain.toLowerCase()}`))

const permits = (host: string, { allowed_domains: allowed, blocked_domains: blocked = [] }: Domains): boolean =>
  (allowed === undefined || isIn(host, allowed)) && !isIn(host, blocked)

/** A fetch goes to a permitted domain, or not at all. The CLI follows no redirect to another host. */
export function boundFetch(input: Record<string, unknown>, domains: Domains): Bounded {
  const { url } = input
  const host =
    typeof url === 'string' && URL.canParse(url) ? new URL(url).hostname.toLowerCase().replace(/\.$/, '') : ''
  return permits(host, domains) ? { input } : { problem: `this agent may not fetch from ${host || 'this address'}` }
}

/** A search finds in permitted domains alone, whatever the model asks for: the model API takes one of the two lists. */
export function boundSearch(input: Record<string, unknown>, domains: Domains): Bounded {
  const { allowed_domains: wanted, blocked_domains: unwanted, ...rest } = input
  const asked = namesIn(wanted)
  const given = asked.filter((name) => permits((name.split('/')[0] ?? '').toLowerCase(), domains))
  if (given.length > 0) return { input: { ...rest, allowed_domains: given } }
  if (asked.length > 0) return { problem: `this agent may not search in ${asked.join(', ').slice(0, 500)}` }
  const { allowed_domains: allowed, blocked_domains: blocked = [] } = domains
  if (allowed !== undefined) return { input: { ...rest, allowed_domains: allowed } }
  return { input: { ...rest, blocked_domains: [...new Set([...blocked, ...namesIn(unwanted)])] } }
}

const namesIn = (list: unknown): string[] =>
  Array.isArray(list) ? list.filter((name): name is string => typeof name === 'string') : []
