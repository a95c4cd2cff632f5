import { expect, onTestFinished, test } from 'vitest'
import { StoreError } from '../../../src/errors.ts'
import type { JournalEntry, Session, SessionEvent } from '../../../src/index.ts'
import type { SDKMessage } from '../../../src/driver/driver.ts'
import { MemoryStore } from '../../../src/store/memory.ts'
import type { SessionRecord, StoredEvent } from '../../../src/store/store.ts'
import type { FakeClock } from '../../../src/testing/index.ts'
import { OneHost } from '../../conformance/one-host.ts'
import { answer, fakes, NO_SPARES, outcome } from '../../fixtures/fakes.ts'

const TURN = [
  'user.message',
  'session.status_running',
  'span.model_request_start',
  'agent.message',
  'span.model_request_end',
  'session.status_idle',
]

/** All that a session's journal has now. */
async function kept(session: Session, after = 0): Promise<JournalEntry[]> {
  const entries: JournalEntry[] = []
  for await (const entry of session.events({ after, follow: false })) entries.push(entry)
  return entries
}

const typesOf = (entries: JournalEntry[]): string[] => entries.map(({ event }) => event.type)
const numbersOf = (entries: JournalEntry[]): (number | undefined)[] => entries.map(({ number }) => number)
const types = async (session: Session): Promise<string[]> => typesOf(await kept(session))

/** What it can say of itself in one line. */
const textOf = (event: SessionEvent): string =>
  'content' in event ? (event.content ?? []).map((block) => String(block['text'])).join('') : event.type

/** Reads a session's events as they come, until one matches. */
async function until(
  reader: AsyncIterableIterator<JournalEntry>,
  matches: (event: JournalEntry['event']) => boolean,
): Promise<JournalEntry[]> {
  const entries: JournalEntry[] = []
  for (;;) {
    const { value, done } = await reader.next()
    if (done === true) return entries
    entries.push(value)
    if (matches(value.event)) return entries
  }
}

/** What was said in mid-turn has been written. */
const heard = (clock: FakeClock): Promise<void> => clock.advance(60)

const isIdle = ({ type }: { type: string }): boolean => type === 'session.status_idle'

/** A store whose appends wait until they are let through, or fail. */
class SlowStore extends MemoryStore {
  readonly appended: StoredEvent[][] = []
  obstacle: Error | undefined
  #gate: Promise<void> = Promise.resolve()
  #disk: Promise<void> = Promise.resolve()

  hold(): () => void {
    const gate = Promise.withResolvers<void>()
    this.#gate = gate.promise
    return gate.resolve
  }

  /** Nothing gets to the disk until the answer is called; with an error, nothing ever does. */
  holdDisk(): (error?: Error) => void {
    const disk = Promise.withResolvers<void>()
    this.#disk = disk.promise
    return (error) => (error === undefined ? disk.resolve() : disk.reject(error))
  }

  override async flush(): Promise<void> {
    await this.#disk
  }

  override async appendEvents(...words: Parameters<MemoryStore['appendEvents']>): Promise<void> {
    await this.#gate
    if (this.obstacle !== undefined) throw this.obstacle
    this.appended.push([...words[1]])
    await super.appendEvents(...words)
  }
}

/** A store that takes its time to find sessions. */
class LateStore extends MemoryStore {
  override async get(tenant: string, key: string): Promise<SessionRecord | undefined> {
    await new Promise((resolve) => setImmediate(resolve))
    return super.get(tenant, key)
  }
}

/** A session whose process is there and says what the test makes it say. */
async function silent(options: Parameters<typeof fakes>[0] = {}) {
  const all = await fakes(options)
  const s = await all.session('k')
  await s.warm()
  const process = await all.driver.process(0)
  process.answersAtOnce = false
  return { ...all, s, process }
}

test('a turn leaves its events, numbered from 1, and the next one goes on', async () => {
  const { session } = await fakes()
  const s = await session('k')
  await answer(s.send('hello'))
  const first = await kept(s)
  expect(typesOf(first)).toEqual(TURN)
  expect(numbersOf(first)).toEqual([1, 2, 3, 4, 5, 6])
  await answer(s.send('again'))
  const second = await kept(s, 6)
  expect(typesOf(second)).toEqual(TURN)
  expect(numbersOf(second)).toEqual([7, 8, 9, 10, 11, 12])
  const events = [...first, ...second].map(({ event }) => event as SessionEvent)
  expect(new Set(events.map(({ id }) => id)).size).toBe(12)
  for (const { id, processed_at: at } of events)
    expect([id, at]).toEqual([expect.stringMatching(/^sevt_/), expect.any(String)])
  expect(textOf(events[0] as SessionEvent)).toBe('hello')
})

