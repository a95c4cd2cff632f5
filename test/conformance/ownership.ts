import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { FencedError } from '../../src/errors.ts'
import type { SessionClaim, Store } from '../../src/store/store.ts'
import { event } from './events.ts'
import { record } from './sessions.ts'

const SESSION = record('t', 'k', { uid: 'one', sdkSessionId: 'sdk-1' })
const ALL = { limit: 100 }
const TRANSCRIPT = { tenant: 't', project: '-work', sdkSessionId: 'sdk-1' }
const ENTRY = { json: '{"entry":1}' }

/** Every write that carries a claim. */
const WRITES: [string, (store: Store, claim: SessionClaim) => Promise<void>][] = [
  ['its record', (store, claim) => store.put({ ...SESSION, turns: 9 }, claim)],
  ['its use', (store, claim) => store.touch({ ...SESSION, turns: 9 }, claim)],
  ['an event', (store, claim) => store.appendEvents(claim, [event(3)])],
  ['an event again', (store, claim) => store.appendEvents(claim, [event(2, { json: '{"again":true}' })])],
  ['several events', (store, claim) => store.appendEvents(claim, [event(3), event(4)])],
  ['the end of its turn', (store, claim) => store.appendEvents(claim, [event(3)], 'closed')],
  ['nothing but the end of its turn', (store, claim) => store.appendEvents(claim, [], 'closed')],
  ['no events', (store, claim) => store.appendEvents(claim, [])],
  ['events that leave a gap', (store, claim) => store.appendEvents(claim, [event(9)])],
  ['the removal of events', (store, claim) => store.trimEvents(claim, 2)],
  ['its removal', (store, claim) => store.remove(claim)],
  ['its transcript', (store, claim) => store.appendTranscript(TRANSCRIPT, [ENTRY], 0, claim)],
  ['its transcript’s place', (store, claim) => store.moveTranscripts('t', 'sdk-1', '-elsewhere', claim)],
  ['the removal of its transcript', (store, claim) => store.removeTranscript(TRANSCRIPT, claim)],
]

