import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { SessionRecord, Store, Usage, UsageRecord } from '../../src/store/store.ts'
import { OneHost } from './one-host.ts'

/** A session's record, as far as the test does not say otherwise. */
export const record = (tenant: string, key: string, facts: Partial<SessionRecord> = {}): SessionRecord => ({
  tenant,
  key,
  uid: `uid of ${tenant}/${key}`,
  agent: 'assistant',
  cwd: undefined,
  ownsCwd: false,
  sdkSessionId: undefined,
  begun: false,
  turns: 0,
  usage: undefined,
  createdAt: 1_000,
  lastUsedAt: 2_000,
  ...facts,
})

const used = (outputTokens: number): Usage => ({
  inputTokens: 1,
  outputTokens,
  cacheReadTokens: 2,
  cacheWriteTokens: 3,
  costUsd: 0.1 + 0.2,
  estimated: true,
})
const USAGE: UsageRecord = { total: used(30), reported: used(20), saved: used(10) }

const FULL: Partial<SessionRecord> = {
  cwd: '/work',
  ownsCwd: true,
  sdkSessionId: 'sdk-1',
  begun: true,
  turns: 7,
  usage: USAGE,
}

/** In the order of code points, which is not that of UTF-16. */
const ODD_KEYS = [
  ' ',
  '"',
  '%',
  "'; DROP TABLE sessions; --",
  '../..',
  'A',
  'a',
  'e\u0301',
  'z',
  'é',
  '\u{ff5e}',
  '🦀',
  '🦀🦀',
]

const keysOf = (records: readonly SessionRecord[]): string[] => records.map(({ tenant, key }) => `${tenant}/${key}`)

