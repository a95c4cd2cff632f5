import { describe, expect, test, vi } from 'vitest'
import type { Session } from '../../../src/index.ts'
import { answer, outcome } from '../../fixtures/fakes.ts'
import { passing, testHosts } from '../../fixtures/hosts.ts'
import type { TestHost } from '../../fixtures/hosts.ts'

/** An upper bound for a slow machine. */
const PATIENCE = { timeout: 50_000, interval: 10 }

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

describe('a host that drains', () => {
  test('gives idle sessions back at once, and goes on with a turn', async () => {
    const { clock, first, second, turn, process } = await running()
    const idle = await first.session('idle')
    expect(await outcome(idle.send('hello'))).toBe('success')
    const drained = first.pool.drain()
    const elsewhere = await second.session('idle')
    expect(await passing(clock, outcome(elsewhere.send('go on', { onBusy: 'queue' })))).toBe('success')
    process?.sayText('done')
    process?.finish()
    expect(await answer(turn)).toBe('done')
    await passing(clock, drained)
  })
})

describe('a prompt that has not begun at a host', () => {
  const pending = async (host: TestHost, key: string): Promise<Session> => {
    host.driver.onStart = (process) => (process.readyAtOnce = false)
    const session = await host.session(key)
    await session.send('waiting', { onLeave: 'detach' }).promptStored
    await host.driver.until(() => host.driver.processes.length === 1)
    return session
  }

  const promptsOf = ({ driver }: TestHost): unknown[] =>
    driver.processes.flatMap(({ prompts }) => prompts.map(({ message }) => JSON.stringify(message.content)))

  test('that drains runs at the next one, behind the turn that runs; its caller is told', async () => {
    const { clock, first, second, there, turn, process } = await running()
    const queued = there.send('then', { onBusy: 'queue' })
    await queued.promptStored
    const drained = first.pool.drain()
    process?.sayText('done')
    process?.finish()
    expect(await answer(turn)).toBe('done')
    await expect(queued.result).rejects.toMatchObject({
      code: 'pool_closed',
      duringTurn: true,
      message: expect.stringContaining('the next host of the session runs it'),
    })
    await passing(clock, drained)
    await passing(
      clock,
      second.driver.until(() => promptsOf(second).length === 1),
    )
    expect(promptsOf(second)).toEqual([expect.stringContaining('then')])
    expect(process?.prompts).toHaveLength(2)
  })

  test('that drains runs at the next one, if it waited for its process', async () => {
    const { hosts, clock } = await testHosts(2)
    const [first, second] = hosts as [TestHost, TestHost]
    await pending(first, 'k')
    // It knows of the other one.
    await clock.advance(1_200)
    // The process does not start while the host drains, and nobody waits for that.
    const before = clock.now()
    await passing(clock, first.pool.drain())
    expect(clock.now() - before).toBeLessThan(10_000)
    await passing(
      clock,
      second.driver.until(() => promptsOf(second).length === 1),
    )
    expect(promptsOf(second)).toEqual([expect.stringContaining('waiting')])
    expect(promptsOf(first)).toEqual([])
  })

  test('that drains runs there if no other host could run it', async () => {
    const { hosts, clock } = await testHosts(1)
    const [host] = hosts as [TestHost]
    await pending(host, 'k')
    const drained = host.pool.drain()
    await clock.settle()
    host.driver.processes[0]?.becomeReady()
    await passing(clock, drained)
    expect(promptsOf(host)).toEqual([expect.stringContaining('waiting')])
  })

  test('that is gone runs at a host that claims its session for anything', async () => {
    const { hosts, store, clock } = await testHosts(2)
    const [first, second] = hosts as [TestHost, TestHost]
    await pending(first, 'k')
    await store.lose(first.pool.hosts().find(({ isThisHost }) => isThisHost)?.id ?? '')
    // Before a beat tells the second one of it.
    const held = await second.pool.cluster?.hold('default', 'k')
    held?.[Symbol.dispose]()
    await second.driver.until(() => promptsOf(second).length === 1)
    expect(second.told('session.takenOver')).toEqual([])
    await clock.advance(1_200)
    expect(promptsOf(second)).toEqual([expect.stringContaining('waiting')])
  })
})

test('A session whose release failed is free for others with a later beat', async () => {
  const { clock, store, first, second, there } = await twoHosts()
  store.failingReleases = 2
  await there.hibernate()
  await vi.waitFor(async () => {
    await clock.advance(600)
    second.pool.cluster?.forgetPlace('default', 'k')
    expect(await second.pool.cluster?.placeOf('default', 'k')).toBe('free')
  }, PATIENCE)
  expect(store.failingReleases).toBe(0)
  expect(first.driver.living).toEqual([])
})

test('A host starts no spare while the others may hold it for gone', async () => {
  const { store, clock, hosts } = await testHosts(1, {
    pool: { agents: { assistant: { spares: { min: 2, max: 2 } } } },
  })
  const [host] = hosts as [TestHost]
  await passing(clock, host.pool.ready())
  expect(host.driver.living).toHaveLength(2)
  store.isAway = true
  await clock.advance(3_000)
  host.driver.living[0]?.exit()
  await clock.advance(60_000)
  expect(host.driver.living).toHaveLength(1)
  store.isAway = false
  await clock.advance(60_000)
  expect(host.driver.living).toHaveLength(2)
})

test('A prompt that waited at a host that died ends with a word on why, if its agent is not known at the next one', async () => {
  const { store, clock, hosts } = await testHosts(2)
  const [first, second] = hosts as [TestHost, TestHost]
  first.pool.defineAgent('own', { spares: { max: 0 }, unboundSpares: { max: 0 } })
  first.driver.onStart = (process) => {
    process.answersAtOnce = false
  }
  const session = await first.pool.session('k', { agent: 'own' })
  session.send('begun')
  await first.driver.until(() => first.driver.processes[0]?.unanswered === 1)
  await session.send('waiting', { onBusy: 'queue' }).promptStored
  await store.lose(first.pool.hosts().find(({ isThisHost }) => isThisHost)?.id ?? '')
  const here = await second.pool.session('k')
  await vi.waitFor(async () => {
    await clock.advance(600)
    const events = await here.history({ limit: 100 })
    const errors = events.flatMap(({ event }) => (event.type === 'session.error' ? event.error.message : []))
    expect(errors.at(-1)).toMatch(/this prompt could not run at the host .* there is no agent "own"/)
    expect(events.at(-1)?.event.type).toBe('session.status_idle')
    const prompts = events.flatMap(({ event }) => (event.type === 'user.message' ? [event.processed_at] : []))
    expect(prompts).toEqual([expect.any(String), expect.any(String)])
  }, PATIENCE)
  expect(second.driver.processes).toEqual([])
})