/** What every store must do for the owners of sessions. */
export function ownershipConformance(open: () => Promise<Store>): void {
  let store: Store
  let here: string
  let there: string
  /** A session with two events and a running turn, of the host here. */
  let claim: SessionClaim

  /** All that there is of the session. */
  const kept = async () => [
    await store.get('t', 'k'),
    await store.readEvents('one', ALL),
    await store.loadTranscript(TRANSCRIPT),
  ]

  beforeEach(async () => {
    store = await open()
    here = await store.register('here')
    there = await store.register('there')
    claim = (await store.create(SESSION, here)) as SessionClaim
    await store.appendEvents(claim, [event(1), event(2)], 'open')
    await store.appendTranscript(TRANSCRIPT, [ENTRY], 0, claim)
  })

  afterEach(() => store.close())

  describe('a host', () => {
    test('gets an id that no other host ever gets, at the same place or elsewhere', async () => {
      const ids = [here, there]
      for (const place of ['here', 'there', 'here', 'elsewhere']) ids.push(await store.register(place))
      expect(new Set(ids).size).toBe(ids.length)
    })

    test('that is gone claims nothing and adopts nothing', async () => {
      const after = await store.register('here')
      await expect(store.claim('one', here)).rejects.toThrow(FencedError)
      expect(await store.adopt(here, 10)).toEqual([])
      expect(await store.adopt(after, 10)).toHaveLength(1)
    })
  })

  describe('a claim', () => {
    test('of a session that is owned is refused, and names the owner', async () => {
      const before = await kept()
      await expect(store.claim('one', there)).rejects.toMatchObject({
        name: 'FencedError',
        code: 'fenced',
        owner: here,
      })
      expect(await kept()).toEqual(before)
      await store.appendEvents(claim, [event(3)])
    })

    test('of a session that no host owns has the session as it was left', async () => {
      await store.put({ ...SESSION, turns: 3 }, claim)
      await store.release(claim)
      const claimed = await store.claim('one', there)
      const record = { ...SESSION, turns: 3 }
      expect(claimed).toEqual({ claim: { uid: 'one', owner: there, fence: 2 }, record, lastEvent: 2, openTurn: true })
      await store.appendEvents(claimed.claim, [event(3)], 'closed')
      await store.release(claimed.claim)
      expect(await store.claim('one', there)).toMatchObject({ lastEvent: 3, openTurn: false })
    })

    test('raises the fence, also for the host that owns the session, and after a release', async () => {
      const fences = [claim.fence]
      for (let times = 0; times < 2; times += 1) fences.push((await store.claim('one', here)).claim.fence)
      await store.release({ ...claim, fence: fences.at(-1) as number })
      fences.push((await store.claim('one', here)).claim.fence)
      expect(fences).toEqual([1, 2, 3, 4])
    })

    test('of a session whose owner is gone takes it over', async () => {
      await store.register('here')
      const taken = await store.claim('one', there)
      expect(taken.claim).toEqual({ uid: 'one', owner: there, fence: 2 })
      await expect(store.appendEvents(claim, [event(3)])).rejects.toMatchObject({ owner: there })
    })

    test('by many hosts at once is given to one', async () => {
      await store.release(claim)
      const hosts = await Promise.all(Array.from({ length: 10 }, (_, index) => store.register(`place ${index}`)))
      const outcomes = await Promise.allSettled(hosts.map((host) => store.claim('one', host)))
      expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    })

    test('of a session that is not there is a StoreError', async () => {
      await expect(store.claim('nobody', here)).rejects.toMatchObject({ name: 'StoreError', code: 'store_failed' })
    })
  })

  describe('a write', () => {
    test.each(WRITES)('of %s is refused with an older fence, and changes nothing', async (_what, write) => {
      const { claim: next } = await store.claim('one', here)
      const before = await kept()
      await expect(write(store, claim)).rejects.toMatchObject({ name: 'FencedError', code: 'fenced', owner: here })
      expect(await kept()).toEqual(before)
      await store.register('here')
      const adopted = await store.adopt(there, 10)
      expect(adopted.map((session) => session.claim)).toEqual([{ uid: 'one', owner: there, fence: next.fence + 1 }])
    })

    test.each(WRITES)('of %s is refused under the right fence of another host', async (_what, write) => {
      const before = await kept()
      await expect(write(store, { ...claim, owner: there })).rejects.toMatchObject({ owner: here })
      expect(await kept()).toEqual(before)
    })

    test.each(WRITES)('of %s is refused after a release', async (_what, write) => {
      await store.release(claim)
      const before = await kept()
      await expect(write(store, claim)).rejects.toMatchObject({ name: 'FencedError', owner: undefined })
      expect(await kept()).toEqual(before)
    })

    test('that is refused harms no other write of the same moment', async () => {
      const other = (await store.create(record('t', 'other', { uid: 'two' }), there)) as SessionClaim
      const { claim: next } = await store.claim('one', here)
      const outcomes = await Promise.allSettled([
        store.appendEvents(next, [event(3)]),
        store.appendEvents(claim, [event(4)]),
        store.appendEvents(other, [event(1)]),
      ])
      expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
      expect((await store.readEvents('one', ALL)).map(({ number }) => number)).toEqual([1, 2, 3])
    })
  })

  describe('a transcript without a claim', () => {
    const write = (): Promise<void> => store.appendTranscript(TRANSCRIPT, [ENTRY], 0)

    test('is refused while a host owns the session of its conversation', async () => {
      const before = await kept()
      const refused = { name: 'FencedError', owner: here }
      await expect(write()).rejects.toMatchObject(refused)
      await expect(store.removeTranscript(TRANSCRIPT)).rejects.toMatchObject(refused)
      expect(await kept()).toEqual(before)
    })

    test('is taken when no host owns the session, and for a conversation that no session has', async () => {
      const others = [
        { ...TRANSCRIPT, tenant: 'u' },
        { ...TRANSCRIPT, sdkSessionId: 'sdk-2' },
      ]
      for (const other of others) {
        await store.appendTranscript(other, [ENTRY], 0)
        expect(await store.loadTranscript(other)).toEqual([ENTRY.json])
      }
      await store.release(claim)
      await write()
      expect(await store.loadTranscript(TRANSCRIPT)).toHaveLength(2)
      await store.removeTranscript(TRANSCRIPT)
      expect(await store.loadTranscript(TRANSCRIPT)).toBeUndefined()
    })
  })

  test('a release with an older fence leaves the session with its owner', async () => {
    const { claim: next } = await store.claim('one', here)
    await store.release(claim)
    await store.appendEvents(next, [event(3)])
  })

  test('reads need no claim, and see what the owner has written', async () => {
    await store.register('here')
    const { claim: next } = await store.claim('one', there)
    await store.appendEvents(next, [event(3)], 'closed')
    expect(await store.get('t', 'k')).toEqual(SESSION)
    expect((await store.findBySdkSessionId('sdk-1'))?.uid).toBe('one')
    expect(await store.list({ limit: 10 })).toEqual([SESSION])
    expect((await store.readEvents('one', ALL)).map(({ number }) => number)).toEqual([1, 2, 3])
    expect(await store.eventTotals('one')).toMatchObject({ first: 1, last: 3 })
  })

  describe('adopting', () => {
    test('takes the running turns of hosts that are gone, once, and none of a host that is there', async () => {
      await store.create(record('t', 'idle', { uid: 'idle' }), here)
      const running = (await store.create(record('t', 'running', { uid: 'running' }), there)) as SessionClaim
      await store.appendEvents(running, [event(1)], 'open')
      expect(await store.adopt(there, 10)).toEqual([])
      const next = await store.register('here')
      const adopted = await Promise.all([store.adopt(there, 10), store.adopt(next, 10)])
      const taken = { claim: { uid: 'one', owner: there, fence: 2 }, record: SESSION, lastEvent: 2, openTurn: true }
      expect(adopted.flat()).toEqual([taken])
      await store.appendEvents(running, [event(2)])
      await expect(store.appendEvents(claim, [event(3)], 'closed')).rejects.toThrow(FencedError)
    })

    test('takes no more than asked for, and the rest the next time', async () => {
      for (const uid of ['two', 'three']) {
        const other = (await store.create(record('t', uid, { uid }), here)) as SessionClaim
        await store.appendEvents(other, [event(1)], 'open')
      }
      await store.register('here')
      const pages = [await store.adopt(there, 2), await store.adopt(there, 2), await store.adopt(there, 2)]
      expect(pages.map((page) => page.length)).toEqual([2, 1, 0])
      expect(new Set(pages.flat().map((session) => session.claim.uid))).toEqual(new Set(['one', 'two', 'three']))
    })

    test('leaves a turn that was closed or given back with its session, until it runs again', async () => {
      await store.appendEvents(claim, [event(3)], 'closed')
      await store.register('here')
      expect(await store.adopt(there, 10)).toEqual([])
      const { claim: next } = await store.claim('one', there)
      await store.appendEvents(next, [event(4)], 'open')
      await store.release(next)
      expect(await store.adopt(there, 10)).toHaveLength(1)
    })
  })
}