/** What every store must do for sessions. */
export function sessionConformance(open: () => Promise<Store>): void {
  let store: Store
  let host: OneHost

  beforeEach(async () => {
    store = await open()
    host = await OneHost.of(store)
  })

  afterEach(() => store.close())

  describe('a record', () => {
    test.each([
      ['with everything', FULL],
      ['with as little as there may be', {}],
    ])('%s comes back as it was put', async (_how, facts) => {
      await host.put(record('t', 'k', facts))
      expect(await store.get('t', 'k')).toEqual(record('t', 'k', facts))
    })

    test('replaces the one before it, and stays the same session', async () => {
      await host.put(record('t', 'k', FULL))
      const next = record('t', 'k', { turns: 8 })
      await store.put({ ...next, tenant: 'u', key: 'other', uid: 'another' }, host.claimOf(next.uid))
      expect(await store.list({ limit: 1_000 })).toEqual([next])
    })

    test('is not changed by changing what was put or what came back', async () => {
      const put = record('t', 'k')
      await host.put(put)
      put.turns = 99
      const got = (await store.get('t', 'k')) as SessionRecord
      got.turns = 98
      const [listed] = await store.list({ limit: 1 })
      if (listed !== undefined) listed.turns = 97
      expect((await store.get('t', 'k'))?.turns).toBe(0)
    })

    test('that was never put is not there', async () => {
      expect(await store.get('t', 'k')).toBeUndefined()
      expect(await store.findBySdkSessionId('sdk-1')).toBeUndefined()
      expect(await store.list({ limit: 10 })).toEqual([])
      expect(await store.list({ limit: 1_000 })).toHaveLength(0)
    })

    test('is added once under its key, also by two at the same time', async () => {
      const owner = await store.register('there')
      const uids = ['one', 'two', 'three']
      const made = await Promise.all(uids.map((uid) => store.create(record('t', 'k', { uid }), owner)))
      expect(made.filter((claim) => claim !== undefined)).toEqual([{ uid: 'one', owner, fence: 1 }])
      expect(await store.list({ limit: 10 })).toEqual([record('t', 'k', { uid: 'one' })])
      expect(await store.create(record('u', 'k', { uid: 'four' }), owner)).toBeDefined()
    })

    test('that is not there cannot be replaced', async () => {
      await expect(store.put(record('t', 'k'), host.claimOf('nobody'))).rejects.toThrow(
        'session nobody is not in the store',
      )
      expect(await store.list({ limit: 10 })).toEqual([])
    })

    test('is found by the SDK’s id of its conversation, the present one', async () => {
      await host.put(record('t', 'k', { sdkSessionId: 'sdk-1' }))
      await host.put(record('t', 'other'))
      expect((await store.findBySdkSessionId('sdk-1'))?.key).toBe('k')
      await host.put(record('t', 'k', { sdkSessionId: 'sdk-2' }))
      expect(await store.findBySdkSessionId('sdk-1')).toBeUndefined()
      expect((await store.findBySdkSessionId('sdk-2'))?.key).toBe('k')
    })
  })

  describe('removing', () => {
    test('removes the one and no other', async () => {
      await host.put(record('a', 'k', { sdkSessionId: 'sdk-1' }))
      await host.put(record('b', 'k'))
      await host.remove('a', 'k')
      expect(await store.get('a', 'k')).toBeUndefined()
      expect(await store.findBySdkSessionId('sdk-1')).toBeUndefined()
      expect(await store.get('b', 'k')).toBeDefined()
      expect(await store.list({ limit: 1_000 })).toHaveLength(1)
    })

    test('what is not there is no error', async () => {
      await host.remove('t', 'k')
      await host.put(record('t', 'k'))
      await host.remove('t', 'k')
      await host.remove('t', 'k')
      expect(await store.list({ limit: 1_000 })).toHaveLength(0)
    })
  })

  describe('touching', () => {
    test('notes turns, usage and time, and nothing else', async () => {
      const usage = { ...USAGE, total: used(40) }
      await host.put(record('t', 'k', FULL))
      await host.touch(record('t', 'k', { turns: 8, usage, lastUsedAt: 3_000, agent: 'other', begun: false }))
      expect(await store.get('t', 'k')).toEqual(record('t', 'k', { ...FULL, turns: 8, usage, lastUsedAt: 3_000 }))
    })

    test('leaves a later session under the same key alone', async () => {
      await host.put(record('t', 'k', { uid: 'later' }))
      await host.touch(record('t', 'k', { uid: 'earlier', turns: 5 }))
      expect((await store.get('t', 'k'))?.turns).toBe(0)
    })

    test('what is not there makes nothing', async () => {
      await host.touch(record('t', 'k'))
      expect(await store.list({ limit: 1_000 })).toHaveLength(0)
    })
  })

  describe('a list', () => {
    test('is in the order of tenants and keys by code point, whatever the order of puts', async () => {
      for (const key of ODD_KEYS.toReversed()) for (const tenant of ['b', 'a']) await host.put(record(tenant, key))
      const expected = ['a', 'b'].flatMap((tenant) => ODD_KEYS.map((key) => `${tenant}/${key}`))
      expect(keysOf(await store.list({ limit: 100 }))).toEqual(expected)
      for (const key of ODD_KEYS) expect((await store.get('a', key))?.key).toBe(key)
    })

    test('of one tenant shows nothing of another’s', async () => {
      for (const tenant of ['a', 'a1', 'A', 'b']) await host.put(record(tenant, 'k'))
      expect(keysOf(await store.list({ tenant: 'a', limit: 100 }))).toEqual(['a/k'])
      expect(await store.list({ tenant: 'a', after: { tenant: 'a', key: 'k' }, limit: 100 })).toEqual([])
      expect(await store.list({ tenant: 'nobody', limit: 100 })).toEqual([])
    })

    test('of one agent shows nothing of another’s', async () => {
      await host.put(record('t', 'a', { agent: 'one' }))
      await host.put(record('t', 'b', { agent: 'other' }))
      expect(keysOf(await store.list({ agent: 'other', limit: 100 }))).toEqual(['t/b'])
      expect(keysOf(await store.list({ tenant: 't', agent: 'one', limit: 100 }))).toEqual(['t/a'])
    })

    test('may be in the order of creation, and in both directions', async () => {
      const times = { late: 3_000, early: 1_000, twin: 2_000, middle: 2_000 }
      for (const [key, createdAt] of Object.entries(times)) await host.put(record('t', key, { createdAt }))
      await host.put(record('other', 'first', { createdAt: 500 }))
      const inOrder = ['other/first', 't/early', 't/middle', 't/twin', 't/late']
      const order = 'created'
      expect(keysOf(await store.list({ order, limit: 100 }))).toEqual(inOrder)
      expect(keysOf(await store.list({ order, descending: true, limit: 100 }))).toEqual(inOrder.toReversed())
      expect(keysOf(await store.list({ descending: true, limit: 2 }))).toEqual(['t/twin', 't/middle'])
      const after = record('t', 'middle', { createdAt: 2_000 })
      expect(keysOf(await store.list({ order, after, limit: 100 }))).toEqual(['t/twin', 't/late'])
      const before = { tenant: 't', order, descending: true, after, limit: 100 } as const
      expect(keysOf(await store.list(before))).toEqual(['t/early'])
      expect(keysOf(await store.list({ after, descending: true, limit: 100 }))).toEqual([
        't/late',
        't/early',
        'other/first',
      ])
    })

    test('goes on after any key, also one that is not there any more', async () => {
      for (const key of ['a', 'b', 'c', 'd']) await host.put(record('t', key))
      await host.remove('t', 'b')
      expect(keysOf(await store.list({ after: { tenant: 't', key: 'b' }, limit: 1 }))).toEqual(['t/c'])
      expect(keysOf(await store.list({ after: { tenant: 's', key: 'z' }, limit: 1 }))).toEqual(['t/a'])
    })

    test('read page by page shows every session once', async () => {
      const name = fc.string({
        unit: fc.constantFrom('a', 'B', 'é', '🦀', '\u{ff5e}', ' '),
        minLength: 1,
        maxLength: 3,
      })
      await fc.assert(
        fc
          .asyncProperty(
            fc.uniqueArray(fc.tuple(name, name), { selector: ([tenant, key]) => `${tenant}\0${key}`, maxLength: 25 }),
            fc.integer({ min: 1, max: 7 }),
            async (sessions, limit) => {
              for (const [tenant, key] of sessions) await host.put(record(tenant, key))
              const seen: SessionRecord[] = []
              for (;;) {
                const last = seen.at(-1)
                const page = await store.list(last === undefined ? { limit } : { limit, after: last })
                expect(page.length).toBeLessThanOrEqual(limit)
                seen.push(...page)
                if (page.length < limit) break
              }
              expect(await store.list({ limit: 1_000 })).toHaveLength(sessions.length)
              expect(keysOf(seen).toSorted()).toEqual(sessions.map(([tenant, key]) => `${tenant}/${key}`).toSorted())
            },
          )
          .beforeEach(async () => {
            for (const { tenant, key } of await store.list({ limit: 1_000 })) await host.remove(tenant, key)
          }),
        { numRuns: 20 },
      )
    })
  })
}
