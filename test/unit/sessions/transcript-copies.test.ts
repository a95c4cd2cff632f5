import { expect, test, vi } from 'vitest'
import type { SDKMessage } from '../../../src/driver/driver.ts'
import { assistantMessage } from '../../../src/testing/messages.ts'
import { answer, fakes } from '../../fixtures/fakes.ts'

const refused = { type: 'system', subtype: 'mirror_error', error: 'the store is away' } as unknown as SDKMessage
const lost = {
  type: 'system',
  subtype: 'session_writes_lost',
  error_code: 'ENOSPC',
  lost: ['transcript'],
} as unknown as SDKMessage

const safe = (pool: { on(name: 'transcript.recopied', listener: () => void): unknown }): Promise<void> =>
  new Promise((resolve) => pool.on('transcript.recopied', () => resolve()))

test('a worker whose transcript is not copied stays until it is, but not for ever', async () => {
  const { session, driver, pool, clock } = await fakes({
    transcripts: 'store',
    residency: { idleTtl: '1m', pinLimit: '1h', maxAge: 'none' },
  })
  const reconcile = vi.spyOn(driver, 'reconcile').mockRejectedValue(new Error('the store is away'))
  const s = await session('k')
  await answer(s.send('hello'))
  const process = await driver.process(0)
  const unsafe = new Promise((resolve) => pool.on('transcript.copyFailed', resolve))
  process.say(refused)
  expect(await unsafe).toMatchObject({ session: { key: 'k' }, reason: 'mirror_error', error: 'the store is away' })
  await clock.advance(10 * 60_000)
  expect(pool.workers()[0]?.pinnedBy).toMatchObject({ transcript: true })
  expect(pool.stats().totals.transcriptCopiesFailed).toEqual({
    mirror_error: 1,
    session_writes_lost: 0,
    turn_not_written: 0,
  })
  const mended = safe(pool)
  reconcile.mockResolvedValue(undefined)
  await clock.advance(60_000)
  await mended
  await clock.advance(10 * 60_000)
  expect(pool.workers()).toEqual([])
})

test('the limit of pins holds for transcripts too', async () => {
  const { session, driver, clock, pool } = await fakes({
    transcripts: 'store',
    residency: { idleTtl: '1m', pinLimit: '5m', maxAge: 'none' },
  })
  vi.spyOn(driver, 'reconcile').mockRejectedValue(new Error('the store is away'))
  await answer((await session('k')).send('hello'))
  const unsafe = new Promise((resolve) => pool.on('transcript.copyFailed', resolve))
  ;(await driver.process(0)).say(refused)
  await unsafe
  await clock.advance(10 * 60_000)
  expect(pool.workers()).toEqual([])
})

test('what the disk did not take is told and counted, and keeps nobody', async () => {
  const { session, driver, pool } = await fakes()
  await answer((await session('k')).send('hello'))
  const unsafe = new Promise((resolve) => pool.on('transcript.copyFailed', resolve))
  ;(await driver.process(0)).say(lost)
  expect(await unsafe).toMatchObject({ reason: 'session_writes_lost', error: 'ENOSPC' })
  expect(pool.workers()[0]?.pinnedBy).toBeUndefined()
  expect(pool.stats().totals.transcriptCopiesFailed.session_writes_lost).toBe(1)
})

test('processes copy to the store of their tenant, and resume when both sides agree', async () => {
  const { pool, driver } = await fakes({ transcripts: 'store' })
  const reconcile = vi.spyOn(driver, 'reconcile')
  const s = await pool.session('k', { agent: 'assistant', tenant: 'acme' })
  await answer(s.send('hello'))
  const { sessionStore } = (await driver.process(0)).spec.options
  expect(await sessionStore?.load({ projectKey: 'p', sessionId: 's' })).toBeNull()
  expect(reconcile).not.toHaveBeenCalled()
  await s.hibernate()
  await answer(s.send('again'))
  expect(reconcile).toHaveBeenCalledTimes(1)
  const { sdkSessionId, cwd } = await s.info()
  expect(reconcile.mock.calls[0]?.[0]).toMatchObject({ cwd, sessionId: sdkSessionId })
})