test('a reader replays and follows, from any point, with no gap and no double', async () => {
  const { session, driver } = await fakes()
  driver.onStart = (process) => {
    process.answersAtOnce = false
  }
  const s = await session('k')
  const early = s.events()
  const turn = s.send('hello')
  const process = await driver.process(0)
  await driver.until(() => process.prompts.length === 1)
  const during = s.events({ after: 1 })
  expect((await during.next()).value?.number).toBe(2)
  process.sayText('one')
  process.sayText('two')
  const rest = until(during, isIdle)
  process.finish()
  await turn.result
  expect(numbersOf(await rest)).toEqual([3, 4, 5, 6, 7, 8, 9])
  expect(numbersOf(await until(early, isIdle))).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9])
  expect(numbersOf(await kept(s))).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9])
  const following = until(early, isIdle)
  await s.hibernate()
  const next = s.send('again')
  await driver.until(() => driver.processes[1]?.prompts.length === 1)
  driver.processes[1]?.finish()
  await next.result
  expect((await following)[0]?.number).toBe(10)
  await early.return?.()
  await during.return?.()
})

test('a prompt is kept before the process has it, and a result before its caller', async () => {
  const store = new SlowStore()
  const { s, process, driver } = await silent({ store })
  const letThrough = store.hold()
  const turn = s.send('hello')
  await s.info()
  expect(process.prompts).toEqual([])
  letThrough()
  await driver.until(() => process.prompts.length === 1)
  expect(await turn.promptStored).toMatchObject({ number: 1, event: { type: 'user.message' } })

  const letResultThrough = store.hold()
  let told = false
  void turn.result.then(() => {
    told = true
  })
  process.sayText('hi')
  process.finish()
  await s.info()
  expect(told).toBe(false)
  letResultThrough()
  await turn.result
  expect(store.appended.flat().map(({ type }) => type)).toContain('session.status_idle')
})

test('a turn does not wait for the disk; who acknowledges its prompt and who reads its events do', async () => {
  const store = new SlowStore()
  const { session } = await fakes({ store })
  const s = await session('k')
  await answer(s.send('hello'))
  const reader = s.events({ after: 6 })
  const reachDisk = store.holdDisk()
  const seen: string[] = []
  const turn = s.send('again')
  void turn.promptStored.then(() => seen.push('accepted'))
  const following = until(reader, isIdle).then((entries) => seen.push(`followed ${entries.length}`))
  const listed = kept(s, 6).then((entries) => seen.push(`listed ${entries.length}`))
  expect(await answer(turn)).toBe('[turn 2] You said: again')
  expect(seen).toEqual([])
  reachDisk()
  await Promise.all([following, listed, turn.promptStored])
  expect(seen.toSorted()).toEqual(['accepted', 'followed 6', expect.stringMatching(/^listed \d$/)])
  expect(typesOf(await kept(s, 6))).toEqual(TURN)
  await reader.return?.()
})

test('a prompt that never gets to the disk is not acknowledged, and its turn ends', async () => {
  const store = new SlowStore()
  const { s, process, driver } = await silent({ store })
  const reachDisk = store.holdDisk()
  const turn = s.send('hello')
  await driver.until(() => process.prompts.length === 1)
  process.sayText('too early')
  reachDisk(new StoreError('the disk is gone'))
  await expect(turn.promptStored).rejects.toThrow('the disk is gone')
  expect(await outcome(turn)).toBe('store_failed')
})

test('what comes together goes to the store together', async () => {
  const store = new SlowStore()
  const { session } = await fakes({ store })
  const s = await session('k')
  await s.warm()
  await answer(s.send('hello'))
  expect(store.appended.length).toBeLessThanOrEqual(3)
  expect(store.appended[0]?.map(({ type }) => type)).toEqual(['user.message', 'session.status_running'])
})

test('what is large waits for no company', async () => {
  const store = new SlowStore()
  const { s, process, driver, clock } = await silent({ store })
  const turn = s.send('hello')
  await driver.until(() => process.prompts.length === 1)
  process.sayText('small')
  process.sayText('x'.repeat(200_000))
  await clock.settle()
  expect(store.appended.map((events) => events.length)).toEqual([2, 5])
  process.finish()
  await turn.result
})

