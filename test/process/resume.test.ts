import { rm, truncate } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { agents, asked, isWritten, openSite, record, say, textOf, transcripts } from '../fixtures/real-pool.ts'
import { WHOLE } from '../fixtures/whole.ts'

test.runIf(WHOLE)('A session whose transcript is gone says so, each time, and sends nothing', async () => {
  const site = await openSite()
  const pool = await site.pool()
  const session = await pool.session('one', { agent: 'a' })
  await say(session, 'first')
  await session.hibernate()
  for (const file of await transcripts(site.dataDir)) await rm(file)
  for (const attempt of ['second', 'third']) {
    await expect(session.send(attempt).result).rejects.toMatchObject({
      name: 'ResumeError',
      code: 'resume_failed',
      message: expect.stringMatching(/no conversation.*(delete|onStaleResume)/),
    })
    expect(asked(site, attempt)).toEqual([])
  }
  expect(pool.workers()).toEqual([])
  await session.delete()
  const again = await pool.session('one', { agent: 'a' })
  expect(await say(again, 'fourth')).toEqual({ text: '[turn 1] You said: fourth', warmth: 'cold' })
})

test.runIf(WHOLE)('A session that may begin anew does so once, and tells what was lost', async () => {
  const site = await openSite()
  const pool = await site.pool({ agents: agents({ onStaleResume: 'fresh' }) })
  const restarted = record(pool, 'session.restarted')
  const session = await pool.session('one', { agent: 'a' })
  await say(session, 'first')
  const { sdkSessionId: lost } = await session.info()
  await session.hibernate()
  for (const file of await transcripts(site.dataDir)) await rm(file)
  expect((await say(session, 'second')).text).toBe('[turn 1] You said: second')
  expect(asked(site, 'second')).toHaveLength(1)
  expect(restarted).toEqual([{ session: { tenant: 'default', key: 'one', agent: 'a' }, lost }])
  const { sdkSessionId } = await session.info()
  expect(sdkSessionId).not.toBe(lost)
  await session.hibernate()
  expect(await say(session, 'third')).toEqual({ text: '[turn 2] You said: third', warmth: 'resumed' })
  expect(restarted).toHaveLength(1)
})

test.runIf(WHOLE)('A transcript that was emptied is as good as gone', async () => {
  const site = await openSite()
  const pool = await site.pool({ agents: agents({ onStaleResume: 'fresh' }) })
  const session = await pool.session('one', { agent: 'a' })
  await say(session, 'first')
  await session.hibernate()
  for (const file of await transcripts(site.dataDir)) await truncate(file)
  expect((await say(session, 'second')).text).toBe('[turn 1] You said: second')
})

test('A session goes on under its id after the agent cleared the conversation', async () => {
  const site = await openSite()
  const pool = await site.pool({ agents: agents({ verbatimPrompts: false }) })
  const session = await pool.session('one', { agent: 'a' })
  await say(session, 'first')
  const { sdkSessionId: before } = await session.info()
  await session.send('/clear').result
  expect((await say(session, 'second')).text).toBe('[turn 1] You said: second')
  const { sdkSessionId } = await session.info()
  expect(pool.workers()).toMatchObject([{ sdkSessionId }])
  await isWritten(site, 'second')
  await session.hibernate()
  expect(await say(session, 'third')).toEqual({ text: '[turn 2] You said: third', warmth: 'resumed' })
  expect(sdkSessionId).not.toBe(before)
  await session.send('/clear').result
  await session.hibernate()
  expect((await say(session, 'fourth')).text).toBe('[turn 1] You said: fourth')
})

test.runIf(WHOLE)(
  'A transcript that has grown too large is refused before anything is started, or begun anew',
  async () => {
    const site = await openSite()
    for (const [onStaleResume, key] of [
      ['error', 'refused'],
      ['fresh', 'anew'],
    ] as const) {
      const pool = await site.pool({ agents: agents({ onStaleResume }), limits: { resumeSize: '200KiB' } })
      const session = await pool.session(key, { agent: 'a' })
      await say(session, 'first')
      await session.hibernate()
      expect((await say(session, 'second\n@sim text 400KiB')).warmth).toBe('resumed')
      // A process that lives needs no transcript.
      expect((await say(session, 'third')).warmth).toBe('live')
      await session.hibernate()
      const turn = session.send('fourth')
      if (onStaleResume === 'fresh') {
        expect(await textOf(turn)).toBe('[turn 1] You said: fourth')
      } else {
        await expect(turn.result).rejects.toMatchObject({
          name: 'ResumeError',
          message: expect.stringMatching(/transcript has .*limits.resumeSize \(200 KiB\), .*; delete the session/),
        })
        expect([asked(site, 'fourth'), pool.workers()]).toEqual([[], []])
      }
      await pool.close()
    }
  },
)
