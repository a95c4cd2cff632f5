import { randomUUID } from 'node:crypto'
import { getEventListeners } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { ExitFacts, SDKMessage, SDKUserMessage } from '../../../src/driver/driver.ts'
import { StartError } from '../../../src/errors.ts'
import type { QueryOptions } from '../../../src/queries/query-options.ts'
import type { FakeProcess } from '../../../src/testing/index.ts'
import { NO_SPARES, fakes, used } from '../../fixtures/fakes.ts'
import type { Fakes } from '../../fixtures/fakes.ts'
import { LivePrompts, user } from '../../fixtures/live-prompts.ts'

const MINUTE = 60_000

interface Read {
  messages: SDKMessage[]
  error?: unknown
}

async function read(query: AsyncIterable<SDKMessage>): Promise<Read> {
  const messages: SDKMessage[] = []
  try {
    for await (const message of query) messages.push(message)
    return { messages }
  } catch (error) {
    return { messages, error }
  }
}

const resultsOf = ({ messages }: Read): string[] =>
  messages.flatMap((message) => (message.type === 'result' && message.subtype === 'success' ? [message.result] : []))

const idOf = ({ messages }: Read): string => messages.find(({ type }) => type === 'result')?.session_id ?? ''

/** A pool on fakes, and a directory for its queries. `held`: processes answer when the test says so. */
async function setUp({ held = false, ...options }: { held?: boolean } & Parameters<typeof fakes>[0] = {}): Promise<
  Fakes & { cwd: string; ask: (prompt: string, options?: QueryOptions) => Promise<Read> }
> {
  const setup = await fakes(options)
  const cwd = await mkdtemp(join(tmpdir(), 'query-'))
  onTestFinished(() => rm(cwd, { recursive: true, force: true }))
  setup.driver.onStart = (process) => {
    process.answersAtOnce = !held
  }
  return { ...setup, cwd, ask: (prompt, rest) => read(setup.pool.query({ prompt, options: { cwd, ...rest } })) }
}

const textsOf = (process: FakeProcess): unknown[] => process.prompts.map(({ message }) => message.content)

/** Processes that are no spares. */
const own = (processes: readonly FakeProcess[]): FakeProcess[] =>
  processes.filter(({ spec }) => spec.conversation.kind !== 'unbound')

/** What a process was asked for, status of its MCP servers aside. */
const callsOf = ({ calls }: FakeProcess): unknown[] =>
  calls.filter(({ method }) => method !== 'mcpServerStatus').map(({ method, args }) => [method, ...args])

