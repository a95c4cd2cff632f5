import { isIP } from 'node:net'
import { canonicalHost } from '../addresses.ts'

/** Lists of `host:port`, `*.domain:port`, `1.2.3.4:port` and `[v6]:port`; a target must be on each of them. None: everything is allowed. */
export type EgressLists = readonly (readonly string[])[]

/** In a sandbox, whose loopback is its own, a bridge listens at this port of 127.0.0.1. */
export const BRIDGE_PORT = 3_128

/** Where a connection is to lead. The host is a lower-case name, or an address without brackets. */
export interface Place {
  host: string
  port: number
}

const DEFAULT_PORTS: Readonly<Record<string, number>> = { 'http:': 80, 'https:': 443 }

/** The place that `host:port` names; undefined if it names none. */
export function placeOf(authority: string): Place | undefined {
  const [, name = '', port = ''] = /^(\[[^\]]+\]|[^:/@\s]+):(\d{1,5})$/.exec(authority) ?? []
  const host = canonicalHost(name)
  return host === undefined || Number(port) < 1 || Number(port) > 65_535 ? undefined : { host, port: Number(port) }
}

/** The place that a URL leads to. */
export const placeOfUrl = ({ protocol, hostname, port }: URL): Place => ({
  host: canonicalHost(hostname) ?? hostname,
  port: port === '' ? (DEFAULT_PORTS[protocol] ?? 0) : Number(port),
})

const shown = (host: string): string => (host.includes(':') ? `[${host}]` : host)

export const textOf = ({ host, port }: Place): string => `${shown(host)}:${port}`

/** True if every list names the place. A pattern stands for names alone, never for an address or the domain itself. */
export function allows(lists: EgressLists, { host, port }: Place): boolean {
  return lists.every((list) =>
    list.some((entry) => {
      if (!entry.startsWith('*.')) return entry === textOf({ host, port })
      const end = entry.slice(1)
      return isIP(host) === 0 && `${host}:${port}`.endsWith(end) && host.length + String(port).length + 1 > end.length
    }),
  )
}
