import type { Network } from './confinement.ts'
import type { ProbeResult } from './probe.ts'

/** What processes must not reach, and how an error names it. */
const CLOSED: Record<Exclude<keyof ProbeResult, 'own_files' | 'programs' | 'loopback' | 'bridge'>, string> = {
  host_environment: 'the environment of other processes',
  host_process: 'the process of the host',
  host_signal: 'the host with a signal',
  store: 'the store',
  other_tenant: 'the files of another tenant',
  control_socket: 'sockets of the host',
}

/** What a probe reached and must not, or did not reach and must; undefined: nothing. */
export function leakOf(result: ProbeResult, network: Network): string | undefined {
  const open = Object.entries(CLOSED).find(([name]) => result[name as keyof ProbeResult])?.[1]
  if (open !== undefined) return `an isolated process reached ${open}`
  if (network !== 'open' && result.loopback) return 'an isolated process reached the network'
  if (!result.own_files) return 'an isolated process did not reach its own files'
  if (!result.programs) return 'an isolated process did not reach the program claude'
  return result.bridge === false ? 'an isolated process did not reach its HTTP proxy through socat' : undefined
}