describe('A session that a query began', () => {
  test('is resumed by the id that its messages told, with the options of the next query', async () => {
    const { ask, driver } = await setUp()
    const first = await ask('one', { model: 'm-1' })
    const second = await ask('two', { model: 'm-2', resume: idOf(first) })
    expect(resultsOf(second)).toEqual(['[turn 2] You said: two'])
    expect(own(driver.processes).map(({ spec }) => [spec.conversation.kind, spec.options.model])).toEqual([
      ['new', 'm-1'],
      ['resume', 'm-2'],
    ])
  })

  test('has the options of the next query also when that asks something before its first message', async () => {
    const { ask, pool, cwd, driver } = await setUp()
    const resume = idOf(await ask('one', { model: 'm-1' }))
    const query = pool.query({ prompt: 'two', options: { cwd, resume, model: 'm-2' } })
    await query.supportedModels()
    await read(query)
    expect(own(driver.processes).map(({ spec }) => spec.options.model)).toEqual(['m-1', 'm-2'])
  })

  test('has no process after its first query, and keeps it after those that went on with it', async () => {
    const { ask, driver } = await setUp()
    const first = await ask('one')
    expect(own(driver.living)).toEqual([])
    await ask('two', { resume: idOf(first) })
    const third = await ask('three', { resume: idOf(first) })
    expect(resultsOf(third)).toEqual(['[turn 3] You said: three'])
    expect([own(driver.processes).length, own(driver.living).length]).toEqual([2, 1])
  })

  test('is gone at once when it was not to be kept', async () => {
    const { ask, pool } = await setUp()
    const first = await ask('one', { persistSession: false })
    expect(resultsOf(first)).toEqual(['[turn 1] You said: one'])
    expect(await pool.sessions()).toEqual([])
    expect(await ask('two', { resume: idOf(first) })).toMatchObject({ error: { name: 'ResumeError' } })
  })

  test('can be resumed as long after its last use as retention.queries says', async () => {
    const { ask, pool, clock } = await setUp({ retention: { queries: '10m' }, residency: { idleTtl: '1m' } })
    const first = await ask('one')
    await clock.advance(5 * MINUTE)
    await ask('two', { resume: idOf(first) })
    await clock.advance(10 * MINUTE - 1_000)
    expect((await pool.prune()).sessions).toEqual([])
    await clock.advance(1_001)
    await pool.prune()
    expect(await ask('three', { resume: idOf(first) })).toMatchObject({ error: { name: 'ResumeError' } })
  })

  test('goes by retention.queries alone, which says nothing of other sessions', async () => {
    const setup = await setUp({ retention: { queries: '10m' } })
    await used(setup, 'mine')
    await setup.ask('one')
    await setup.clock.advance(11 * MINUTE)
    await setup.pool.prune()
    expect((await setup.pool.sessions()).map(({ key }) => key)).toEqual(['mine'])
  })

  test('is the newest of its directory for `continue`, or a new one', async () => {
    const { ask, clock, cwd } = await setUp()
    expect(resultsOf(await ask('one', { continue: true }))).toEqual(['[turn 1] You said: one'])
    await clock.advance(1_000)
    await ask('other')
    await clock.advance(1_000)
    expect(resultsOf(await ask('two', { continue: true }))).toEqual(['[turn 2] You said: two'])
    const elsewhere = await ask('three', { continue: true, cwd: join(cwd, '..') })
    expect(resultsOf(elsewhere)).toEqual(['[turn 1] You said: three'])
  })

  test('is not moved to another directory', async () => {
    const { ask, cwd } = await setUp()
    const first = await ask('one')
    expect(await ask('two', { resume: idOf(first), cwd: join(cwd, '..') })).toMatchObject({
      error: { name: 'SessionConflictError', message: expect.stringContaining(cwd) },
    })
  })

  test('is forked into one of its own, and stays as it was', async () => {
    const { ask } = await setUp()
    const first = await ask('one')
    const fork = await ask('two', { resume: idOf(first), forkSession: true })
    expect(resultsOf(fork)).toEqual(['[turn 2] You said: two'])
    expect(idOf(fork)).not.toBe(idOf(first))
    expect(resultsOf(await ask('three', { resume: idOf(first) }))).toEqual(['[turn 2] You said: three'])
    expect(resultsOf(await ask('four', { resume: idOf(fork) }))).toEqual(['[turn 3] You said: four'])
  })

  test('is not changed by a query that is not to be kept', async () => {
    const { ask } = await setUp()
    const first = await ask('one')
    expect(resultsOf(await ask('two', { resume: idOf(first), persistSession: false }))).toEqual([
      '[turn 2] You said: two',
    ])
    expect(resultsOf(await ask('three', { resume: idOf(first) }))).toEqual(['[turn 2] You said: three'])
  })

  test('is resumed at an earlier message, once', async () => {
    const { ask, driver } = await setUp()
    const first = await ask('one')
    const at = randomUUID()
    await ask('two', { resume: idOf(first), resumeSessionAt: at, resumeDropsTurn: 'turn' })
    await ask('three', { resume: idOf(first), model: 'other' })
    expect(own(driver.processes).map(({ spec }) => spec.conversation)).toEqual([
      { kind: 'new', sessionId: idOf(first) },
      { kind: 'resume', sessionId: idOf(first), at, dropsTurn: 'turn' },
      { kind: 'resume', sessionId: idOf(first) },
    ])
  })

  test('costs no store anything that nothing was said in', async () => {
    const { pool, cwd } = await setUp()
    const prompts = new LivePrompts()
    const query = pool.query({ prompt: prompts, options: { cwd } })
    await query.supportedModels()
    query.close()
    await read(query)
    expect(await pool.sessions()).toEqual([])
  })

  test('keeps no events', async () => {
    const { ask, pool } = await setUp()
    await ask('one')
    const [info] = await pool.sessions()
    const session = await pool.session(info?.key ?? '')
    await expect(session.events({ follow: false }).next()).rejects.toMatchObject({
      name: 'ConfigError',
      path: 'events',
    })
  })
})

