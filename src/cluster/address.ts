import { createHash } from 'node:crypto'
import { readFileSync, readlinkSync } from 'node:fs'
import { hostname } from 'node:os'
import { isLoopback } from '../addresses.ts'

/** Ends the address of a host that only its own network sees. */
const MARK = '#'

/** Names the network of this process: containers of one machine have different loopbacks. */
function networkOf(): string {
  try {
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()} ${readlinkSync('/proc/self/ns/net')}`
  } catch {
    return hostname()
  }
}

let mark: string | undefined

const ownMark = (): string => (mark ??= createHash('sha256').update(networkOf()).digest('hex').slice(0, 16))

/** What a host tells the others of its address. */
export const toldAddress = (address: string): string =>
  isLoopback(address) ? `${address}${MARK}${ownMark()}` : address

/** The `host:port` of a told address; undefined if it is the loopback of another network, where anything may listen. */
export function reachableAddress(told: string | undefined): string | undefined {
  const [address, network] = told?.split(MARK) ?? []
  return network === undefined || network === ownMark() ? address : undefined
}
