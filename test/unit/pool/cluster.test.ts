import { describe, expect, test } from 'vitest'
import { answer, outcome } from '../../fixtures/fakes.ts'
import { passing, testHosts } from '../../fixtures/hosts.ts'
import type { TestHost } from '../../fixtures/hosts.ts'

/** Two hosts. The first one has a session, whose process is idle. */
async function twoHosts() {
  const all = await testHosts(2)
  const [first, second] = all.hosts as [TestHost, TestHost]
  const there = await first.session('k')
  expect(await outcome(there.send('hello'))).toBe('success')
  const here = await second.session('k')
  return { ...all, first, second, there, here }
}

/** The session of the first host runs a turn that does not end by itself. */
async function running() {
  const all = await twoHosts()
  const [process] = all.first.driver.processes
  if (process !== undefined) process.answersAtOnce = false
  const turn = all.there.send('long')
  await all.first.driver.until(() => process?.unanswered === 1)
  return { ...all, turn, process }
}

describe('a session at another host', () => {
  test('comes to the host that sends a prompt, if it is idle', async () => {
    const { first, second, here, there } = await twoHosts()
    expect(await outcome(here.send('here'))).toBe('success')
    expect(first.driver.living).toEqual([])
    expect(second.driver.living).toHaveLength(1)
    expect(await outcome(there.send('and back'))).toBe('success')
    expect(first.driver.living).toHaveLength(1)
    expect((await there.history({ limit: 100, types: ['user.message'] })).map(({ number }) => number).length).toBe(3)
  })

  test('that runs a turn refuses a prompt; one that queues has its turn after that', async () => {
    const { clock, here, turn, process } = await running()
    expect(await outcome(here.send('now'))).toBe('session_elsewhere')
    const queued = here.send('then', { onBusy: 'queue' })
    process?.sayText('done')
    process?.finish()
    if (process !== undefined) process.answersAtOnce = true
    expect(await answer(turn)).toBe('done')
    expect(await passing(clock, outcome(queued))).toBe('success')
  })

  test('is interrupted from here', async () => {
    const { clock, here, process } = await running()
    expect(await passing(clock, here.interrupt())).toBe(true)
    expect(process?.interrupts).toBe(1)
  })

  test('hibernates from here, unless it runs a turn', async () => {
    const { first, here } = await twoHosts()
    await here.hibernate()
    expect(first.driver.living).toEqual([])
    const { here: other } = await running()
    await expect(other.hibernate()).rejects.toMatchObject({ code: 'session_busy' })
  })

  test('takes events, and is deleted from here', async () => {
    const { here, there } = await twoHosts()
    await here.append([{ type: 'user.interrupt' }])
    await here.delete()
    await expect(there.info()).rejects.toMatchObject({ code: 'session_deleted' })
  })

  test('stays there while someone follows it', async () => {
    const { here, there } = await twoHosts()
    const events = there.events({ after: 1_000 })
    const next = events.next()
    expect(await outcome(here.send('here'))).toBe('session_elsewhere')
    await events.return?.()
    await next
    expect(await outcome(here.send('here'))).toBe('success')
  })
})