describe('An id that the caller chose', () => {
  test('is that of the session, which no spare can have', async () => {
    const { ask, driver } = await setUp()
    const sessionId = randomUUID()
    expect(idOf(await ask('one', { sessionId, spares: { min: 1 } } as QueryOptions))).toBe(sessionId)
    const forked = randomUUID()
    expect(idOf(await ask('two', { resume: sessionId, forkSession: true, sessionId: forked }))).toBe(forked)
    expect(driver.processes[0]?.spec.conversation).toEqual({ kind: 'new', sessionId })
  })

  test.each<[string, (taken: string) => QueryOptions, object]>([
    ['that is taken', (sessionId) => ({ sessionId }), { name: 'SessionConflictError' }],
    ['that is no UUID', () => ({ sessionId: 'mine' }), { name: 'ConfigError', path: 'options.sessionId' }],
    [
      'beside resume',
      (resume) => ({ resume, sessionId: randomUUID() }),
      { name: 'ConfigError', path: 'options.sessionId', message: expect.stringContaining('forkSession: true') },
    ],
  ])('%s is refused', async (_, options, error) => {
    const { ask, driver } = await setUp()
    const taken = idOf(await ask('one'))
    expect(await ask('two', options(taken))).toMatchObject({ messages: [], error })
    expect(own(driver.processes).length).toBe(1)
  })
})

describe('A session of an agent', () => {
  const begun = async (setup: Fakes): Promise<string> => (await (await used(setup, 'mine')).info()).sdkSessionId ?? ''

  test('is resumed with the options of its agent, and keeps them', async () => {
    const setup = await setUp()
    const resume = await begun(setup)
    const resumed = await read(setup.pool.query({ prompt: 'two', options: { resume } }))
    expect(resultsOf(resumed)).toEqual(['[turn 2] You said: two'])
    expect(await (await setup.session('mine')).info()).toMatchObject({ turns: 2, agent: 'assistant' })
  })

  test.each<[string, QueryOptions]>([
    ['model', { model: 'other' }],
    ['hooks', { hooks: {} }],
    ['persistSession', { persistSession: false }],
    ['sessionId', { forkSession: true, sessionId: randomUUID() }],
    ['resumeSessionAt', { forkSession: true, resumeSessionAt: randomUUID() }],
  ])('takes no %s from who has its id', async (name, options) => {
    const setup = await setUp()
    const resume = await begun(setup)
    expect(await read(setup.pool.query({ prompt: 'two', options: { resume, ...options } }))).toMatchObject({
      error: { name: 'ConfigError', path: `options.${name}`, message: expect.stringContaining('"assistant"') },
    })
  })

  test('is forked with its agent', async () => {
    const setup = await setUp()
    const resume = await begun(setup)
    const fork = await read(setup.pool.query({ prompt: 'two', options: { resume, forkSession: true } }))
    expect(resultsOf(fork)).toEqual(['[turn 2] You said: two'])
    expect((await setup.pool.sessions()).map(({ agent, turns }) => [agent, turns])).toEqual([
      ['assistant', 1],
      ['assistant', 2],
    ])
  })
})