test('a prompt that waits for its process is kept at once, and marked as processed when it begins', async () => {
  const { session, driver } = await fakes()
  driver.onStart = (process) => {
    process.readyAtOnce = false
  }
  const s = await session('k')
  const turn = s.send('hello')
  expect((await turn.promptStored)?.event).toMatchObject({ type: 'user.message', processed_at: null })
  const waiting = await kept(s)
  expect(typesOf(waiting)).toEqual(['user.message'])
  ;(await driver.process(0)).becomeReady()
  await turn.result
  const all = await kept(s)
  expect(typesOf(all)).toEqual(TURN)
  expect(all[0]?.event).toMatchObject({ processed_at: expect.any(String) })
})

test('a turn that never began says why, and one that was refused says nothing', async () => {
  const { session, driver, pool } = await fakes({ limits: { turns: 1 } })
  driver.onStart = (process) => {
    process.readyAtOnce = false
  }
  const s = await session('k')
  const turn = s.send('hello')
  await turn.promptStored
  const refused = (await session('other')).send('hello')
  expect(await outcome(refused)).toBe('capacity')
  await expect(refused.promptStored).rejects.toMatchObject({ code: 'capacity' })
  ;(await driver.process(0)).failToStart()
  expect(await outcome(turn)).toBe('start_failed')
  const all = await kept(s)
  expect(typesOf(all)).toEqual(['user.message', 'session.error', 'session.status_idle'])
  expect(all[0]?.event).toMatchObject({ processed_at: expect.any(String) })
  expect(await types(await pool.session('other'))).toEqual([])
})

test('queued prompts are kept in the order they came, and steering ones in their turn', async () => {
  const { s, process, driver } = await silent()
  const first = s.send('first')
  await driver.until(() => process.prompts.length === 1)
  const second = s.send('second', { onBusy: 'queue' })
  const dropped = s.send('dropped', { onBusy: 'queue' })
  await Promise.all([second.promptStored, dropped.promptStored])
  await dropped.interrupt()
  const steering = s.send('steering', { onBusy: 'steer' })
  expect((await steering.promptStored)?.event).toMatchObject({ content: [{ text: 'steering' }] })
  await driver.until(() => process.prompts.length === 2)
  process.finish()
  await first.result
  await driver.until(() => process.prompts.length === 3)
  process.finish()
  await second.result
  const events = (await kept(s)).map(({ event }) => event as SessionEvent)
  expect(events.map(textOf)).toEqual([
    'first',
    'session.status_running',
    'second',
    'dropped',
    'session.error',
    'steering',
    'session.status_idle',
    'session.status_running',
    'session.status_idle',
  ])
  for (const { processed_at: at } of events) expect(at).not.toBeNull()
})

test('an interrupt is an event, once, whoever notes it', async () => {
  const { session, driver } = await fakes()
  driver.onStart = (process) => {
    process.answersAtOnce = false
  }
  const s = await session('k')
  for (const byCaller of [false, true]) {
    const turn = s.send('hello')
    await driver.until(() => driver.processes[0]?.unanswered === 1)
    driver.processes[0]?.sayText('working')
    if (byCaller) await s.append([{ type: 'user.interrupt' }])
    await turn.interrupt()
    await turn.result
  }
  expect((await types(s)).filter((type) => type === 'user.interrupt').length).toBe(2)
})

test('a process that ends in mid-turn leaves an error and an idle session', async () => {
  const { session, driver } = await fakes()
  driver.onStart = (process) => {
    process.answersAtOnce = false
  }
  const s = await session('k')
  const turn = s.send('hello')
  const process = await driver.process(0)
  await driver.until(() => process.prompts.length === 1)
  process.sayText('half')
  process.exit({ cause: 'signal', exitCode: null, signal: 'SIGKILL', stderr: '' })
  expect(await outcome(turn)).toBe('worker_exited')
  const events = await kept(s)
  expect(typesOf(events).slice(-4)).toEqual([
    'agent.message',
    'span.model_request_end',
    'session.error',
    'session.status_idle',
  ])
  expect(events.at(-2)?.event).toMatchObject({ error: { message: expect.stringContaining('SIGKILL') } })
})

test('a store that fails before the prompt is handed over fails the turn, and nothing was sent', async () => {
  const store = new SlowStore()
  const { session, driver } = await fakes({ store })
  const s = await session('k')
  await s.warm()
  store.obstacle = new StoreError('the disk is full')
  expect(await outcome(s.send('hello'))).toBe('store_failed')
  expect((await driver.process(0)).prompts).toEqual([])
  store.obstacle = undefined
  expect(await types(s)).toEqual([])
  expect(await answer(s.send('again'))).toContain('again')
  expect(await types(s)).toEqual(TURN)
})

