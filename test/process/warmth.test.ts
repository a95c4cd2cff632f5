import { stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { asked, event, MODEL, openSite, record, say } from '../fixtures/real-pool.ts'
import { WHOLE } from '../fixtures/whole.ts'

test('A first turn is cold, the next are live, and the conversation is whole', async () => {
  const site = await openSite()
  const pool = await site.pool()
  const session = await pool.session('one', { agent: 'a' })
  expect(await session.info()).toMatchObject({ state: 'hibernated', cwd: undefined, sdkSessionId: undefined, turns: 0 })
  expect(await say(session, 'first')).toEqual({ text: '[turn 1] You said: first', warmth: 'cold' })
  expect(await say(session, 'second')).toEqual({ text: '[turn 2] You said: second', warmth: 'live' })
  const [worker] = pool.workers()
  const { cwd, sdkSessionId } = await session.info()
  expect(worker).toMatchObject({ session: 'one', state: 'idle', turns: 2, warmth: 'live', cwd, sdkSessionId })
  expect(dirname(cwd ?? '')).toBe(join(site.dataDir, 'tenants', 'default', 'workspaces'))
  expect((await stat(cwd ?? '')).mode & 0o777).toBe(0o700)
})

test('A session that was hibernated is resumed, and goes on where it was', async () => {
  const site = await openSite()
  const pool = await site.pool()
  const session = await pool.session('one', { agent: 'a' })
  await say(session, 'first')
  const before = await session.info()
  const left = event(pool, 'worker.closed')
  await session.hibernate()
  expect(await left).toMatchObject({ reason: 'hibernate', exit: { exitCode: 0 }, termination: { stage: 'eof' } })
  expect(pool.workers()).toEqual([])
  expect(await session.info()).toMatchObject({ state: 'hibernated', turns: 1 })
  expect(await say(session, 'second')).toEqual({ text: '[turn 2] You said: second', warmth: 'resumed' })
  expect(await session.info()).toMatchObject({ sdkSessionId: before.sdkSessionId, cwd: before.cwd, turns: 2 })
})

test.runIf(WHOLE)('A session that is warmed finds its own process, new or resumed', async () => {
  const site = await openSite()
  const pool = await site.pool()
  await pool.warm('one', { agent: 'a' })
  const session = await pool.session('one')
  const { sdkSessionId } = await session.info()
  expect(pool.workers()).toMatchObject([{ session: 'one', purpose: 'ahead', state: 'idle', sdkSessionId }])
  expect(asked(site, '')).toEqual([])
  expect(await say(session, 'first')).toEqual({ text: '[turn 1] You said: first', warmth: 'primed' })
  await session.hibernate()
  await session.warm()
  await session.warm()
  expect(await say(session, 'second')).toEqual({ text: '[turn 2] You said: second', warmth: 'primed' })
  expect((await session.info()).sdkSessionId).toBe(sdkSessionId)
  expect(pool.stats().totals.starts).toBe(2)
})

test('A spare serves a new conversation in a workspace of its own, and another takes its place', async () => {
  const site = await openSite()
  const pool = await site.pool({ agents: { a: { model: MODEL, spares: { min: 1, max: 1 } } } })
  const { worker: spare } = await event(pool, 'worker.ready')
  expect(spare).toMatchObject({ session: undefined, purpose: 'spare', state: 'idle' })
  const replaced = event(pool, 'worker.ready')
  const session = await pool.session('one', { agent: 'a' })
  expect(await say(session, 'first')).toEqual({ text: '[turn 1] You said: first', warmth: 'spare' })
  expect(await session.info()).toMatchObject({ sdkSessionId: spare.sdkSessionId, cwd: spare.cwd })
  expect(pool.workers().find(({ id }) => id === spare.id)).toMatchObject({ session: 'one', warmth: 'spare' })
  const { worker: next } = await replaced
  expect(next).toMatchObject({ session: undefined, purpose: 'spare' })
  expect(next.cwd).not.toBe(spare.cwd)
  expect(pool.stats().workers.spares).toBe(1)
  await session.hibernate()
  expect(await say(session, 'second')).toEqual({ text: '[turn 2] You said: second', warmth: 'resumed' })
})

test('An unbound spare is claimed for the directory that a caller chose, and resumes there', async () => {
  const site = await openSite()
  const cwd = await site.directory('project')
  const pool = await site.pool({
    agents: {
      a: { model: MODEL, spares: { max: 0 }, unboundSpares: { min: 1, max: 1 }, allowedTools: ['Bash'] },
    },
  })
  const { worker: parked } = await event(pool, 'worker.ready')
  expect(parked).toMatchObject({ purpose: 'unbound', sdkSessionId: undefined })
  const replaced = event(pool, 'worker.ready')
  const session = await pool.session('one', { agent: 'a', cwd })
  expect(await say(session, '@sim bash pwd')).toEqual({ text: `[turn 1] tool said: ${cwd}`, warmth: 'spare' })
  const worker = pool.workers().find(({ id }) => id === parked.id)
  const info = await session.info()
  expect(worker).toMatchObject({ cwd, session: 'one', sdkSessionId: info.sdkSessionId })
  expect(info.cwd).toBe(cwd)
  expect(await say(session, 'second')).toEqual({ text: '[turn 2] You said: second', warmth: 'live' })
  await replaced
  await session.hibernate()
  expect(await say(session, '@sim bash pwd')).toEqual({ text: `[turn 3] tool said: ${cwd}`, warmth: 'resumed' })
  expect((await session.info()).sdkSessionId).toBe(info.sdkSessionId)
})

test.runIf(WHOLE)('Spares of both kinds serve many new conversations at once, each with its own', async () => {
  const site = await openSite()
  const pool = await site.pool({ agents: { a: { model: MODEL, spares: { min: 2, max: 2 } } } })
  const both = event(pool, 'worker.ready', () => pool.stats().workers.spares === 2)
  await both
  const sessions = await Promise.all(['x', 'y', 'z'].map((key) => pool.session(key, { agent: 'a' })))
  const answers = await Promise.all(sessions.map((session) => say(session, session.key)))
  expect(answers.map(({ text }) => text)).toEqual(['x', 'y', 'z'].map((key) => `[turn 1] You said: ${key}`))
  expect(answers.filter(({ warmth }) => warmth === 'spare').length).toBeGreaterThanOrEqual(2)
  const infos = await Promise.all(sessions.map((session) => session.info()))
  expect(new Set(infos.map(({ cwd }) => cwd)).size).toBe(3)
  expect(new Set(infos.map(({ sdkSessionId }) => sdkSessionId)).size).toBe(3)
})

test('First uses of one key at once begin one session, in one process', async () => {
  const site = await openSite()
  const pool = await site.pool()
  const created = record(pool, 'session.created')
  const started = record(pool, 'worker.started')
  const sessions = await Promise.all(Array.from({ length: 8 }, () => pool.session('one', { agent: 'a' })))
  await Promise.all([
    ...sessions.map((session) => session.warm()),
    ...sessions.map((session, index) => session.send(`prompt ${index}`, { onBusy: 'queue' }).result),
  ])
  expect(created).toHaveLength(1)
  expect(started).toHaveLength(1)
  expect((await sessions[0]?.info())?.turns).toBe(8)
})

test.runIf(WHOLE)(
  'A turn that meets a hibernation keeps its process, or finds another when that one has left',
  async () => {
    const site = await openSite()
    const pool = await site.pool()
    const alive = new Set<string>()
    let most = 0
    pool.on('worker.started', ({ worker }) => {
      alive.add(worker.id)
      most = Math.max(most, alive.size)
    })
    pool.on('worker.closed', ({ worker }) => void alive.delete(worker.id))
    const session = await pool.session('one', { agent: 'a' })
    await say(session, 'first')
    const [refused, second] = await Promise.allSettled([session.hibernate(), say(session, 'second')])
    expect(refused).toMatchObject({
      reason: { code: 'session_busy', message: expect.stringContaining('then hibernate') },
    })
    expect(second).toMatchObject({ value: { text: '[turn 2] You said: second', warmth: 'live' } })
    const leaving = session.hibernate()
    while (pool.workers()[0]?.state === 'idle') await setImmediate()
    expect(pool.workers()).toMatchObject([{ state: 'closing' }])
    expect(await say(session, 'third')).toEqual({ text: '[turn 3] You said: third', warmth: 'resumed' })
    await leaving
    expect(most).toBe(1)
  },
)