describe('A method', () => {
  test('is answered before the first message, by the process that then has it', async () => {
    const { pool, cwd, driver } = await setUp()
    const prompts = new LivePrompts()
    const query = pool.query({ prompt: prompts, options: { cwd } })
    await query.setModel('m-2')
    expect(callsOf(await driver.process(0))).toEqual([['setModel', 'm-2']])
    prompts.say('one')
    prompts.end()
    expect(resultsOf(await read(query))).toEqual(['[turn 1] You said: one'])
    expect(own(driver.processes).length).toBe(1)
  })

  test('that told a process something is told the one that takes over, with the mode that was in effect', async () => {
    const { pool, cwd, driver } = await setUp()
    const prompts = new LivePrompts()
    const query = pool.query({ prompt: prompts, options: { cwd } })
    const reading = read(query)
    const answered = new Promise((resolve) => pool.on('turn.ended', resolve))
    prompts.say('one')
    const first = await driver.process(0)
    first.answers.set('setPermissionMode', { mode: 'default' })
    await query.setModel('m-1')
    await query.setPermissionMode('auto')
    await query.applyFlagSettings({ model: 'x' })
    await query.toggleMcpServer('a', false)
    await query.setModel('m-2')
    await query.applyFlagSettings({ effortLevel: 'low' })
    await query.toggleMcpServer('b', true)
    await query.supportedModels()
    await answered
    const left = new Promise((resolve) => pool.on('worker.closed', resolve))
    first.exit({ exitCode: 1 })
    await left
    prompts.say('two')
    prompts.end()
    expect(resultsOf(await reading)).toEqual(['[turn 1] You said: one', '[turn 2] You said: two'])
    expect(callsOf(own(driver.processes)[1] as FakeProcess)).toEqual([
      ['setPermissionMode', 'default'],
      ['toggleMcpServer', 'a', false],
      ['setModel', 'm-2'],
      ['applyFlagSettings', { model: 'x', effortLevel: 'low' }],
      ['toggleMcpServer', 'b', true],
    ])
  })

  test('that changed a process ends it with the query: the session goes on as its options say', async () => {
    const { ask, pool, cwd, driver } = await setUp()
    const resume = idOf(await ask('one'))
    const query = pool.query({ prompt: 'two', options: { cwd, resume } })
    await query.setModel('m-2')
    await read(query)
    expect(own(driver.living)).toEqual([])
  })

  test('of an SDK that is not known is not there', async () => {
    const { pool } = await setUp()
    const query = pool.query({ prompt: new LivePrompts() })
    expect('setModel' in query).toBe(true)
    for (const name of ['then', 'transport', 'setNothing', Symbol.toStringTag])
      expect([name in query, Reflect.get(query, name)]).toEqual([false, undefined])
    query.close()
  })

  test('is refused when the query has ended, unless the SDK knows the answer since the process started', async () => {
    const { pool, cwd, driver } = await setUp()
    const query = pool.query({ prompt: 'one', options: { cwd } })
    await read(query)
    ;(await driver.process(0)).answers.set('supportedModels', [])
    expect(await query.supportedModels()).toEqual([])
    const refused = { name: 'QueryEndedError', code: 'query_ended' }
    await expect(query.mcpServerStatus()).rejects.toMatchObject(refused)
    await expect(query.streamInput(new LivePrompts())).rejects.toMatchObject(refused)
  })

  test('interrupt gives what the process says of its queue, and may be called for each prompt', async () => {
    const { pool, cwd, driver, clock } = await setUp({ held: true })
    const prompts = new LivePrompts()
    const query = pool.query({ prompt: prompts, options: { cwd } })
    const reading = read(query)
    prompts.say('one')
    const process = await driver.process(0)
    process.receipt = { still_queued: ['later'] }
    process.heedsInterrupts = false
    await driver.until(() => process.unanswered === 1)
    process.sayText('hm')
    const interrupted = query.interrupt()
    prompts.say('two')
    await driver.until(() => process.unanswered === 2)
    expect(await interrupted).toEqual({ still_queued: ['later'] })
    process.finish({ prompts: 1, subtype: 'error_during_execution' })
    await clock.settle()
    await query.interrupt()
    expect(process.interrupts).toBe(2)
    process.finish()
    prompts.end()
    expect((await reading).messages.map(({ type }) => type)).toEqual(['assistant', 'result', 'result'])
  })
})

