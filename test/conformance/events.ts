import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { StoreError } from '../../src/errors.ts'
import type { Store, StoredEvent } from '../../src/store/store.ts'
import { OneHost } from './one-host.ts'
import { record } from './sessions.ts'

export const event = (number: number, facts: Partial<StoredEvent> = {}): StoredEvent => ({
  number,
  id: `event ${number}`,
  type: 'agent.message',
  at: 1_000 + number,
  json: JSON.stringify({ number }),
  ...facts,
})

const events = (from: number, to: number): StoredEvent[] =>
  Array.from({ length: to - from + 1 }, (_, index) => event(from + index))

const ALL = { limit: 10_000 }

/** What every store must do for events. */
export function eventConformance(open: () => Promise<Store>): void {
  let store: Store
  let host: OneHost
  const numbers = async (uid: string, range: Partial<Parameters<Store['readEvents']>[1]> = {}): Promise<number[]> =>
    (await store.readEvents(uid, { ...ALL, ...range })).map(({ number }) => number)

  beforeEach(async () => {
    store = await open()
    host = await OneHost.of(store)
    await host.put(record('t', 'k', { uid: 'one' }))
    await host.put(record('u', 'k', { uid: 'two' }))
  })

  afterEach(() => store.close())

  describe('events', () => {
    test('come back as they were added, in order', async () => {
      const odd = event(3, { json: JSON.stringify({ text: 'a\0b \ud800 \u{1f980} "\\\n' }), type: 'user.message' })
      await host.appendEvents('one', events(1, 2))
      await host.appendEvents('one', [odd])
      expect(await store.readEvents('one', ALL)).toEqual([event(1), event(2), odd])
      expect(await store.eventTotals('one')).toEqual({
        first: 1,
        last: 3,
        size: Buffer.byteLength([event(1), event(2), odd].map(({ json }) => json).join('')),
      })
    })

    test('of one session are nothing of another’s', async () => {
      await host.appendEvents('one', events(1, 3))
      await host.appendEvents('two', events(1, 1))
      expect(await numbers('two')).toEqual([1])
      expect(await store.eventTotals('two')).toMatchObject({ first: 1, last: 1 })
      await host.trimEvents('two', 100)
      await host.remove('u', 'k')
      expect(await numbers('one')).toEqual([1, 2, 3])
    })

    test('that were never added are not there', async () => {
      expect(await store.readEvents('one', ALL)).toEqual([])
      expect(await store.readEvents('nobody', ALL)).toEqual([])
      expect(await store.eventTotals('nobody')).toEqual({ first: 0, last: 0, size: 0 })
      await host.appendEvents('one', [])
      await host.trimEvents('nobody', 5)
      expect(await store.eventTotals('one')).toEqual({ first: 0, last: 0, size: 0 })
    })

    test('are read from both ends, between two numbers, by type, and no more than asked for', async () => {
      await host.appendEvents('one', [...events(1, 6), event(7, { type: 'user.message' })])
      expect(await numbers('one', { after: 5 })).toEqual([6, 7])
      expect(await numbers('one', { after: 2, limit: 2 })).toEqual([3, 4])
      expect(await numbers('one', { descending: true, limit: 3 })).toEqual([7, 6, 5])
      expect(await numbers('one', { before: 4, descending: true, limit: 2 })).toEqual([3, 2])
      expect(await numbers('one', { after: 1, before: 4 })).toEqual([2, 3])
      expect(await numbers('one', { types: ['user.message', 'session.error'] })).toEqual([7])
      expect(await numbers('one', { types: ['agent.message'], descending: true, limit: 1 })).toEqual([6])
      expect(await numbers('one', { types: [] })).toEqual([])
    })

    test('are read to the one that makes a page too large, from both ends, and one is always read', async () => {
      const large = (number: number): StoredEvent =>
        event(number, { json: JSON.stringify({ text: 'é'.repeat(1_000) }) })
      await host.appendEvents('one', [1, 2, 3, 4].map(large))
      expect(await numbers('one', { maxBytes: 1 })).toEqual([1])
      expect(await numbers('one', { maxBytes: 3_000 })).toEqual([1, 2])
      expect(await numbers('one', { maxBytes: 3_000, after: 2 })).toEqual([3, 4])
      expect(await numbers('one', { maxBytes: 3_000, descending: true })).toEqual([4, 3])
      const huge = event(5, { json: JSON.stringify({ text: 'x'.repeat(5 * 2 ** 20) }) })
      await host.appendEvents('one', [huge, event(6)])
      expect(await numbers('one')).toEqual([1, 2, 3, 4, 5])
      expect(await numbers('one', { after: 5 })).toEqual([6])
    })

    test('that are added again are there once, as they were added last', async () => {
      await host.appendEvents('one', events(1, 3))
      const processed = event(2, { json: '{"processed":true}', at: 9_000 })
      await host.appendEvents('one', [event(1), processed, event(3), event(4)])
      expect(await store.readEvents('one', ALL)).toEqual([event(1), processed, event(3), event(4)])
    })

    test.each([
      ['a gap', [event(4), event(6)]],
      ['a start beyond the end', [event(5)]],
      ['a number that another event has', [event(4), event(3, { id: 'of another host' })]],
      ['one number twice', [event(4), event(4, { id: 'another' })]],
    ])('with %s are refused, and nothing of the batch is added', async (_what, batch) => {
      await host.appendEvents('one', events(1, 3))
      await expect(host.appendEvents('one', batch, 'open')).rejects.toThrow(StoreError)
      expect(await numbers('one')).toEqual([1, 2, 3])
      expect(await host.openTurns()).toEqual([])
      await host.appendEvents('one', [event(4)])
    })

    test('of a session that is not there are refused', async () => {
      await expect(host.appendEvents('nobody', [event(1)])).rejects.toThrow('session nobody is not in the store')
    })

    test('added at once from everywhere are all there, each session in its order', async () => {
      const uids = Array.from({ length: 20 }, (_, index) => `uid ${index}`)
      await Promise.all(uids.map((uid) => host.put(record('many', uid, { uid }))))
      const added: Promise<void>[] = []
      for (let number = 1; number <= 25; number += 1) {
        for (const uid of uids) added.push(host.appendEvents(uid, [event(number, { id: `${uid} ${number}` })]))
      }
      await Promise.all(added)
      for (const uid of uids) expect(await numbers(uid)).toEqual(events(1, 25).map(({ number }) => number))
    })

    test('that cannot be added harm nobody who adds at the same time', async () => {
      const outcomes = await Promise.allSettled([
        host.appendEvents('one', [event(1)]),
        host.appendEvents('one', [event(9)]),
        host.appendEvents('nobody', [event(1)]),
        host.appendEvents('two', [event(1)]),
        host.appendEvents('one', [event(2)]),
      ])
      expect(outcomes.map(({ status }) => status)).toEqual([
        'fulfilled',
        'rejected',
        'rejected',
        'fulfilled',
        'fulfilled',
      ])
      expect(await numbers('one')).toEqual([1, 2])
      expect(await numbers('two')).toEqual([1])
    })

    test('of any size count with their own bytes, and are replaced by any other', async () => {
      const large = (number: number, letter: string): StoredEvent =>
        event(number, { json: JSON.stringify({ text: letter.repeat(200_000) }) })
      const bytes = large(1, 'x').json.length
      await host.appendEvents('one', [large(1, 'x'), event(2), large(3, 'y')])
      expect((await store.eventTotals('one')).size).toBe(2 * bytes + event(2).json.length)
      expect(await numbers('one', { maxBytes: bytes })).toEqual([1])
      const changed = [
        { ...event(1), json: '{"small":1}' },
        { ...event(2), json: large(2, 'z').json },
      ]
      await host.appendEvents('one', changed)
      expect(await store.readEvents('one', ALL)).toEqual([...changed, large(3, 'y')])
    })

    test('of 10 MB are kept whole', async () => {
      const large = event(1, { json: JSON.stringify({ text: 'x'.repeat(10_000_000) }) })
      await host.appendEvents('one', [large])
      expect((await store.readEvents('one', ALL))[0]?.json === large.json).toBe(true)
    })

    test('that were trimmed are gone, and their numbers are not given again', async () => {
      await host.appendEvents('one', events(1, 5))
      await host.trimEvents('one', 3)
      expect(await numbers('one')).toEqual([3, 4, 5])
      expect(await store.eventTotals('one')).toMatchObject({ first: 3, last: 5 })
      await host.trimEvents('one', 100)
      expect(await numbers('one')).toEqual([5])
      await expect(host.appendEvents('one', [event(1)])).rejects.toThrow(StoreError)
      await host.appendEvents('one', [event(6)])
      expect(await numbers('one')).toEqual([5, 6])
    })

    test('go with their session, and a later one under its key begins with none', async () => {
      await host.appendEvents('one', events(1, 3))
      await host.remove('t', 'k')
      await host.put(record('t', 'k', { uid: 'one' }))
      expect(await numbers('one')).toEqual([])
      await host.appendEvents('one', [event(1)])
      await host.remove('t', 'k')
      await host.put(record('t', 'k', { uid: 'three' }))
      expect(await numbers('one')).toEqual([])
      expect(await numbers('three')).toEqual([])
    })

    test('stay when their session’s record is put again', async () => {
      await host.appendEvents('one', events(1, 3), 'open')
      await host.put(record('t', 'k', { uid: 'one', turns: 5 }))
      expect(await numbers('one')).toEqual([1, 2, 3])
      expect(await host.openTurns()).toEqual([record('t', 'k', { uid: 'one', turns: 5 })])
    })
  })

  describe('turns under way', () => {
    const open = async (): Promise<string[]> => (await host.openTurns()).map(({ uid }) => uid)

    test('are known until they are closed', async () => {
      await host.appendEvents('one', [event(1)], 'open')
      await host.appendEvents('two', [event(1)], 'open')
      await host.appendEvents('one', [event(2)])
      expect((await open()).toSorted()).toEqual(['one', 'two'])
      await host.appendEvents('one', [event(3)], 'closed')
      expect(await open()).toEqual(['two'])
      await host.remove('u', 'k')
      expect(await open()).toEqual([])
    })
  })
}
