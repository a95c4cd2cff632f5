import { describe, expect, test } from 'vitest'
import type { JournalEntry, Session } from '../../../src/index.ts'
import type { SessionClaim, SessionRecord } from '../../../src/store/store.ts'
import { MemoryStore } from '../../../src/testing/index.ts'
import type { TestPoolOptions } from '../../../src/testing/index.ts'
import { onlyHost } from '../../../src/cluster/membership.ts'
import { Ownership } from '../../../src/sessions/ownership.ts'
import { OneHost } from '../../conformance/one-host.ts'
import { event } from '../../conformance/events.ts'
import { record } from '../../conformance/sessions.ts'
import { answer, fakes, outcome } from '../../fixtures/fakes.ts'

/** A store that knows the host of the pool. */
class HostStore extends MemoryStore {
  host = ''

  override async register(place: string): Promise<string> {
    const id = await super.register(place)
    if (place === 'data directory') this.host = id
    return id
  }

  async uidOf(key: string): Promise<string> {
    return (await this.get('default', key))?.uid ?? ''
  }

  /** Raises the fence of a session: what its host holds is an older claim then. */
  async raise(key: string): Promise<SessionClaim> {
    return (await this.claim(await this.uidOf(key), this.host)).claim
  }

  async numbers(key: string): Promise<number[]> {
    return (await this.readEvents(await this.uidOf(key), { limit: 100 })).map(({ number }) => number)
  }
}

/** A pool, and a session of it whose turn runs. */
async function running(key = 'k') {
  const store = new HostStore()
  const all = await fakes({ store })
  all.driver.onStart = (process) => {
    process.answersAtOnce = false
  }
  const s = await all.session(key)
  const turn = s.send('hello')
  await all.driver.until(() => all.driver.processes[0]?.unanswered === 1)
  return { ...all, store, s, turn }
}

const FENCED = { name: 'FencedError', code: 'fenced' }
const ELSEWHERE = { name: 'SessionElsewhereError', code: 'session_elsewhere' }

const typesOf = async (session: Session): Promise<string[]> =>
  (await session.history({ limit: 100 })).map(({ event: { type } }) => type)

