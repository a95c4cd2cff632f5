import { expect, test, vi } from 'vitest'
import type { Session } from '../../../src/index.ts'
import type { SessionClaim } from '../../../src/store/store.ts'
import { event } from '../../conformance/events.ts'
import { record } from '../../conformance/sessions.ts'
import { fakes, outcome } from '../../fixtures/fakes.ts'
import type { Fakes } from '../../fixtures/fakes.ts'
import { SharedStore } from '../../fixtures/shared-store.ts'

/** An upper bound for a slow machine. */
const PATIENCE = { timeout: 50_000, interval: 10 }

/** Two hosts of one store. The first answers no prompt. */
async function twoHosts() {
  const store = new SharedStore()
  const first = await fakes({ store })
  first.driver.onStart = (process) => {
    process.answersAtOnce = false
  }
  const second = await fakes({ store })
  await beats(first, second)
  const [one = '', two = ''] = (await store.hosts.list()).map(({ id }) => id)
  return { store, first, second, one, two }
}

/** The first and the third of three hosts have a begun turn each, of the sessions `k` and `l`. The second one takes over. */
async function threeHosts() {
  const all = await twoHosts()
  const third = await fakes({ store: all.store })
  third.driver.onStart = (process) => {
    process.answersAtOnce = false
  }
  await beats(all.first, all.second, third)
  const three = (await all.store.hosts.list()).at(-1)?.id ?? ''
  for (const [key, host] of [
    ['k', all.first],
    ['l', third],
  ] as const) {
    ;(await host.session(key)).send('begun')
    await host.driver.until(() => host.driver.processes[0]?.unanswered === 1)
  }
  return { ...all, third, three }
}

/** Each host beats, and does what follows. */
async function beats(...hosts: Fakes[]): Promise<void> {
  for (let times = 0; times < 3; times += 1) for (const { clock } of hosts) await clock.advance(600)
}

const typesOf = async (session: Session): Promise<string[]> =>
  (await session.history({ limit: 100 })).flatMap(({ event }) =>
    event.type.startsWith('span.')
      ? []
      : event.type === 'session.error'
        ? event.error.message.slice(0, 34)
        : event.type,
  )

const promptsOf = ({ driver }: Fakes): unknown[] =>
  driver.processes.flatMap(({ prompts }) => prompts.map(({ message }) => JSON.stringify(message.content)))

test('The hosts of a store know each other, and what each does', async () => {
  const { first, second, one, two } = await twoHosts()
  await (await first.session('k')).send('hello').promptStored
  await first.driver.until(() => first.driver.processes[0]?.unanswered === 1)
  await beats(first, second)
  expect(second.pool.hosts()).toMatchObject([
    { id: one, state: 'ready', running: 1, isThisHost: false },
    { id: two, state: 'ready', running: 0, isThisHost: true },
  ])
})

test('A session of another host is refused with the place of that host, and nothing is sent', async () => {
  const { first, second, one } = await twoHosts()
  await (await first.session('k')).send('hello').promptStored
  const here = await second.session('k')
  await expect(here.send('hello').result).rejects.toMatchObject({
    name: 'SessionElsewhereError',
    code: 'session_elsewhere',
    owner: one,
    place: expect.stringContaining('/'),
  })
  expect(second.driver.processes).toEqual([])
})