test('a store that fails in mid-turn ends the turn; its end is written before the next begins', async () => {
  const store = new SlowStore()
  const { s, process, driver, clock } = await silent({ store })
  const turn = s.send('hello')
  await driver.until(() => process.prompts.length === 1)
  store.obstacle = new StoreError('the disk is full')
  process.sayText('lost')
  await heard(clock)
  expect(await outcome(turn)).toBe('store_failed')
  store.obstacle = undefined
  process.answersAtOnce = true
  await answer(s.send('again'))
  const events = await kept(s)
  expect(numbersOf(events)).toEqual(events.map((_, index) => index + 1))
  const texts = events.map(({ event }) => event as SessionEvent).map(textOf)
  expect(texts.slice(0, 2)).toEqual(['hello', 'session.status_running'])
  expect(texts.slice(texts.indexOf('again') - 2, texts.indexOf('again'))).toEqual([
    'session.error',
    'session.status_idle',
  ])
  expect(await (await OneHost.of(store, 'data directory')).openTurns()).toEqual([])
})

test.each([
  ['in mid-turn', ['user.message', 'session.status_running', 'agent.message'] as const],
  ['before the prompt was handed over', ['user.message'] as const],
])('a turn whose host died %s is marked as cut short at the next start', async (_when, before) => {
  const store = new MemoryStore()
  const { pool: earlier, session, driver } = await fakes({ store })
  const s = await session('k')
  await answer(s.send('hello'))
  await earlier.close()
  const [record] = await store.list({ limit: 1 })
  const uid = record?.uid ?? ''
  const left = before.map((type, index) => ({
    number: TURN.length + 1 + index,
    id: `left ${index}`,
    type,
    at: 0,
    json: JSON.stringify({ id: `left ${index}`, type, processed_at: null, content: [] }),
  }))
  const dead = await OneHost.of(store, 'data directory')
  await dead.claim(uid)
  await dead.appendEvents(uid, left, 'open')
  const { session: open } = await fakes({ store, driver })
  const other = await OneHost.of(store)
  expect(await other.openTurns()).toEqual([])
  await other.claim(uid)
  await other.release(uid)
  const again = await open('k')
  const events = await kept(again, TURN.length)
  expect(typesOf(events)).toEqual([...before, 'session.error', 'session.status_idle'])
  expect(events.at(-2)?.event).toMatchObject({ error: { message: expect.stringContaining('the host ended') } })
  await answer(again.send('on'))
  expect(typesOf(await kept(again, TURN.length + before.length + 2))).toEqual(TURN)
})

test('a turn that its host left open after it had written the end is closed without another event', async () => {
  const store = new MemoryStore()
  const { pool: earlier, session, driver } = await fakes({ store })
  const s = await session('k')
  await answer(s.send('hello'))
  await earlier.close()
  const { uid = '' } = (await store.get('default', 'k')) ?? {}
  const dead = await OneHost.of(store, 'data directory')
  await dead.claim(uid)
  await dead.appendEvents(uid, [], 'open')
  const next = await fakes({ store, driver })
  expect(await types(await next.pool.session('k'))).toEqual(TURN)
  await next.pool.close()
  expect(await (await OneHost.of(store, 'data directory')).openTurns()).toEqual([])
})

