import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { asked, event, MODEL, modelAsked, openSite, processesOf, say, transcripts } from '../fixtures/real-pool.ts'
import { WHOLE } from '../fixtures/whole.ts'

test('A deleted session leaves no process, no record, no transcript and no workspace', async () => {
  const site = await openSite()
  const pool = await site.pool()
  const session = await pool.session('one', { agent: 'a' })
  await say(session, 'first')
  const { cwd, sdkSessionId } = await session.info()
  expect(await transcripts(site.dataDir)).toHaveLength(1)
  const deleted = event(pool, 'session.deleted')
  await session.delete()
  expect(await deleted).toEqual({ session: { tenant: 'default', key: 'one', agent: 'a' } })
  expect(pool.workers()).toEqual([])
  expect(await processesOf(site.root)).toEqual([])
  expect(await pool.sessions()).toEqual([])
  expect(await transcripts(site.dataDir)).toEqual([])
  expect(existsSync(cwd ?? '')).toBe(false)
  const resumed = pool.query({ prompt: 'hi', options: { resume: sdkSessionId ?? '' } })
  await expect(resumed.next()).rejects.toMatchObject({ name: 'ResumeError' })
})

test.runIf(WHOLE)('A deleted session takes the conversations with it that /clear left behind', async () => {
  const site = await openSite()
  const cwd = await site.directory('project')
  const pool = await site.pool({ agents: { a: { model: MODEL, cwd, verbatimPrompts: false, spares: { max: 0 } } } })
  const session = await pool.session('one', { agent: 'a' })
  await say(session, 'first')
  const before = await session.info()
  await session.send('/clear').result
  expect((await say(session, 'second')).text).toBe('[turn 1] You said: second')
  expect((await session.info()).sdkSessionId).not.toBe(before.sdkSessionId)
  expect((await transcripts(site.dataDir)).length).toBeGreaterThanOrEqual(2)
  await session.delete()
  expect(await transcripts(site.dataDir)).toEqual([])
})

test.runIf(WHOLE)('A handle of a deleted session says so, also when another session has its key', async () => {
  const site = await openSite()
  const pool = await site.pool()
  const session = await pool.session('one', { agent: 'a' })
  await say(session, 'first')
  await session.delete()
  await session.delete()
  const gone = { name: 'SessionGoneError', code: 'session_deleted', message: expect.stringContaining('pool.session()') }
  await expect(session.send('second').result).rejects.toMatchObject(gone)
  await expect(session.info()).rejects.toMatchObject(gone)
  await expect(session.warm()).rejects.toMatchObject(gone)
  await expect(pool.session('one')).rejects.toMatchObject({ code: 'session_not_found' })
  const successor = await pool.session('one', { agent: 'a' })
  await expect(session.send('third').result).rejects.toMatchObject(gone)
  await session.delete()
  expect((await say(successor, 'fourth')).text).toBe('[turn 1] You said: fourth')
  await expect(session.send('fifth').result).rejects.toMatchObject(gone)
  expect([...asked(site, 'third'), ...asked(site, 'fifth')]).toEqual([])
})

test('Deleting a session in the middle of a turn ends that turn and what it started', async () => {
  const site = await openSite()
  const pool = await site.pool()
  const session = await pool.session('one', { agent: 'a' })
  const turn = session.send('first\n@sim silence')
  const queued = session.send('second', { onBusy: 'queue' })
  await modelAsked(site, 'first')
  await session.delete()
  for (const { result } of [turn, queued]) await expect(result).rejects.toMatchObject({ code: 'session_deleted' })
  expect(await processesOf(site.root)).toEqual([])
  expect(await transcripts(site.dataDir)).toEqual([])
  expect(await pool.sessions()).toEqual([])
  expect(pool.stats().turns.running).toBe(0)
})

test('Deleting a session while its process starts leaves nothing', async () => {
  const site = await openSite()
  const pool = await site.pool()
  const session = await pool.session('one', { agent: 'a' })
  const started = event(pool, 'worker.started')
  const turn = session.send('first')
  const { worker } = await started
  await session.delete()
  await expect(turn.result).rejects.toMatchObject({ code: 'session_deleted' })
  expect(await processesOf(site.root)).toEqual([])
  expect(await pool.sessions()).toEqual([])
  expect(existsSync(worker.cwd)).toBe(false)
  expect(asked(site, 'first')).toEqual([])
})

test.runIf(WHOLE)(
  'Deleting a session leaves the directory that its caller chose, and the transcripts of others there',
  async () => {
    const site = await openSite()
    const cwd = await site.directory('project')
    const pool = await site.pool()
    const [one, two] = await Promise.all(['one', 'two'].map((key) => pool.session(key, { agent: 'a', cwd })))
    if (one === undefined || two === undefined) return expect.unreachable()
    await say(one, 'first')
    await say(two, 'first')
    await one.delete()
    expect(existsSync(cwd)).toBe(true)
    expect(await transcripts(join(site.dataDir))).toHaveLength(1)
    await two.hibernate()
    expect((await say(two, 'second')).text).toBe('[turn 2] You said: second')
  },
)
