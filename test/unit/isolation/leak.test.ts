import { expect, test } from 'vitest'
import { leakOf } from '../../../src/isolation/leak.ts'
import type { ProbeResult } from '../../../src/isolation/probe.ts'

const HOLDS: ProbeResult = {
  host_environment: false,
  host_process: false,
  host_signal: false,
  store: false,
  other_tenant: false,
  control_socket: false,
  loopback: false,
  programs: true,
  own_files: true,
}

test('A boundary holds if nothing is reached that must not be, and all that must', () => {
  expect(leakOf(HOLDS, 'closed')).toBeUndefined()
  expect(leakOf({ ...HOLDS, bridge: true }, 'bridged')).toBeUndefined()
  expect(leakOf({ ...HOLDS, loopback: true }, 'open')).toBeUndefined()
})

test.each([
  [{ host_environment: true }, 'reached the environment of other processes'],
  [{ host_process: true }, 'reached the process of the host'],
  [{ host_signal: true }, 'reached the host with a signal'],
  [{ store: true }, 'reached the store'],
  [{ other_tenant: true }, 'reached the files of another tenant'],
  [{ control_socket: true }, 'reached sockets of the host'],
  [{ loopback: true }, 'reached the network'],
  [{ own_files: false }, 'did not reach its own files'],
  [{ programs: false }, 'did not reach the program claude'],
  [{ bridge: false }, 'did not reach its HTTP proxy through socat'],
] as const)('%j is a leak: it %s', (found, says) => {
  expect(leakOf({ ...HOLDS, ...found }, 'closed')).toBe(`an isolated process ${says}`)
})