test.each([
  ['comes with its call', 0],
  ['comes later than its call, which waits for it', 60],
])(
  'a question for permission is told in its call, pauses the turn, and its answer resumes it: it %s',
  async (_, ms) => {
    const question = Promise.withResolvers<void>()
    const canUseTool = async (): Promise<{ behavior: 'deny'; message: string }> => {
      await question.promise
      return { behavior: 'deny', message: 'not today' }
    }
    const { session, driver, clock } = await fakes({ agents: { assistant: { ...NO_SPARES, canUseTool } } })
    driver.onStart = (process) => {
      process.answersAtOnce = false
    }
    const s = await session('k')
    const reader = s.events()
    const turn = s.send('hello')
    const process = await driver.process(0)
    await driver.until(() => process.prompts.length === 1)
    process.say(toolUse('toolu_1'))
    const reading = until(reader, ({ type }) => type === 'agent.tool_use')
    await clock.advance(ms)
    const asked = process.spec.options.canUseTool?.(
      'Bash',
      { command: 'ls' },
      {
        signal: new AbortController().signal,
        toolUseID: 'toolu_1',
        requestId: 'r',
      },
    )
    await heard(clock)
    const told = (await reading).at(-1)?.event
    const use = told as { id: string; evaluated_permission?: string }
    expect(use.evaluated_permission).toBe('ask')
    const paused = await until(reader, isIdle)
    expect(paused.at(-1)?.event).toMatchObject({ stop_reason: { type: 'requires_action', event_ids: [use.id] } })
    expect((await kept(s)).find(({ event }) => event.type === 'agent.tool_use')?.event).toEqual(told)
    question.resolve()
    await asked
    const resumed = await until(reader, ({ type }) => type === 'session.status_running')
    expect(resumed.map(({ event }) => event)).toMatchObject([
      { type: 'user.tool_confirmation', tool_use_id: use.id, result: 'deny', deny_message: 'not today' },
      { type: 'session.status_running' },
    ])
    process.finish()
    await turn.result
    await reader.return?.()
  },
)

const toolUse = (id: string): SDKMessage =>
  ({
    type: 'assistant',
    parent_tool_use_id: null,
    message: {
      id: 'msg',
      content: [{ type: 'tool_use', id, name: 'Bash', input: { command: 'ls' } }],
      usage: { input_tokens: 1, output_tokens: 1 },
    },
  }) as unknown as SDKMessage

const partial = (event: object): SDKMessage =>
  ({ type: 'stream_event', parent_tool_use_id: null, event }) as unknown as SDKMessage
const USAGE = { input_tokens: 1, output_tokens: 1, cache_creation_input_tokens: 0, cache_read_input_tokens: 0 }
const START = partial({ type: 'message_start', message: { id: 'msg', model: 'm', usage: USAGE } })
const BLOCK = partial({ type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } })
const delta = (text: string): SDKMessage =>
  partial({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } })
const message = (text: string): SDKMessage =>
  ({
    type: 'assistant',
    parent_tool_use_id: null,
    message: { id: 'msg', model: 'm', content: [{ type: 'text', text }], usage: USAGE },
  }) as unknown as SDKMessage

test('previews come between their neighbours to who wants them; a slow reader gets a prefix and the whole message', async () => {
  const { session, driver, clock } = await fakes()
  driver.onStart = (process) => {
    process.answersAtOnce = false
  }
  const s = await session('k')
  const quick = s.events({ previews: true })
  const slow = s.events({ previews: true })
  const plain = s.events()
  const turn = s.send('hello')
  const process = await driver.process(0)
  await driver.until(() => process.prompts.length === 1)
  for (const reader of [quick, slow, plain]) await until(reader, ({ type }) => type === 'session.status_running')
  process.say(START)
  process.say(BLOCK)
  process.say(delta('a'))
  const reading = until(quick, ({ type }) => type === 'event_delta')
  await heard(clock)
  const begun = await reading
  expect(typesOf(begun)).toEqual(['span.model_request_start', 'event_start', 'event_delta'])
  expect(numbersOf(begun)).toEqual([3, undefined, undefined])
  for (let i = 0; i < 2_000; i += 1) process.say(delta('b'))
  process.say(message(`a${'b'.repeat(2_000)}`))
  process.finish()
  await turn.result
  const rest = await until(slow, isIdle)
  expect(typesOf(rest).filter((type) => type.startsWith('event_')).length).toBeLessThan(600)
  expect(rest.find(({ event }) => event.type === 'agent.message')?.number).toBe(4)
  expect(typesOf(await until(plain, isIdle)).filter((type) => type.startsWith('event_'))).toEqual([])
  expect(typesOf(await kept(s)).filter((type) => type.startsWith('event_'))).toEqual([])
  for (const reader of [quick, slow, plain]) await reader.return?.()
})

test('what is there already can be taken without waiting, and nothing twice', async () => {
  const { session } = await fakes()
  const s = await session('k')
  const reader = s.events()
  expect(reader.tryNext()).toBeUndefined()
  await s.append(['one', 'two', 'three'].map((title) => ({ type: 'session.updated', title })))
  expect((await reader.next()).value?.number).toBe(1)
  expect([reader.tryNext(), reader.tryNext(), reader.tryNext()].map((entry) => entry?.number)).toEqual([
    2,
    3,
    undefined,
  ])
  const waiting = reader.next()
  await s.append([{ type: 'session.updated', title: 'four' }])
  expect(reader.tryNext()).toBeUndefined()
  expect((await waiting).value?.number).toBe(4)
  await reader.return?.()
  expect(reader.tryNext()).toBeUndefined()
})

