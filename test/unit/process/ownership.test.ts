import { describe, expect, it } from 'vitest'
import type { HostIdentity } from '../../../src/process/marker.ts'
import { Ownership } from '../../../src/process/ownership.ts'
import type { ProcessEntry } from '../../../src/process/table.ts'

const HOST: HostIdentity = { pid: 800_000, startTime: '1', bootId: 'this' }

const names = (workerId: string, host = HOST): ProcessEntry['marker'] => ({ host, workerId })

function entry(pid: number, ppid: number, facts: Partial<ProcessEntry> = {}): ProcessEntry {
  return { pid, ppid, group: pid, session: pid, startTime: String(pid), marker: undefined, ...facts }
}

/** The host, and the first processes of two workers. */
const HOST_ENTRY = entry(HOST.pid, 1)
const A = entry(900_100, HOST.pid, { marker: names('a') })
const B = entry(900_200, HOST.pid, { marker: names('b') })
const BASICS = [HOST_ENTRY, A, B]

const owned = (ownership: Ownership, entries: ProcessEntry[]): Record<number, string> =>
  Object.fromEntries(ownership.owners([...BASICS, ...entries]))

const ours = { [A.pid]: 'a', [B.pid]: 'b' }

it('The credential proxy of a host is no worker, except for a caller that asks for it', () => {
  const proxy = entry(900_500, HOST.pid, { marker: names('credential-proxy') })
  expect(owned(new Ownership(HOST), [proxy])).toEqual(ours)
  expect(owned(new Ownership(HOST, { withProxy: true }), [proxy])).toEqual({ ...ours, 900_500: 'credential-proxy' })
})

describe('A process belongs to the worker', () => {
  it('that started it, whatever marker it has put into its environment', () => {
    const forged = entry(900_201, B.pid, { marker: names('a') })
    const below = entry(900_202, 900_201, { marker: names('a') })
    const foreign = entry(900_203, B.pid, { marker: names('x', { ...HOST, pid: 1_234 }) })
    expect(owned(new Ownership(HOST), [below, forged, foreign])).toEqual({
      ...ours,
      900_201: 'b',
      900_202: 'b',
      900_203: 'b',
    })
  })

  it('that it was seen with, also when its parents are gone and it names another one', () => {
    const ownership = new Ownership(HOST)
    owned(ownership, [entry(900_201, B.pid), entry(900_202, 900_201, { marker: names('a') })])
    const orphan = entry(900_202, 1, { marker: names('a') })
    expect(owned(ownership, [orphan])).toEqual({ ...ours, 900_202: 'b' })
    // Another process with that pid is not the one that was seen.
    expect(owned(ownership, [{ ...orphan, startTime: 'later' }])).toEqual({ ...ours, 900_202: 'a' })
  })

  it('that it was seen with, also when its host, the init of a container, adopts it', () => {
    const ownership = new Ownership(HOST)
    owned(ownership, [entry(900_201, B.pid)])
    expect(owned(ownership, [entry(900_201, HOST.pid, { marker: names('a') })])).toEqual({ ...ours, 900_201: 'b' })
  })

  it('whose session it is in, whatever it names', () => {
    const leader = entry(900_201, B.pid)
    const mate = entry(900_202, 1, { session: 900_201, marker: names('a') })
    expect(owned(new Ownership(HOST), [leader, mate])).toEqual({ ...ours, 900_201: 'b', 900_202: 'b' })
  })

  it('that it names, when nothing else is known of it, and its session mates that have no other stay with it', () => {
    const orphan = entry(900_300, 1, { marker: names('a') })
    const mate = entry(900_301, 1, { session: 900_300 })
    expect(owned(new Ownership(HOST), [orphan, mate])).toEqual({ ...ours, 900_300: 'a', 900_301: 'a' })
  })

  it('in whose cgroup it is, and a name counts for nothing there', () => {
    const inside = entry(900_300, 1, { marker: names('b') })
    const forged = entry(900_301, 1, { marker: names('a') })
    const owners = new Ownership(HOST).owners([...BASICS, inside, forged], {
      worker: 'a',
      pids: new Set([A.pid, inside.pid]),
    })
    expect(Object.fromEntries(owners)).toEqual({ ...ours, 900_300: 'a' })
  })
})

describe('No worker owns', () => {
  it('its host, init, what shares a session with the host, or what names a worker of another host', () => {
    const neighbour = entry(900_400, 1, { session: HOST.pid, group: HOST.pid })
    const shared = entry(900_401, A.pid, { session: HOST.pid, group: HOST.pid })
    const stranger = entry(900_402, 1, { marker: names('a', { ...HOST, bootId: 'another' }) })
    const init = entry(1, 0, { marker: names('a') })
    expect(owned(new Ownership(HOST), [neighbour, shared, stranger, init])).toEqual({ ...ours, 900_401: 'a' })
  })
})

it('A chain of ten thousand processes is no burden', () => {
  const chain = Array.from({ length: 10_000 }, (_, index) =>
    entry(910_000 + index, index === 0 ? A.pid : 910_000 + index - 1),
  )
  const found = new Ownership(HOST).owners([...BASICS, ...chain.toReversed()])
  expect([found.size, found.get(919_999)]).toEqual([10_002, 'a'])
})