test('A host that is gone leaves its turns to another: a begun one ends with a note, and prompts that waited run once', async () => {
  const { store, first, second, one } = await twoHosts()
  const session = await first.session('k')
  const begun = session.send('begun')
  await first.driver.until(() => first.driver.processes[0]?.unanswered === 1)
  const waiting = ['second', 'third'].map((prompt) => session.send(prompt, { onBusy: 'queue', metadata: { prompt } }))
  await Promise.all(waiting.map(({ promptStored }) => promptStored))
  await store.lose(one)
  await beats(second)
  await vi.waitFor(async () => {
    await beats(second)
    expect(promptsOf(second)).toHaveLength(2)
  }, PATIENCE)
  await beats(second)
  expect(promptsOf(second)).toEqual([expect.stringContaining('second'), expect.stringContaining('third')])
  const here = await second.session('k')
  expect(await typesOf(here)).toEqual([
    'user.message',
    'session.status_running',
    'user.message',
    'user.message',
    'the host ended during this turn; w',
    'session.status_idle',
    'session.status_running',
    'agent.message',
    'session.status_idle',
    'session.status_running',
    'agent.message',
    'session.status_idle',
  ])
  const told = (await here.history({ limit: 100 })).flatMap(({ event }) =>
    event.type === 'user.message' ? [[event.metadata, event.processed_at !== null]] : [],
  )
  expect(told).toEqual([
    [undefined, true],
    [{ prompt: 'second' }, true],
    [{ prompt: 'third' }, true],
  ])
  await beats(first)
  expect(await outcome(begun)).toBe('fenced')
  for (const turn of waiting) expect(await outcome(turn)).toBe('fenced')
})

test('A session that cannot be taken over is given back, and taken over with a later beat', async () => {
  const { store, first, second, one } = await twoHosts()
  const session = await first.session('k')
  session.send('begun')
  await first.driver.until(() => first.driver.processes[0]?.unanswered === 1)
  const failing = vi.spyOn(store, 'appendEvents').mockRejectedValueOnce(new Error('the disk is full'))
  await store.lose(one)
  await vi.waitFor(async () => {
    await beats(second)
    expect(failing.mock.calls.length).toBeGreaterThan(1)
    expect(second.told('session.takenOver')).toHaveLength(1)
  }, PATIENCE)
  const here = await second.session('k')
  expect(await typesOf(here)).toEqual([
    'user.message',
    'session.status_running',
    'the host ended during this turn; w',
    'session.status_idle',
  ])
  expect(second.told('warning')).toMatchObject([{ message: expect.stringContaining('could not be taken over') }])
})

test('A host that dies while the sessions of another are being taken over leaves its own to the same survivor', async () => {
  const { store, first, second, third, one, three } = await threeHosts()
  const { promise: gate, resolve: open } = Promise.withResolvers<void>()
  const touch = store.touch.bind(store)
  const touching = vi.spyOn(store, 'touch').mockImplementationOnce(async (...given) => {
    await gate
    return touch(...given)
  })
  const before = touching.mock.calls.length
  await store.lose(one)
  await beats(second)
  await vi.waitFor(() => expect(touching.mock.calls.length).toBeGreaterThan(before), PATIENCE)
  await store.lose(three)
  await beats(second)
  expect(second.told('session.takenOver')).toEqual([])
  open()
  await second.clock.settle()
  // Sooner than a host looks that was not told.
  await beats(second)
  expect(second.told('session.takenOver').map(({ session: { key } }) => key)).toEqual(['k', 'l'])
  await beats(first, third)
})

test('A session that another statement held while a host looked is found when it looks again', async () => {
  const { store, first, second, one } = await twoHosts()
  ;(await first.session('k')).send('begun')
  await first.driver.until(() => first.driver.processes[0]?.unanswered === 1)
  store.blindLooks = 1
  await store.lose(one)
  await vi.waitFor(async () => {
    await second.clock.advance(100)
    expect(store.blindLooks).toBe(0)
  }, PATIENCE)
  await vi.waitFor(async () => {
    await beats(second)
    expect(second.told('session.takenOver')).toHaveLength(1)
  }, PATIENCE)
  await beats(first)
})

test('A session that was given back in a turn is taken over with the next beats', async () => {
  const { store, first, second, one } = await twoHosts()
  const claim = (await store.create(
    record('default', 'k', { uid: 'one', agent: 'assistant', cwd: undefined }),
    one,
  )) as SessionClaim
  await store.appendEvents(claim, [event(1)], 'open')
  await beats(second)
  expect(second.told('session.takenOver')).toEqual([])
  await store.release(claim)
  // Sooner than a host looks that was not told.
  for (let times = 0; times < 2; times += 1) for (const { clock } of [first, second]) await clock.advance(600)
  expect([...first.told('session.takenOver'), ...second.told('session.takenOver')]).toHaveLength(1)
})