test('processes of a pool that keeps transcripts locally copy nothing', async () => {
  const { session, driver } = await fakes()
  await answer((await session('k')).send('hello'))
  expect((await driver.process(0)).spec.options.sessionStore).toBeUndefined()
})

test('another place for transcripts is refused at once', async () => {
  await expect(fakes({ transcripts: 'nowhere' as 'local' })).rejects.toMatchObject({ path: 'transcripts' })
  await expect(fakes({ events: 'no' as unknown as boolean })).rejects.toMatchObject({ path: 'events' })
})

test('a turn whose transcript lacks something fails, its worker leaves, and the next one goes on without it', async () => {
  const { session, driver, clock, reasons, pool } = await fakes()
  const check = vi.spyOn(driver, 'checkTranscript')
  const s = await session('k')
  await answer(s.send('one'))
  check.mockImplementation((_place, said) => Promise.resolve(said === undefined ? 7 : undefined))
  const turn = s.send('two')
  const failed = turn.result.catch((error: unknown) => error)
  await clock.advance(5_000)
  expect(await failed).toMatchObject({ name: 'StoreError', message: expect.stringContaining('room') })
  expect(turn.warmth).toBe('live')
  expect(check.mock.calls.length).toBeGreaterThan(2)
  expect(reasons()).toEqual(['transcript'])
  expect(pool.stats().totals.transcriptCopiesFailed.turn_not_written).toBe(1)
  const types = (await s.history({ limit: 100 })).map(({ event }) => event.type)
  expect(types.slice(-2)).toEqual(['session.error', 'session.status_idle'])
  check.mockImplementation(() => Promise.resolve(9))
  const next = s.send('three')
  await answer(next)
  expect(next.warmth).toBe('resumed')
})

test('a transcript is looked at again before it is blamed, and from where it was found whole', async () => {
  const { session, driver, clock } = await fakes()
  const check = vi.spyOn(driver, 'checkTranscript')
  check.mockResolvedValueOnce(undefined).mockResolvedValueOnce(100).mockResolvedValueOnce(200)
  const s = await session('k')
  const turn = s.send('one')
  await clock.advance(1_000)
  await answer(turn)
  await answer(s.send('two'))
  await s.hibernate()
  check.mockResolvedValueOnce(300)
  await answer(s.send('three'))
  expect(check.mock.calls.map(([, said]) => said?.since)).toEqual([0, 0, 100, undefined, 300])
})

test.each([{ error: 'server_error' }, { parent_tool_use_id: 'tool-1' }])(
  'what the CLI or a subagent says is not looked for: %j',
  async (facts) => {
    const { session, driver } = await fakes()
    driver.onStart = (process) => void (process.answersAtOnce = false)
    const check = vi.spyOn(driver, 'checkTranscript').mockResolvedValue(undefined)
    const s = await session('k')
    const turn = s.send('one')
    const process = await driver.process(0)
    await driver.until(() => process.unanswered === 1)
    process.say({ ...assistantMessage('s', 'No answer.'), ...facts } as SDKMessage)
    process.finish()
    expect(await answer(turn)).toBe('')
    expect(check).not.toHaveBeenCalled()
  },
)

test('a turn in which the model has said nothing is not looked for', async () => {
  const { session, driver } = await fakes()
  driver.onStart = (process) => void (process.answersAtOnce = false)
  const check = vi.spyOn(driver, 'checkTranscript').mockResolvedValue(undefined)
  const s = await session('k')
  const turn = s.send('one')
  const process = await driver.process(0)
  await driver.until(() => process.unanswered === 1)
  process.finish({ subtype: 'error_during_execution' })
  expect(await answer(turn)).toBe('error_during_execution')
  expect(check).not.toHaveBeenCalled()
})
