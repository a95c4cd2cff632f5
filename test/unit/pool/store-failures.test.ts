import { expect, test } from 'vitest'
import { StoreError } from '../../../src/errors.ts'
import type { StartSpec } from '../../../src/driver/driver.ts'
import type { SessionClaim, SessionRecord } from '../../../src/store/store.ts'
import { MemoryStore } from '../../../src/testing/index.ts'
import { answer, fakes, outcome } from '../../fixtures/fakes.ts'

/** A store that fails when it is told to. */
class FailingStore extends MemoryStore {
  readonly failing = new Set<'get' | 'create' | 'put' | 'touch' | 'remove'>()
  /** Every record that was put, in order. */
  readonly puts: SessionRecord[] = []
  onPut: (() => void) | undefined

  #check(operation: 'get' | 'create' | 'put' | 'touch' | 'remove'): void {
    if (this.failing.has(operation)) throw new StoreError(`the disk is full (${operation})`)
  }

  override async get(tenant: string, key: string): Promise<SessionRecord | undefined> {
    this.#check('get')
    return super.get(tenant, key)
  }

  override async create(record: SessionRecord, owner: string): Promise<SessionClaim | undefined> {
    this.#check('create')
    return super.create(record, owner)
  }

  override async put(record: SessionRecord, claim: SessionClaim): Promise<void> {
    this.#check('put')
    this.onPut?.()
    this.puts.push({ ...record })
    return super.put(record, claim)
  }

  override async touch(record: SessionRecord, claim: SessionClaim): Promise<void> {
    this.#check('touch')
    return super.touch(record, claim)
  }

  override async remove(claim: SessionClaim): Promise<void> {
    this.#check('remove')
    return super.remove(claim)
  }
}

const ONE_SPARE = { assistant: { spares: { min: 1, max: 1 }, unboundSpares: { max: 0 } } }

const idOf = (conversation: StartSpec['conversation']): string | undefined =>
  conversation.kind === 'unbound' ? undefined : conversation.sessionId

const QUIET = {
  turns: { running: 0, waiting: 0 },
  starts: { running: 0, waiting: 0 },
  workers: { busy: 0, starting: 0 },
}

test('a session that cannot be stored is not begun, and can be later', async () => {
  const store = new FailingStore()
  const { pool, session } = await fakes({ store })
  store.failing.add('create')
  await expect(session('k')).rejects.toThrow(StoreError)
  store.failing.clear()
  await expect(pool.session('k')).rejects.toMatchObject({ code: 'session_not_found' })
  expect(await outcome((await session('k')).send('Hello'))).toBe('success')
})

test('a session that cannot be read fails the turn, and nothing starts', async () => {
  const store = new FailingStore()
  const { session, driver } = await fakes({ store })
  const handle = await session('k')
  store.failing.add('get')
  expect(await outcome(handle.send('Hello'))).toBe('store_failed')
  expect(driver.processes).toEqual([])
  store.failing.clear()
  expect(await outcome(handle.send('Hello'))).toBe('success')
})

test('no prompt is sent before it is stored that the conversation has begun', async () => {
  const store = new FailingStore()
  const { pool, session, driver } = await fakes({ store })
  const handle = await session('k')
  await handle.warm()
  store.failing.add('put')
  expect(await outcome(handle.send('Hello'))).toBe('store_failed')
  expect(driver.processes[0]?.prompts).toEqual([])
  expect(pool.stats()).toMatchObject({ ...QUIET, workers: { idle: 1, busy: 0 } })
  store.failing.clear()
  expect(await answer(handle.send('Hello'))).toBe('[turn 1] You said: Hello')
  expect(await store.get('default', 'k')).toMatchObject({ begun: true, turns: 1 })
})

