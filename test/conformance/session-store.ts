import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { forkSession, getSessionMessages, listSessions } from '@anthropic-ai/claude-agent-sdk'
import type { SessionStoreEntry } from '../../src/driver/driver.ts'
import { sessionStore } from '../../src/store/session-store.ts'
import type { Store } from '../../src/store/store.ts'

const MAIN = { projectKey: 'project', sessionId: 'session' }
const entry = (text: string, uuid?: string): SessionStoreEntry => ({
  type: 'user',
  text,
  ...(uuid === undefined ? {} : { uuid }),
})

/** What the SDK asks of a session store, and what it leaves out, on any store. */
export function sessionStoreConformance(open: () => Promise<Store>): void {
  let store: Store
  let transcripts: ReturnType<typeof sessionStore>
  let now = 1_000.75

  beforeEach(async () => {
    store = await open()
    transcripts = sessionStore(store, 't', { wall: () => now })
  })

  afterEach(() => store.close())

  describe('a session store', () => {
    test('gives back what was appended, deeply equal and in the order of the calls', async () => {
      const odd = { type: 'x', nested: { b: [1, null, 'a\0\ud800'], a: true }, unknown: 1.5 }
      await transcripts.append(MAIN, [entry('one', '1'), odd])
      await transcripts.append(MAIN, [entry('two', '2'), entry('three')])
      expect(await transcripts.load(MAIN)).toEqual([entry('one', '1'), odd, entry('two', '2'), entry('three')])
    })

    test('gives null for what was never written, also when other keys were', async () => {
      expect(await transcripts.load(MAIN)).toBeNull()
      await transcripts.append(MAIN, [])
      expect(await transcripts.load(MAIN)).toBeNull()
      await transcripts.append({ ...MAIN, subpath: 'subagents/a' }, [entry('sub')])
      expect(await transcripts.load(MAIN)).toBeNull()
      expect(await transcripts.load({ ...MAIN, projectKey: 'other' })).toBeNull()
    })

    test('takes a batch again without doubling it', async () => {
      const batch = [entry('one', '1'), entry('two', '2')]
      await transcripts.append(MAIN, batch)
      await transcripts.append(MAIN, [...batch, entry('three', '3')])
      expect(((await transcripts.load(MAIN)) ?? []).map(({ uuid }) => uuid)).toEqual(['1', '2', '3'])
    })

    test('keeps subpaths apart from the main transcript, and lists them', async () => {
      const subpaths = ['subagents/agent-1', 'subagents/workflows/run-2/agent-3']
      await transcripts.append(MAIN, [entry('main')])
      for (const subpath of subpaths) await transcripts.append({ ...MAIN, subpath }, [entry(subpath)])
      expect((await transcripts.listSubkeys(MAIN)).toSorted()).toEqual(subpaths)
      expect(await transcripts.load(MAIN)).toEqual([entry('main')])
      expect(await transcripts.load({ ...MAIN, subpath: 'subagents/agent-1' })).toEqual([entry('subagents/agent-1')])
      expect(await transcripts.listSubkeys({ ...MAIN, sessionId: 'other' })).toEqual([])
    })

    test('lists the sessions of a project with whole milliseconds, and no subagents', async () => {
      await transcripts.append(MAIN, [entry('one')])
      await transcripts.append({ ...MAIN, sessionId: 'second', subpath: 'subagents/x' }, [entry('sub')])
      await transcripts.append({ ...MAIN, projectKey: 'other' }, [entry('other')])
      expect(await transcripts.listSessions('project')).toEqual([{ sessionId: 'session', mtime: 1_000 }])
      now += 500
      await transcripts.append(MAIN, [entry('two')])
      expect(await transcripts.listSessions('project')).toEqual([{ sessionId: 'session', mtime: 1_500 }])
      expect(await transcripts.listSessions('nothing')).toEqual([])
    })

    test('deletes a session with its subagents, or one of them alone; what is gone may begin again', async () => {
      const sub = { ...MAIN, subpath: 'subagents/a' }
      const other = { ...MAIN, sessionId: 'other' }
      for (const key of [MAIN, sub, { ...MAIN, subpath: 'subagents/b' }, other])
        await transcripts.append(key, [entry('x', '1')])
      await transcripts.delete(sub)
      expect(await transcripts.listSubkeys(MAIN)).toEqual(['subagents/b'])
      await transcripts.delete(MAIN)
      await transcripts.delete(MAIN)
      expect(await transcripts.load(MAIN)).toBeNull()
      expect(await transcripts.listSubkeys(MAIN)).toEqual([])
      expect(await transcripts.load(other)).toEqual([entry('x', '1')])
      await transcripts.append(MAIN, [entry('again', '1')])
      expect(await transcripts.load(MAIN)).toEqual([entry('again', '1')])
    })

    test('shows a tenant nothing of another’s', async () => {
      const others = sessionStore(store, 'u', { wall: () => now })
      await transcripts.append(MAIN, [entry('mine')])
      expect(await others.load(MAIN)).toBeNull()
      expect(await others.listSessions('project')).toEqual([])
      await others.delete(MAIN)
      expect(await transcripts.load(MAIN)).toEqual([entry('mine')])
    })

    test('serves the SDK’s own functions', async () => {
      const sessionId = '11111111-1111-4111-8111-111111111111'
      const line = (
        uuid: string,
        parentUuid: string | null,
        type: 'user' | 'assistant',
        text: string,
      ): SessionStoreEntry => ({
        type,
        uuid,
        parentUuid,
        sessionId,
        timestamp: '2026-01-01T00:00:00.000Z',
        cwd: '/work',
        version: '2.0.0',
        isSidechain: false,
        message: { role: type, content: [{ type: 'text', text }] },
      })
      const [a, b] = ['22222222-2222-4222-8222-222222222222', '33333333-3333-4333-8333-333333333333']
      await transcripts.append({ projectKey: '-work', sessionId }, [
        line(a, null, 'user', 'hello'),
        line(b, a, 'assistant', 'hi'),
      ])
      const options = { dir: '/work', sessionStore: transcripts }
      expect((await listSessions(options)).map((session) => session.sessionId)).toEqual([sessionId])
      expect((await getSessionMessages(sessionId, options)).map(({ type }) => type)).toEqual(['user', 'assistant'])
      const fork = await forkSession(sessionId, options)
      expect((await getSessionMessages(fork.sessionId, options)).length).toBe(2)
    })
  })
}