describe('Prompts', () => {
  test('are handed over as they come: one that comes during a turn steers it', async () => {
    const { pool, cwd, driver } = await setUp({ held: true })
    const prompts = new LivePrompts()
    const reading = read(pool.query({ prompt: prompts, options: { cwd } }))
    prompts.say('one')
    const process = await driver.process(0)
    await driver.until(() => process.unanswered === 1)
    prompts.say('two')
    prompts.end()
    await driver.until(() => process.unanswered === 2)
    process.sayText('both')
    process.finish()
    expect(resultsOf(await reading)).toEqual(['both'])
  })

  test('run when nobody reads, and nothing of the answer is lost', async () => {
    const { pool, cwd, driver } = await setUp()
    const query = pool.query({ prompt: 'one', options: { cwd } })
    await driver.until(() => driver.processes[0]?.gone === true)
    expect(resultsOf(await read(query))).toEqual(['[turn 1] You said: one'])
  })

  test('may be added by streamInput, until all have ended', async () => {
    const { pool, cwd, driver } = await setUp({ held: true })
    const query = pool.query({ prompt: 'one', options: { cwd } })
    const more = new LivePrompts()
    const reading = read(query)
    const added = query.streamInput(more)
    const process = await driver.process(0)
    await driver.until(() => process.unanswered === 1)
    process.finish({ text: 'first' })
    more.say('two')
    more.end()
    await added
    await driver.until(() => process.unanswered === 1)
    process.finish({ text: 'second' })
    expect(resultsOf(await reading)).toEqual(['first', 'second'])
    expect(textsOf(process)).toEqual(['one', 'two'])
  })

  test('that throw end the query with what they throw', async () => {
    const { pool, cwd } = await setUp()
    async function* broken(): AsyncGenerator<SDKUserMessage> {
      yield user('one')
      throw new Error('no more')
    }
    expect(await read(pool.query({ prompt: broken(), options: { cwd } }))).toMatchObject({
      error: { message: 'no more' },
    })
  })

  test('that never come cost nothing but a process, and closing the query ends it', async () => {
    const { pool, cwd, driver } = await setUp()
    const query = pool.query({ prompt: new LivePrompts(), options: { cwd } })
    await query.initializationResult()
    query.close()
    expect(await read(query)).toEqual({ messages: [] })
    await driver.until(() => own(driver.living).length === 0)
  })
})

