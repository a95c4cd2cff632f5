import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Store, TranscriptEntry, TranscriptKey } from '../../src/store/store.ts'
import { OneHost } from './one-host.ts'
import { record } from './sessions.ts'

const KEY: TranscriptKey = { tenant: 't', project: '-work', sdkSessionId: 'sdk-1' }

const entry = (value: unknown, uuid?: string): TranscriptEntry => ({ uuid, json: JSON.stringify(value) })

/** What every store must do for transcripts. */
export function transcriptConformance(open: () => Promise<Store>): void {
  let store: Store
  let host: OneHost
  const load = async (key: TranscriptKey): Promise<unknown[] | undefined> =>
    (await store.loadTranscript(key))?.map((json) => JSON.parse(json) as unknown)

  beforeEach(async () => {
    store = await open()
    host = await OneHost.of(store)
  })

  afterEach(() => store.close())

  describe('a transcript', () => {
    test('comes back as it was added, in order', async () => {
      await store.appendTranscript(KEY, [entry(1, 'a'), entry(2)], 1)
      await store.appendTranscript(KEY, [entry(3, 'b')], 2)
      expect(await load(KEY)).toEqual([1, 2, 3])
    })

    test('that was never written is not there', async () => {
      await store.appendTranscript(KEY, [], 1)
      expect(await load(KEY)).toBeUndefined()
      expect(await store.listTranscripts('t', '-work')).toEqual([])
      expect(await store.listSubpaths(KEY)).toEqual([])
      await store.removeTranscript(KEY)
    })

    test('has an entry with a uuid once, and one without as often as it comes', async () => {
      await store.appendTranscript(KEY, [entry(1, 'a'), entry(1, 'a'), entry(2), entry(2)], 1)
      await store.appendTranscript(KEY, [entry('changed', 'a'), entry(3, 'b'), entry(2)], 2)
      expect(await load(KEY)).toEqual([1, 2, 2, 3, 2])
      const sub = { ...KEY, subpath: 'subagents/x' }
      await store.appendTranscript(sub, [entry(1, 'a')], 3)
      expect(await load(sub)).toEqual([1])
    })

    test('keeps what few stores like: NUL, lone surrogates, unknown keys, odd uuids', async () => {
      const odd = {
        type: 'x',
        text: 'a\0b\ud800\u{1f980}',
        '\0key\udfff': null,
        nested: [{ unknown: { deep: 1.5e300 } }],
      }
      const uuids = ['a', 'a\0b', 'a\0c', 'a\ud800', 'a\udfff', '']
      await store.appendTranscript(
        KEY,
        [...uuids, ...uuids].map((uuid) => entry(odd, uuid)),
        1,
      )
      expect(await load(KEY)).toEqual(uuids.map(() => odd))
    })

    test('keeps entries of 10 MB', async () => {
      const large = entry({ text: 'x'.repeat(10_000_000) }, 'large')
      await store.appendTranscript(KEY, [large, large], 1)
      const loaded = await store.loadTranscript(KEY)
      expect(loaded?.length).toBe(1)
      expect(loaded?.[0] === large.json).toBe(true)
    })

    test('that is written from several sides at once has every entry, each batch in its order', async () => {
      const batch = (name: string): TranscriptEntry[] =>
        Array.from({ length: 50 }, (_, n) => entry([name, n], `${name}${n}`))
      await Promise.all(['a', 'b', 'c', 'a'].map((name) => store.appendTranscript(KEY, batch(name), 1)))
      const loaded = (await load(KEY)) as [string, number][]
      expect(loaded.length).toBe(150)
      for (const name of ['a', 'b', 'c']) {
        expect(loaded.filter(([of]) => of === name).map(([, n]) => n)).toEqual(batch(name).map((_, n) => n))
      }
    })
  })

  describe('transcripts', () => {
    const odd = '-a\0b/"\ud800'
    const keys: TranscriptKey[] = [
      KEY,
      { ...KEY, tenant: 'u' },
      { ...KEY, project: '-other' },
      { ...KEY, sdkSessionId: 'sdk-2' },
      { ...KEY, subpath: 'subagents/one' },
      { ...KEY, subpath: 'subagents/two' },
      { ...KEY, project: odd, sdkSessionId: odd, subpath: odd },
      { ...KEY, project: odd, sdkSessionId: odd },
    ]

    beforeEach(async () => {
      for (const [at, key] of keys.entries()) await store.appendTranscript(key, [entry(key, 'same')], at)
    })

    test('of tenants, projects, conversations and subagents are apart', async () => {
      for (const key of keys) expect(await load(key)).toEqual([key])
    })

    test('are listed with the time of the last write, without those of subagents', async () => {
      const listed = await store.listTranscripts('t', '-work')
      expect(listed.toSorted((a, b) => a.writtenAt - b.writtenAt)).toEqual([
        { sdkSessionId: 'sdk-1', writtenAt: 0 },
        { sdkSessionId: 'sdk-2', writtenAt: 3 },
      ])
      await store.appendTranscript(KEY, [entry(0)], 99)
      expect(await store.listTranscripts('t', '-work')).toContainEqual({ sdkSessionId: 'sdk-1', writtenAt: 99 })
      expect(await store.listTranscripts('t', odd)).toEqual([{ sdkSessionId: odd, writtenAt: 7 }])
      expect((await store.listSubpaths(KEY)).toSorted()).toEqual(['subagents/one', 'subagents/two'])
      expect(await store.listSubpaths({ ...KEY, project: odd, sdkSessionId: odd })).toEqual([odd])
    })

    test('of a subagent are removed alone', async () => {
      await store.removeTranscript({ ...KEY, subpath: 'subagents/one' })
      expect(await store.listSubpaths(KEY)).toEqual(['subagents/two'])
      expect(await load(KEY)).toEqual([KEY])
    })

    test('of a conversation are removed with those of its subagents, and no others', async () => {
      await store.removeTranscript(KEY)
      await store.removeTranscript(KEY)
      const removed = keys.filter(
        ({ tenant, project, sdkSessionId }) => `${tenant}${project}${sdkSessionId}` === 't-worksdk-1',
      )
      expect(removed.length).toBe(3)
      for (const key of keys) expect(await load(key)).toEqual(removed.includes(key) ? undefined : [key])
    })

    test('have the size of all of a conversation', async () => {
      await store.appendTranscript(KEY, [{ json: '"\u{1f980}"' }], 9)
      const sizes = keys
        .filter(({ tenant, sdkSessionId }) => tenant === 't' && sdkSessionId === 'sdk-1')
        .map((key) => Buffer.byteLength(JSON.stringify(key)))
      expect(sizes).toHaveLength(4)
      expect(await store.transcriptSize('t', 'sdk-1')).toBe(sizes.reduce((sum, size) => sum + size) + 6)
      expect(await store.transcriptSize('t', odd)).toBeGreaterThan(0)
      expect(await store.transcriptSize('t', 'absent')).toBe(0)
    })

    test('that no session has are found once nothing was added for a while', async () => {
      const all = { before: 100, limit: 100 }
      const names = (found: readonly TranscriptKey[]): string[] =>
        found.map(({ tenant, project, sdkSessionId, subpath = '' }) =>
          [tenant, project, sdkSessionId, subpath].join(' '),
        )
      const conversations = [
        't -other sdk-1 ',
        't -work sdk-1 ',
        't -work sdk-2 ',
        `t ${odd} ${odd} `,
        'u -work sdk-1 ',
      ]
      expect(names(await store.leftoverTranscripts(all)).toSorted()).toEqual(conversations.toSorted())
      expect(names(await store.leftoverTranscripts({ tenant: 'u', limit: 9 }))).toEqual(['u -work sdk-1 '])
      expect(await store.leftoverTranscripts({ ...all, limit: 2 })).toHaveLength(2)
      // The newest of its subagents' is of 5.
      expect(names(await store.leftoverTranscripts({ ...all, before: 5 }))).not.toContain('t -work sdk-1 ')
      expect(names(await store.leftoverTranscripts({ ...all, before: 6 }))).toContain('t -work sdk-1 ')
      await host.put(record('t', 'k', { sdkSessionId: 'sdk-1' }))
      expect(names(await store.leftoverTranscripts(all)).toSorted()).toEqual(
        conversations.filter((name) => !/^t .*sdk-1/.test(name)).toSorted(),
      )
    })

    test('move to another project with those of subagents, and take the place of what was left there', async () => {
      await store.moveTranscripts('t', 'sdk-1', '-moved')
      await store.moveTranscripts('t', 'sdk-1', '-moved')
      const moved = { ...KEY, project: '-moved' }
      expect(await load(KEY)).toBeUndefined()
      expect(await load(moved)).toBeDefined()
      expect((await store.listSubpaths(moved)).toSorted()).toEqual(['subagents/one', 'subagents/two'])
      expect(await load({ ...KEY, tenant: 'u' })).toBeDefined()
      await store.appendTranscript(KEY, [entry('newer', 'x')], 20)
      await store.moveTranscripts('t', 'sdk-1', '-work')
      expect((await store.listSubpaths(KEY)).toSorted()).toEqual(['subagents/one', 'subagents/two'])
      expect(await load(moved)).toBeUndefined()
    })

    test('go with the session whose conversation they are', async () => {
      await host.put(record('t', 'k', { sdkSessionId: 'sdk-1' }))
      await host.remove('t', 'k')
      expect(await load(KEY)).toBeUndefined()
      expect(await store.listSubpaths(KEY)).toEqual([])
      expect(await load({ ...KEY, tenant: 'u' })).toBeDefined()
      expect(await load({ ...KEY, sdkSessionId: 'sdk-2' })).toBeDefined()
    })
  })
}