describe('a session that another host has claimed', () => {
  test('in mid-turn ends that turn and its process, and nothing else', async () => {
    const { driver, clock, pool, store, session, turn, reasons, told } = await running()
    const other = await session('other')
    const going = other.send('hello')
    await driver.until(() => driver.processes[1]?.unanswered === 1)
    await store.raise('k')
    const before = await store.numbers('k')
    const [lost, stays] = driver.processes
    lost?.finish()
    await clock.settle()
    await expect(turn.result).rejects.toMatchObject({ ...FENCED, owner: store.host })
    expect(await store.numbers('k')).toEqual(before)
    expect(reasons()).toEqual(['fenced'])
    expect(told('warning')).toMatchObject([{ error: FENCED }])
    expect([lost?.gone, stays?.gone]).toEqual([true, false])
    stays?.finish()
    expect(await outcome(going)).toBe('success')
    expect(pool.stats()).toMatchObject({ activeSessions: 1, turns: { running: 0 }, workers: { total: 1 } })
  })

  test('ends the turn that runs at once, whichever write has shown it', async () => {
    const { driver, store, s, turn } = await running()
    const [process] = driver.processes
    if (process !== undefined) process.leavesAtOnce = false
    await store.raise('k')
    await expect(s.append([{ type: 'user.interrupt' }])).rejects.toMatchObject(FENCED)
    expect(await outcome(turn)).toBe('fenced')
    expect(process?.gone).toBe(false)
  })

  test('between two turns sends no prompt to its process', async () => {
    const store = new HostStore()
    const { driver, clock, session, reasons } = await fakes({ store })
    const s = await session('k')
    await s.send('hello').result
    await store.raise('k')
    expect(await outcome(s.send('again'))).toBe('fenced')
    await clock.settle()
    expect(driver.processes[0]?.prompts).toHaveLength(1)
    expect(reasons()).toEqual(['fenced'])
  })

  test('is claimed again by its next turn, which goes on where the session is by then', async () => {
    const { driver, clock, store, s, turn } = await running()
    await store.raise('k')
    driver.processes[0]?.finish()
    expect(await outcome(turn)).toBe('fenced')
    await clock.settle()
    driver.onStart = undefined
    expect(await answer(s.send('again'))).toBe('[turn 2] You said: again')
    const numbers = await store.numbers('k')
    expect(numbers).toEqual(numbers.map((_, index) => index + 1))
  })

  test('starts no second process before the first has closed', async () => {
    const { driver, clock, store, s, turn } = await running()
    const [lost] = driver.processes
    if (lost !== undefined) lost.leavesAtOnce = false
    await store.raise('k')
    lost?.finish()
    expect(await outcome(turn)).toBe('fenced')
    expect(await outcome(s.send('too soon'))).toBe('fenced')
    await clock.settle()
    expect(lost?.graces).toMatchObject({ eofMs: 0 })
    expect(driver.processes).toHaveLength(1)
    lost?.exit()
    await clock.settle()
    driver.onStart = undefined
    expect(await outcome(s.send('again'))).toBe('success')
  })

  test('takes nothing of what its process says into the copy of its transcript', async () => {
    const store = new HostStore()
    const { driver, clock, session, reasons } = await fakes({ store, transcripts: 'store' })
    const s = await session('k')
    await s.send('hello').result
    const copy = driver.processes[0]?.spec.options.sessionStore
    const { sdkSessionId = '' } = await s.info()
    const add = (uuid: string) =>
      copy?.append({ projectKey: '-work', sessionId: sdkSessionId }, [{ type: 'user', uuid, text: uuid }])
    await add('one')
    const claim = await store.raise('k')
    await expect(add('two')).rejects.toMatchObject(FENCED)
    await store.release(claim)
    await expect(add('three')).rejects.toMatchObject(FENCED)
    await clock.settle()
    expect(reasons()).toEqual(['fenced'])
    const entries = await store.loadTranscript({ tenant: 'default', project: '-work', sdkSessionId })
    expect(entries?.map((json) => (JSON.parse(json) as { uuid: string }).uuid)).toEqual(['one'])
  })

  test('ends its waiting turns and its followers, too', async () => {
    const { driver, store, s, turn } = await running()
    const waiting = s.send('later', { onBusy: 'queue' })
    await waiting.promptStored
    const followed = (async () => {
      const seen: JournalEntry[] = []
      for await (const entry of s.events()) seen.push(entry)
    })()
    followed.catch(() => undefined)
    await store.raise('k')
    driver.processes[0]?.finish()
    expect([await outcome(turn), await outcome(waiting)]).toEqual(['fenced', 'fenced'])
    await expect(followed).rejects.toMatchObject(FENCED)
  })
})

/** A session that another host owns, with a turn that runs there. */
async function elsewhere(options: TestPoolOptions = {}) {
  const store = new HostStore()
  const all = await fakes({ ...options, store })
  const other = await OneHost.of(store)
  await other.put(record('default', 'k', { uid: 'one' }))
  const json = JSON.stringify({ id: 'event 1', type: 'session.status_running' })
  await other.appendEvents('one', [event(1, { type: 'session.status_running', json })], 'open')
  return { ...all, store, other, s: await all.pool.session('k') }
}

test('what a process copies after its session was given back is taken while no host owns the session', async () => {
  const store = new HostStore()
  const { driver, clock, session, reasons } = await fakes({ store, transcripts: 'store' })
  const s = await session('k')
  await s.send('hello').result
  const copy = driver.processes[0]?.spec.options.sessionStore
  const { sdkSessionId = '' } = await s.info()
  const add = () => copy?.append({ projectKey: '-work', sessionId: sdkSessionId }, [{ type: 'user' }])
  await s.hibernate()
  await clock.settle()
  await add()
  const other = await OneHost.of(store)
  await other.claim(await store.uidOf('k'))
  await expect(add()).rejects.toMatchObject(FENCED)
  expect(await outcome(s.send('hello'))).toBe('session_elsewhere')
  expect(reasons()).toEqual(['hibernate'])
})

test('a write that comes too late for its claim does not end the next one', async () => {
  const store = new HostStore()
  const owner = await store.register('data directory')
  await store.create(record('t', 'k', { uid: 'one' }), owner)
  const lost: unknown[] = []
  const listener = { claimed: () => undefined, lost: (error: unknown) => void lost.push(error) }
  const ownership = new Ownership('one', { store, member: onlyHost(owner), listener }, { isStored: true })
  const gate = Promise.withResolvers<void>()
  const late = ownership.write(async (claim) => {
    await gate.promise
    await store.trimEvents(claim, 1)
  })
  await ownership.take()
  await ownership.release()
  const { claim } = await ownership.take()
  gate.resolve()
  await expect(late).rejects.toMatchObject(FENCED)
  expect([lost, ownership.held?.claim]).toEqual([[], claim])
})