describe('A query ends', () => {
  test('with an error after a result that reports one, which it has given before', async () => {
    const { pool, cwd, driver } = await setUp({ held: true })
    const reading = read(pool.query({ prompt: 'one', options: { cwd } }))
    const process = await driver.process(0)
    await driver.until(() => process.unanswered === 1)
    process.finish({ subtype: 'error_max_turns' })
    const { messages, error } = await reading
    expect(messages.at(-1)).toMatchObject({ type: 'result', subtype: 'error_max_turns' })
    expect(error).toMatchObject({ name: 'ErrorResultError', code: 'error_result', subtype: 'error_max_turns' })
  })

  test.each(['before', 'during', 'while it waits'])('with an AbortError when it is aborted %s', async (when) => {
    const { pool, cwd, driver, clock } = await setUp({ held: true })
    const abortController = new AbortController()
    if (when === 'before') abortController.abort()
    const prompts = new LivePrompts()
    const query = pool.query({ prompt: when === 'during' ? 'one' : prompts, options: { cwd, abortController } })
    const reading = read(query)
    if (when === 'during') await driver.until(() => driver.processes[0]?.unanswered === 1)
    if (when === 'while it waits') await query.initializationResult()
    abortController.abort()
    expect(await reading).toMatchObject({ messages: [], error: { name: 'AbortError' } })
    await clock.advance(2_000)
    await driver.until(() => own(driver.living).length === 0)
  })

  test('before it began when a text is its prompt and its controller has aborted', async () => {
    const { pool } = await setUp()
    const abortController = new AbortController()
    abortController.abort()
    expect(() => pool.query({ prompt: 'one', options: { abortController } })).toThrow(
      expect.objectContaining({ name: 'AbortError', message: 'Operation aborted' }),
    )
  })

  test('with its pool, also while it waits for a prompt', async () => {
    const { pool, cwd } = await setUp()
    const query = pool.query({ prompt: new LivePrompts(), options: { cwd } })
    const reading = read(query)
    await query.initializationResult()
    await pool.close()
    expect(await reading).toMatchObject({ messages: [], error: { name: 'PoolClosedError' } })
  })

  test('when its session is deleted', async () => {
    const { pool, cwd } = await setUp()
    const prompts = new LivePrompts()
    const query = pool.query({ prompt: prompts, options: { cwd } })
    prompts.say('one')
    for await (const { type } of query) if (type === 'result') break
    const other = pool.query({ prompt: new LivePrompts(), options: { cwd, continue: true } })
    const reading = read(other)
    await other.initializationResult()
    const [info] = await pool.sessions()
    await (await pool.session(info?.key ?? '')).delete()
    expect(await reading).toMatchObject({ messages: [], error: { name: 'SessionGoneError' } })
  })

  test('and leaves nothing on the controller that could have aborted it', async () => {
    const { ask } = await setUp()
    const abortController = new AbortController()
    await ask('one', { abortController })
    expect(getEventListeners(abortController.signal, 'abort')).toEqual([])
  })

  test('with what its process says between turns in its place', async () => {
    const { pool, cwd, driver } = await setUp()
    const prompts = new LivePrompts()
    const query = pool.query({ prompt: prompts, options: { cwd } })
    await query.initializationResult()
    const process = await driver.process(0)
    const aside = (subtype: string): SDKMessage =>
      ({ type: 'system', subtype, session_id: 's' }) as unknown as SDKMessage
    process.say(aside('status'))
    await driver.until(() => process.consumptions > 0)
    prompts.say('one')
    const types: string[] = []
    for await (const message of query) {
      types.push('subtype' in message ? `${message.type}/${message.subtype}` : message.type)
      if (message.type === 'result') process.say(aside('task_notification'))
      if ('subtype' in message && message.subtype === 'task_notification') prompts.end()
    }
    expect(types).toEqual(['system/status', 'assistant', 'result/success', 'system/task_notification'])
  })
})