test('A session that could not be taken over, and that is followed here, is gone on with at the next beats', async () => {
  const { store, first, second, one } = await twoHosts()
  const session = await first.session('k')
  session.send('begun')
  await first.driver.until(() => first.driver.processes[0]?.unanswered === 1)
  await session.send('waiting', { onBusy: 'queue' }).promptStored
  const events = (await second.session('k')).events({ after: 3 })
  const next = events.next()
  await second.clock.settle()
  vi.spyOn(store, 'touch').mockRejectedValueOnce(new Error('the store is away'))
  await store.lose(one)
  await vi.waitFor(async () => {
    await beats(second)
    expect(promptsOf(second)).toEqual([expect.stringContaining('waiting')])
  }, PATIENCE)
  await next
  await events.return?.()
  await beats(first)
})

test('A prompt that waited behind a turn with many questions runs at the next host', async () => {
  const { store, first, second, one } = await twoHosts()
  const session = await first.session('k')
  session.send('begun')
  await first.driver.until(() => first.driver.processes[0]?.unanswered === 1)
  await session.send('waiting', { onBusy: 'queue' }).promptStored
  await session.append(Array.from({ length: 50 }, () => ({ type: 'session.status_running' as const })))
  await store.lose(one)
  await vi.waitFor(async () => {
    await beats(second)
    expect(promptsOf(second)).toEqual([expect.stringContaining('waiting')])
  }, PATIENCE)
  expect((await typesOf(await second.session('k'))).slice(-5)).toEqual([
    'the host ended during this turn; w',
    'session.status_idle',
    'session.status_running',
    'agent.message',
    'session.status_idle',
  ])
  await beats(first)
})

test('A host that the others hold for gone ends its turns and processes, and goes on as another host', async () => {
  const { store, first, one } = await twoHosts()
  const turn = (await first.session('k')).send('hello')
  await first.driver.until(() => first.driver.processes[0]?.unanswered === 1)
  await store.lose(one)
  await beats(first)
  expect(await outcome(turn)).toBe('fenced')
  expect(first.driver.processes[0]?.gone).toBe(true)
  expect(first.driver.leases.filter((lease) => lease === 'lost')).toHaveLength(1)
  first.driver.onStart = () => undefined
  expect(await outcome((await first.session('other')).send('hello'))).toBe('success')
})

test('A host that drains tells the others, and takes no session of a host that is gone', async () => {
  const { store, first, second, one, two } = await twoHosts()
  await (await first.session('k')).send('hello').promptStored
  const other = (await second.session('other')).send('hello')
  await other.promptStored
  await store.hosts.drain(two)
  await beats(second)
  await store.lose(one)
  await beats(second)
  expect((await store.hosts.list()).map(({ id, state }) => [id, state])).toEqual([[two, 'draining']])
  expect(promptsOf(second)).toHaveLength(1)
})

test('A session that another host has given back is forked, exported and counted here, without the files of that host', async () => {
  const store = new SharedStore()
  const first = await fakes({ store, transcripts: 'store' })
  const { driver, clock } = first
  const second = await fakes({ store, transcripts: 'store', driver, clock, retention: { maxSize: '1GiB' } })
  const there = await first.session('k')
  await there.send('hello').result
  await there.hibernate()
  await clock.settle()
  const { cwd = '' } = await there.info()

  const left: unknown[] = []
  const lines = second.pool.exportSession('k')
  for (let next = await lines.next(); ; next = await lines.next()) {
    if (next.done === true) left.push(...next.value)
    if (next.done === true) break
  }
  expect(left).toEqual([{ path: cwd, reason: 'failed', detail: expect.stringContaining('ran the session last') }])
  expect((await second.pool.prune({ dryRun: true })).problems).toEqual([])

  const here = await second.session('k')
  const fork = await here.fork('copy')
  expect(await outcome(fork.send('and now'))).toBe('success')
  expect((await here.info()).cwd).not.toBe(cwd)
  expect((await fork.info()).cwd).not.toBe(cwd)
})