describe('a session that another host owns', () => {
  test('starts no process here', async () => {
    const { driver, other, s } = await elsewhere()
    expect(await outcome(s.send('hello'))).toBe('session_elsewhere')
    await expect(s.warm()).rejects.toMatchObject(ELSEWHERE)
    expect(driver.processes).toEqual([])
    await other.appendEvents('one', [event(2)])
  })

  test.each(['send', 'warm'] as const)('takes no spare here by %s()', async (method) => {
    const spares = { assistant: { spares: { min: 1, max: 1 }, unboundSpares: { max: 0 } } }
    const { pool, clock, s, reasons } = await elsewhere({ agents: spares })
    await clock.settle()
    const used = method === 'send' ? s.send('hello').result : s.warm()
    await expect(used).rejects.toMatchObject(ELSEWHERE)
    await clock.settle()
    expect([pool.stats().workers, reasons()]).toMatchObject([{ total: 1, spares: 1 }, []])
  })

  test('can be read, and its running turn is not closed by that', async () => {
    const { other, s, store } = await elsewhere()
    expect(await typesOf(s)).toEqual(['session.status_running'])
    expect(await s.info()).toMatchObject({ key: 'k', state: 'hibernated' })
    await other.appendEvents('one', [event(2)])
    expect(await store.numbers('k')).toEqual([1, 2])
  })

  test('cannot be deleted or written here, and loses nothing', async () => {
    const { pool, store, s, told } = await elsewhere()
    await expect(s.delete()).rejects.toMatchObject(ELSEWHERE)
    await expect(s.append([{ type: 'user.interrupt' }])).rejects.toMatchObject(ELSEWHERE)
    await expect(s.changeAgent('assistant')).resolves.toBeUndefined()
    expect([await store.numbers('k'), told('session.deleted'), pool.stats().activeSessions]).toEqual([[1], [], 0])
  })

  test('stays when retention is applied here', async () => {
    const { pool, clock, store, session } = await elsewhere()
    await session('mine')
    await clock.advance(1_000)
    const setup = await fakes({ store, retention: { maxAge: '1ms' }, clock })
    await clock.advance(60_000)
    const { sessions } = await setup.pool.prune()
    expect(sessions.map(({ key }) => key)).toEqual(['mine'])
    expect((await pool.sessions()).map(({ key }) => key)).toEqual(['k'])
  })

  test('goes on here once that host has given it back, after its events and with its record', async () => {
    const { other, s, store } = await elsewhere()
    const followed = s.events()
    expect(await followed.next()).toMatchObject({ value: { number: 1 } })
    const next = followed.next()
    await other.appendEvents('one', [event(2, { json: JSON.stringify({ id: 'event 2', type: 'agent.message' }) })])
    await other.appendEvents('one', [event(3, { json: JSON.stringify({ id: 'event 3' }) })], 'closed')
    await other.put(record('default', 'k', { uid: 'one', turns: 5, agent: 'assistant' }))
    await other.release('one')
    expect(await outcome(s.send('hello'))).toBe('success')
    expect(await next).toMatchObject({ value: { number: 2 } })
    expect((await s.info()).turns).toBe(6)
    const numbers = await store.numbers('k')
    expect(numbers).toEqual(numbers.map((_, index) => index + 1))
    expect(numbers.length).toBeGreaterThan(5)
  })
})

test('a session is its host’s while it has a process, and any host may claim it then', async () => {
  const store = new HostStore()
  const { session, clock } = await fakes({ store })
  const s = await session('k')
  await s.send('hello').result
  const other = await OneHost.of(store)
  const uid = await store.uidOf('k')
  await expect(other.claim(uid)).rejects.toMatchObject({ ...FENCED, owner: store.host })
  await s.hibernate()
  await clock.settle()
  await other.claim(uid)
})

test('a session that two hosts begin at once is begun by one', async () => {
  class LateStore extends HostStore {
    override async get(tenant: string, key: string): Promise<SessionRecord | undefined> {
      const found = await super.get(tenant, key)
      if (found === undefined) await (await OneHost.of(this)).put(record(tenant, key, { uid: 'of another host' }))
      return found
    }
  }
  const store = new LateStore()
  const { session, told } = await fakes({ store })
  expect((await (await session('k')).info()).key).toBe('k')
  expect((await store.list({ limit: 10 })).map(({ uid }) => uid)).toEqual(['of another host'])
  expect(told('session.created')).toEqual([])
})