describe('Options', () => {
  test('that are undefined were not given', async () => {
    const { ask } = await setUp()
    const options = {
      resume: undefined,
      sessionId: undefined,
      sessionStore: undefined,
      model: undefined,
      cwd: undefined,
    }
    expect(resultsOf(await ask('one', options as unknown as QueryOptions))).toEqual(['[turn 1] You said: one'])
  })

  test.each<[QueryOptions, object]>([
    [{ appendSystemPrompt: 'more' }, { type: 'preset', preset: 'claude_code', append: 'more' }],
    [{ appendSystemPrompt: 'more', systemPrompt: 'own' }, 'own\n\nmore' as unknown as object],
    [{ appendSystemPrompt: 'more', systemPrompt: ['own'] }, ['own', 'more']],
    [
      { appendSystemPrompt: 'more', systemPrompt: { type: 'custom', prompt: 'own', snapshot: true } },
      { type: 'custom', prompt: ['own', 'more'], snapshot: true },
    ],
    [
      { appendSystemPrompt: 'more', systemPrompt: { type: 'preset', preset: 'claude_code', append: 'some' } },
      { type: 'preset', preset: 'claude_code', append: 'some\n\nmore' },
    ],
  ])('appendSystemPrompt goes behind what is there: %j', async (options, systemPrompt) => {
    const { ask, driver } = await setUp()
    await ask('one', options)
    expect(driver.processes[0]?.spec.options.systemPrompt).toEqual(systemPrompt)
  })

  test.each<[string, QueryOptions, RegExp]>([
    ['sessionStore', { sessionStore: {} as never }, /transcripts: 'store'/],
    ['spawnClaudeCodeProcess', { spawnClaudeCodeProcess: () => expect.unreachable() }, /neither count nor end/],
    ['resumeSessionAt', { resumeSessionAt: randomUUID() }, /name what in resume/],
    ['stderr', { stderr: 'x' as never }, /is not a function/],
    ['modle', { modle: 'x' } as QueryOptions, /did you mean model\?/],
    ['env.CLAUDE_CONFIG_DIR', { env: { CLAUDE_CONFIG_DIR: '/tmp' } }, /set by the pool itself/],
  ])('%s is refused by name', async (name, options, message) => {
    const { ask, driver } = await setUp()
    expect(await ask('one', options)).toMatchObject({
      error: { name: 'ConfigError', path: `options.${name}`, message: expect.stringMatching(message) },
    })
    expect(driver.processes).toEqual([])
  })

  test('that SDK without a store ignores are ignored', async () => {
    const { ask } = await setUp()
    expect(resultsOf(await ask('one', { loadTimeoutMs: 1, sessionStoreFlush: 'eager' }))).toHaveLength(1)
  })

  test('stderr hears each process of the query, what it wrote before included', async () => {
    const { pool, cwd, driver, told } = await setUp()
    const heard: string[] = []
    const query = pool.query({
      prompt: new LivePrompts(),
      options: {
        cwd,
        stderr: (text) => {
          heard.push(text)
          throw new Error('of the listener')
        },
      },
    })
    driver.onStart = (process) => process.sayStderr('starting\n')
    await query.initializationResult()
    const process = await driver.process(0)
    process.sayStderr('working\n')
    expect(heard).toEqual(['starting\n', 'working\n'])
    expect(told('warning')).toHaveLength(2)
    query.close()
  })
})

test('What a process wrote to stderr that did not start is heard, too', async () => {
  const { ask, driver } = await setUp()
  driver.onStart = (process) => {
    const exit: ExitFacts = { cause: 'crash', exitCode: 1, signal: null, stderr: 'no such flag\n' }
    process.readyAtOnce = false
    process.failToStart(new StartError('initialize', 'the agent process exited with code 1', exit))
  }
  const heard: string[] = []
  expect(await ask('one', { stderr: (text) => void heard.push(text) })).toMatchObject({ error: { name: 'StartError' } })
  expect(heard).toEqual(['no such flag\n'])
})

test('Agents of queries share spares, and their name is that of no agent', async () => {
  const { pool, cwd, driver } = await fakes({ agents: { assistant: NO_SPARES } }).then(async (setup) => ({
    ...setup,
    cwd: await mkdtemp(join(tmpdir(), 'query-')),
  }))
  onTestFinished(() => rm(cwd, { recursive: true, force: true }))
  const names = async (model: string): Promise<unknown> => {
    await read(pool.query({ prompt: 'one', options: { cwd, model } }))
    return (await pool.sessions()).map(({ agent }) => agent)
  }
  const [first] = (await names('m')) as string[]
  expect(await names('m')).toEqual([first, first])
  expect(first).toMatch(/^query:[0-9a-f]{16}$/)
  expect(() => pool.defineAgent(first ?? '', {})).toThrow('agents.query:')
  expect(driver.processes.length).toBeGreaterThanOrEqual(2)
})
