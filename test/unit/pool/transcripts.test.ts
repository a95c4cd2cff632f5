import { expect, test, vi } from 'vitest'
import type { SDKMessage } from '../../../src/driver/driver.ts'
import { answer, fakes } from '../../fixtures/fakes.ts'

const refused = { type: 'system', subtype: 'mirror_error', error: 'the store is away' } as unknown as SDKMessage
const lost = {
  type: 'system',
  subtype: 'session_writes_lost',
  error_code: 'ENOSPC',
  lost: ['transcript'],
} as unknown as SDKMessage

const safe = (pool: { on(name: 'transcript.safe', listener: () => void): unknown }): Promise<void> =>
  new Promise((resolve) => pool.on('transcript.safe', () => resolve()))

test('a worker whose transcript is not copied stays until it is, but not for ever', async () => {
  const { session, driver, pool, clock } = await fakes({
    transcripts: 'store',
    residency: { idleTtl: '1m', pinLimit: '1h', maxAge: 'none' },
  })
  const reconcile = vi.spyOn(driver, 'reconcile').mockRejectedValue(new Error('the store is away'))
  const s = await session('k')
  await answer(s.send('hello'))
  const process = await driver.process(0)
  const unsafe = new Promise((resolve) => pool.on('transcript.unsafe', resolve))
  process.say(refused)
  expect(await unsafe).toMatchObject({ session: { key: 'k' }, reason: 'mirror_error', error: 'the store is away' })
  await clock.advance(10 * 60_000)
  expect(pool.workers()[0]?.pinnedBy).toMatchObject({ transcript: true })
  expect(pool.stats().totals.transcriptsUnsafe).toEqual({ mirror_error: 1, session_writes_lost: 0 })
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
  const unsafe = new Promise((resolve) => pool.on('transcript.unsafe', resolve))
  ;(await driver.process(0)).say(refused)
  await unsafe
  await clock.advance(10 * 60_000)
  expect(pool.workers()).toEqual([])
})

test('what the disk did not take is told and counted, and keeps nobody', async () => {
  const { session, driver, pool } = await fakes()
  await answer((await session('k')).send('hello'))
  const unsafe = new Promise((resolve) => pool.on('transcript.unsafe', resolve))
  ;(await driver.process(0)).say(lost)
  expect(await unsafe).toMatchObject({ reason: 'session_writes_lost', error: 'ENOSPC' })
  expect(pool.workers()[0]?.pinnedBy).toBeUndefined()
  expect(pool.stats().totals.transcriptsUnsafe.session_writes_lost).toBe(1)
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
