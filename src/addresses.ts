import { Resolver, lookup } from 'node:dns/promises'
import { BlockList, isIP } from 'node:net'
import type { LookupFunction } from 'node:net'

/** Addresses that are no public hosts: loopback, link-local (cloud metadata), private, shared, reserved, multicast. */
const INTERNAL: readonly [network: string, prefix: number][] = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['224.0.0.0', 3],
  ['::', 96],
  ['64:ff9b::', 96],
  ['64:ff9b:1::', 48],
  ['2002::', 16],
  ['fc00::', 7],
  ['fe80::', 9],
  ['ff00::', 8],
]

const internal = new BlockList()
for (const [network, prefix] of INTERNAL) internal.addSubnet(network, prefix, network.includes(':') ? 'ipv6' : 'ipv4')

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?$/i

/** True for an address or host name that means this machine alone, with or without a port. */
export const isLoopback = (host: string): boolean =>
  LOOPBACK.test(host.includes(':') && !host.startsWith('[') && !/^[^:]*:\d+$/.test(host) ? `[${host}]` : host)

/** Names that resolve inside of a machine or a private network by convention. */
const INTERNAL_NAME = /(?:^|\.)(?:localhost|local|internal|intranet|lan|home\.arpa|localdomain)$/

/** A name server that does not answer is not waited for any longer, in milliseconds. */
const LOOKUP_MS = 1_500

/** True for an IP address that is not a public host. An IPv4 address inside an IPv6 one counts as itself. */
function isInternalAddress(address: string): boolean {
  const family = isIP(address)
  return family === 0 ? false : internal.check(address, family === 6 ? 'ipv6' : 'ipv4')
}

/** The addresses of a name; none when it does not resolve. */
export type Resolve = (name: string) => Promise<string[]>

/** Asks the name servers itself: `lookup()` would hold one of the four threads that all file work shares. */
async function resolveName(name: string): Promise<string[]> {
  const resolver = new Resolver({ timeout: LOOKUP_MS, tries: 1 })
  const found = await Promise.allSettled([resolver.resolve4(name), resolver.resolve6(name)])
  return found.flatMap((family) => (family.status === 'fulfilled' ? family.value : []))
}

/** Where a URL leads: the addresses of its host, or why they are not those of a public one. */
export type Target = { addresses: string[] } | { problem: string }

/** A host as names and addresses are compared: `0x7f.1` is `127.0.0.1`. Undefined for what no URL can have. */
export function canonicalHost(host: string): string | undefined {
  if (!URL.canParse(`http://${host}/`)) return undefined
  const { hostname, pathname, username, port } = new URL(`http://${host}/`)
  return hostname === '' || pathname !== '/' || username !== '' || port !== ''
    ? undefined
    : hostname.replace(/^\[(.*)\]$/, '$1').replace(/\.$/, '')
}

/** The host of a URL, as names and addresses are compared. */
const hostOf = (url: URL): string =>
  url.hostname
    .replace(/^\[(.*)\]$/, '$1')
    .replace(/\.$/, '')
    .toLowerCase()

/** Where a name leads: its addresses, or why they are not those of a public host. One internal address is enough. */
export async function publicTarget(host: string, resolve: Resolve = resolveName): Promise<Target> {
  if (INTERNAL_NAME.test(host) || !host.includes('.'))
    return { problem: `${host} is a name of this machine or its network` }
  const addresses = await resolve(host)
  const inside = addresses.find(isInternalAddress)
  if (inside === undefined) return { addresses }
  return { problem: `${host} resolves to ${inside}, which is not a public address` }
}

/** Answers Node's look-up of a name with what was resolved already. */
export function lookupOf(addresses: readonly string[]): LookupFunction {
  const found = addresses.map((address) => ({ address, family: isIP(address) }))
  return (_host, { all }, callback) => {
    const [first = { address: '', family: 0 }] = found
    if (all === true) callback(null, found)
    else callback(null, first.address, first.family)
  }
}

/** The addresses of a URL, public or not. Names of this machine are those of its hosts file. */
export async function addressesOf(url: URL): Promise<string[]> {
  const host = hostOf(url)
  if (isIP(host) !== 0) return [host]
  return (await lookup(host, { all: true })).map(({ address }) => address)
}

export async function targetOf(url: URL, resolve: Resolve = resolveName): Promise<Target> {
  const host = hostOf(url)
  if (isIP(host) !== 0)
    return isInternalAddress(host) ? { problem: `${host} is not a public address` } : { addresses: [host] }
  return publicTarget(host, resolve)
}

/** Why this URL does not lead to a public host; undefined if it does. A name that does not resolve now leads nowhere. */
export async function internalTarget(url: URL, resolve?: Resolve): Promise<string | undefined> {
  const target = await targetOf(url, resolve)
  return 'problem' in target ? target.problem : undefined
}