test('a spare whose session cannot be stored is not kept for ever', async () => {
  const store = new FailingStore()
  const { pool, driver, clock } = await fakes({
    store,
    agents: ONE_SPARE,
    residency: { idleTtl: '5m' },
  })
  await clock.settle()
  const handle = await pool.session('k', { agent: 'assistant' })
  store.failing.add('put')
  expect(await outcome(handle.send('Hello'))).toBe('store_failed')
  expect(driver.processes[0]?.prompts).toEqual([])
  expect(pool.stats()).toMatchObject(QUIET)
  await clock.advance(6 * 60_000)
  expect(driver.processes[0]?.gone).toBe(true)
  store.failing.clear()
  expect(await answer(handle.send('Hello'))).toBe('[turn 1] You said: Hello')
})

test('a spare is a session’s for good with one write, before the prompt is sent', async () => {
  const store = new FailingStore()
  const { pool, driver, clock } = await fakes({ store, agents: ONE_SPARE })
  await clock.settle()
  const handle = await pool.session('k', { agent: 'assistant' })
  store.puts.length = 0
  const process = await driver.process(0)
  store.onPut = () => expect(process.prompts).toEqual([])
  await handle.send('Hello').result
  const { cwd, conversation } = process.spec
  expect(store.puts).toMatchObject([{ begun: true, cwd, ownsCwd: true, sdkSessionId: idOf(conversation) }])
})

test('a spare that was taken ahead of a turn is the session’s in the store, too', async () => {
  const store = new FailingStore()
  const { pool, driver, clock } = await fakes({ store, agents: ONE_SPARE })
  await clock.settle()
  const handle = await pool.session('k', { agent: 'assistant' })
  await handle.warm()
  const { cwd, conversation } = (await driver.process(0)).spec
  const identity = { begun: false, cwd, ownsCwd: true, sdkSessionId: idOf(conversation) }
  expect(await store.get('default', 'k')).toMatchObject(identity)
})

test('a spare whose turn was over before it was bound is the session’s in the store all the same', async () => {
  const store = new FailingStore()
  const { pool, driver, clock } = await fakes({
    store,
    agents: { assistant: { spares: { max: 0 }, unboundSpares: { min: 1, max: 1 } } },
  })
  await clock.settle()
  const process = await driver.process(0)
  const binding = Promise.withResolvers<string>()
  const asked = new Promise<void>((resolve) => {
    process.bind = () => {
      resolve()
      return binding.promise
    }
  })
  const turn = (await pool.session('k', { agent: 'assistant', cwd: import.meta.dirname })).send('Hello')
  await asked
  await turn.interrupt()
  binding.resolve('bound-id')
  await clock.settle()
  expect([await outcome(turn), process.prompts]).toEqual(['turn_interrupted', []])
  expect(await store.get('default', 'k')).toMatchObject({ begun: false, sdkSessionId: 'bound-id' })
})

test('a turn whose end cannot be noted is a turn all the same, and the operator is told', async () => {
  const store = new FailingStore()
  const { pool, session, told } = await fakes({ store })
  const handle = await session('k')
  store.failing.add('touch')
  expect(await outcome(handle.send('Hello'))).toBe('success')
  store.failing.clear()
  expect(await answer(handle.send('Again'))).toBe('[turn 2] You said: Again')
  expect(told('warning')).toMatchObject([{ error: { code: 'store_failed' } }])
  expect(pool.stats()).toMatchObject(QUIET)
})

test('a session that cannot be removed says so, and can be removed later', async () => {
  const store = new FailingStore()
  const { pool, session, told } = await fakes({ store })
  const handle = await session('k')
  await handle.send('Hello').result
  store.failing.add('remove')
  await expect(handle.delete()).rejects.toThrow(StoreError)
  expect(told('session.deleted')).toEqual([])
  store.failing.clear()
  await handle.delete()
  expect(await pool.sessions()).toEqual([])
  expect(await outcome((await session('k')).send('Hello'))).toBe('success')
})

test('a fork that cannot be stored leaves no copy behind', async () => {
  const store = new FailingStore()
  const { session, driver } = await fakes({ store })
  const handle = await session('k')
  await handle.send('Hello').result
  store.failing.add('create')
  await expect(handle.fork('fork')).rejects.toThrow(StoreError)
  expect(driver.conversations.size).toBe(1)
})
