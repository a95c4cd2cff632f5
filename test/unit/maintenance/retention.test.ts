import fc from 'fast-check'
import { expect, test } from 'vitest'
import { dueForRemoval } from '../../../src/maintenance/retention.ts'
import type { KeptSession } from '../../../src/maintenance/retention.ts'

const NONE = { maxAgeMs: Infinity, maxSessions: Infinity, maxSizeBytes: Infinity }

const kept = (key: string, facts: Partial<KeptSession> = {}): KeptSession => ({
  tenant: 't',
  key,
  agent: 'a',
  uid: `${facts.tenant ?? 't'}/${key}`,
  lastUsedAt: 0,
  bytes: 0,
  live: false,
  ...facts,
})

/** Keys and reasons of who goes. */
const due = (
  sessions: KeptSession[],
  rule: Partial<typeof NONE>,
  more: {
    agents?: Record<string, Partial<typeof NONE>>
    tenants?: Record<string, Partial<typeof NONE>>
    now?: number
  } = {},
): string[] =>
  dueForRemoval(
    sessions,
    {
      ofTenant: (tenant) => ({ ...NONE, ...(more.tenants?.[tenant] ?? rule) }),
      ofAgent: (agent) => (more.agents?.[agent] === undefined ? undefined : { ...NONE, ...more.agents[agent] }),
    },
    more.now ?? 1_000,
  ).map(({ key, reason }) => `${key}: ${reason}`)

test('Without rules everything stays', () => {
  expect(due([kept('a'), kept('b', { bytes: 1e12 })], {})).toEqual([])
})

test('Who was unused for longer than the age goes, and not who was unused for just as long', () => {
  expect(due([kept('old', { lastUsedAt: 899 }), kept('just', { lastUsedAt: 900 })], { maxAgeMs: 100 })).toEqual([
    'old: age',
  ])
})

test('Of too many, those go that were unused longest', () => {
  const sessions = [3, 1, 2].map((at) => kept(`k${at}`, { lastUsedAt: at }))
  expect(due(sessions, { maxSessions: 1 })).toEqual(['k1: count', 'k2: count'])
})

test('Of what is too large together, those go that were unused longest, and no more than needed', () => {
  const sessions = [1, 2, 3].map((at) => kept(`k${at}`, { lastUsedAt: at, bytes: 40 }))
  expect(due(sessions, { maxSizeBytes: 80 })).toEqual(['k1: size'])
})

test('Who is live counts, and stays', () => {
  const sessions = [kept('live', { live: true, bytes: 90 }), kept('idle', { lastUsedAt: 1, bytes: 20 })]
  expect(due(sessions, { maxAgeMs: 1, maxSessions: 1, maxSizeBytes: 1 })).toEqual(['idle: age'])
})

test('Tenants do not count for each other, and one of them may have rules of its own', () => {
  const sessions = ['t', 'u'].flatMap((tenant) =>
    [1, 2].map((at) => kept(`${tenant}${at}`, { tenant, lastUsedAt: at })),
  )
  expect(due(sessions, { maxSessions: 2 })).toEqual([])
  expect(due(sessions, { maxSessions: 1 }, { tenants: { u: {} } })).toEqual(['t1: count'])
})

test('The rules of an agent hold beside those of the tenant', () => {
  const sessions = ['a', 'b'].flatMap((agent) => [1, 2].map((at) => kept(`${agent}${at}`, { agent, lastUsedAt: at })))
  expect(due(sessions, {}, { agents: { b: { maxSessions: 1 } } })).toEqual(['b1: count'])
  expect(due(sessions, { maxSessions: 3 }, { agents: { b: { maxSessions: 1 } } })).toEqual(['a1: count', 'b1: count'])
})

test('What stays keeps every rule as far as what is live lets it, and nothing goes for nothing', () => {
  const session = fc.record({ lastUsedAt: fc.nat(1_000), bytes: fc.nat(100), live: fc.boolean() })
  fc.assert(
    fc.property(fc.array(session, { maxLength: 20 }), fc.nat(10), fc.nat(500), (facts, maxSessions, maxSizeBytes) => {
      const all = facts.map((fact, index) => kept(`k${index}`, fact))
      const gone = due(all, { maxSessions, maxSizeBytes }).map((text) => text.split(':')[0])
      const left = all.filter(({ key }) => !gone.includes(key))
      const size = (sessions: KeptSession[]): number => sessions.reduce((sum, { bytes }) => sum + bytes, 0)
      expect(all.filter(({ live, key }) => live && gone.includes(key))).toEqual([])
      if (left.some(({ live }) => !live)) {
        expect(left.length).toBeLessThanOrEqual(maxSessions)
        expect(size(left)).toBeLessThanOrEqual(maxSizeBytes)
      }
      if (all.length <= maxSessions && size(all) <= maxSizeBytes) expect(gone).toEqual([])
    }),
  )
})