test('a reader that waits leaves at once, and with it goes what it held', async () => {
  const { session, pool } = await fakes()
  const s = await session('k')
  const reader = s.events()
  const waiting = reader.next()
  await s.info()
  await reader.return?.()
  expect(await waiting).toEqual({ done: true, value: undefined })
  expect(await reader.next()).toEqual({ done: true, value: undefined })
  await expect.poll(() => pool.stats().activeSessions).toBe(0)
})

test('a reader that begins while its session is looked up elsewhere hears what is added there', async () => {
  const store = new LateStore()
  const { session } = await fakes({ store })
  const s = await session('k')
  const reader = s.events()
  const lookedUp = session('k')
  const first = reader.next()
  const other = await lookedUp
  await other.append([{ type: 'session.updated', title: 'Orders' }])
  expect((await first).value?.number).toBe(1)
  await reader.return?.()
})

test.each([
  ['runs', true],
  ['waits for its process', false],
])('who follows a turn that %s hears how it ended before the pool is closed', async (_, readyAtOnce) => {
  const { session, pool, driver } = await fakes()
  driver.onStart = (process) => {
    process.answersAtOnce = false
    process.readyAtOnce = readyAtOnce
  }
  const s = await session('k')
  const reader = s.events()
  const turn = s.send('hello', { onBusy: 'queue' })
  const ending = until(reader, isIdle)
  if (readyAtOnce) {
    const process = await driver.process(0)
    await driver.until(() => process.prompts.length === 1)
  } else await turn.promptStored
  const closing = pool.close()
  expect(typesOf(await ending).slice(-2)).toEqual(['session.error', 'session.status_idle'])
  await expect(reader.next()).rejects.toMatchObject({ code: 'pool_closed' })
  await closing
})

test('readers are told that the session was deleted, or the pool closed', async () => {
  const { session, pool } = await fakes()
  const [deleted, closed] = [await session('deleted'), await session('closed')]
  await answer(deleted.send('hello'))
  const reader = deleted.events()
  await until(reader, isIdle)
  const waiting = reader.next()
  await deleted.delete()
  await expect(waiting).rejects.toMatchObject({ code: 'session_deleted' })
  await expect(deleted.events().next()).rejects.toMatchObject({ code: 'session_deleted' })
  const other = closed.events().next()
  await closed.info()
  await pool.close()
  await expect(other).rejects.toMatchObject({ code: 'pool_closed' })
})

test('events of the caller’s own are numbered with the others', async () => {
  const { session } = await fakes()
  const s = await session('k')
  const [own] = await s.append([{ type: 'session.updated', title: 'Orders' }])
  expect(own).toMatchObject({ number: 1, event: { title: 'Orders', id: expect.any(String) } })
  await answer(s.send('hello'))
  expect(typesOf(await kept(s))).toEqual(['session.updated', ...TURN])
})

test.each([
  ['a pool that keeps none', false],
  ['a fork', true],
])('%s begins without events', async (what, events) => {
  const store = new MemoryStore()
  const { session } = await fakes({ store, events })
  const s = await session('k')
  const turn = s.send('hello')
  await answer(turn)
  if (what === 'a fork') {
    expect(await types(await s.fork('fork'))).toEqual([])
    return
  }
  expect(await turn.promptStored).toBeUndefined()
  await expect(kept(s)).rejects.toMatchObject({ code: 'invalid_config' })
  await expect(s.append([])).rejects.toMatchObject({ code: 'invalid_config' })
  const [record] = await store.list({ limit: 1 })
  expect(await store.eventTotals(record?.uid ?? '')).toEqual({ first: 0, last: 0, size: 0 })
})

test('what was written when a pool closes is complete', async () => {
  const store = new MemoryStore()
  const { session, driver, pool } = await fakes({ store })
  driver.onStart = (process) => {
    process.answersAtOnce = false
  }
  const s = await session('k')
  const turn = s.send('hello')
  onTestFinished(() => void turn.result.catch(() => undefined))
  await turn.promptStored
  await pool.close()
  expect(await (await OneHost.of(store, 'data directory')).openTurns()).toEqual([])
  const [record] = await store.list({ limit: 1 })
  const events = await store.readEvents(record?.uid ?? '', { limit: 100 })
  expect(events.at(-1)?.type).toBe('session.status_idle')
})
