import { expect, test } from 'vitest'
import type { CanUseTool, SDKMessage } from '../../../src/driver/driver.ts'
import type { TurnPhase } from '../../../src/index.ts'
import { MemoryStore } from '../../../src/testing/index.ts'
import { assistantMessage } from '../../../src/testing/messages.ts'
import { fakes, NO_SPARES, outcome } from '../../fixtures/fakes.ts'
import type { Fakes } from '../../fixtures/fakes.ts'

const INIT = { type: 'system', subtype: 'init', session_id: 's' } as unknown as SDKMessage

function called(id: string, name: string, parent: string | null = null): SDKMessage {
  const said = assistantMessage('s', '') as Extract<SDKMessage, { type: 'assistant' }>
  const content = [{ type: 'tool_use', id, name, input: {} }]
  return { ...said, parent_tool_use_id: parent, message: { ...said.message, content } } as SDKMessage
}

const returned = (id: string, parent: string | null = null): SDKMessage =>
  ({
    type: 'user',
    parent_tool_use_id: parent,
    message: { role: 'user', content: [{ type: 'tool_result', tool_use_id: id, content: 'done' }] },
  }) as SDKMessage

const piece = (type: 'message_start' | 'message_stop'): SDKMessage =>
  ({
    type: 'stream_event',
    parent_tool_use_id: null,
    event: { type, message: { id: 'msg_1', model: 'claude-fake', usage: {} } },
  }) as never

/** A store whose writes of events can be held up. */
class SlowStore extends MemoryStore {
  gate: Promise<void> | undefined
  override async appendEvents(...args: Parameters<MemoryStore['appendEvents']>): Promise<void> {
    await this.gate
    await super.appendEvents(...args)
  }
}

/** The phase of the only turn of this session, which `pool.turns()`, `session.info()` and the list of sessions agree on. */
async function phaseOf({ pool }: Fakes, key = 'one'): Promise<Omit<TurnPhase, 'since'>> {
  const [turn] = pool.turns().filter(({ session }) => session === key)
  const session = await pool.session(key)
  const { phase } = await session.info()
  expect(turn?.phase).toEqual(phase)
  expect((await pool.sessions()).find((info) => info.key === key)?.phase).toEqual(phase)
  const { since: _, ...told } = phase as TurnPhase
  return told
}

/** A turn that its process has and has not answered. */
async function begun(options: Parameters<typeof fakes>[0] = {}) {
  const all = await fakes(options)
  all.driver.onStart = (process) => (process.answersAtOnce = false)
  const turn = (await all.session('one')).send('go')
  const process = await all.driver.process(0)
  await all.driver.until(() => process.unanswered === 1)
  return { ...all, turn, process }
}

test('Eight delays of known length are each in the phase in which they were, to the millisecond, and add up to the turn', async () => {
  const store = new SlowStore()
  const answer = Promise.withResolvers<void>()
  const canUseTool = async (): ReturnType<CanUseTool> => {
    await answer.promise
    return { behavior: 'allow', updatedInput: {} }
  }
  const all = await fakes({
    store,
    agents: { assistant: { ...NO_SPARES, canUseTool } },
    limits: { turns: 1 },
    admission: { mode: 'wait', timeout: '1h' },
  })
  const { clock, driver, pool } = all
  driver.onStart = (process) => (process.answersAtOnce = false)
  const first = (await all.session('first')).send('go')
  const firstProcess = await driver.process(0)
  await driver.until(() => firstProcess.unanswered === 1)

  driver.onStart = (process) => Object.assign(process, { answersAtOnce: false, readyAtOnce: false })
  const turn = (await all.session('one')).send('go')
  await clock.advance(1_000)
  expect(await phaseOf(all)).toEqual({ name: 'queued', detail: 'turns' })
  expect(pool.stats().waits).toEqual({
    byReason: { turns: 1 },
    oldest: { tenant: 'default', agent: 'assistant', reason: 'turns', waitMs: 1_000 },
  })
  firstProcess.finish()
  await first.result

  const process = await driver.process(1)
  await clock.advance(2_000)
  expect(await phaseOf(all)).toEqual({ name: 'starting' })
  expect(pool.stats().waits).toEqual({ byReason: {}, oldest: undefined })
  process.becomeReady()
  await driver.until(() => process.unanswered === 1)

  await clock.advance(3_000)
  expect(await phaseOf(all)).toEqual({ name: 'prompt' })
  process.say(INIT)
  await clock.advance(4_000)
  expect(await phaseOf(all)).toEqual({ name: 'model' })

  process.say(called('toolu_1', 'Bash'))
  await clock.settle()
  const ask = process.spec.options.canUseTool as CanUseTool
  const { signal } = new AbortController()
  const asking = ask('Bash', {}, { toolUseID: 'toolu_1', signal, requestId: 'r' } as Parameters<CanUseTool>[2])
  await clock.advance(5_000)
  expect(await phaseOf(all)).toEqual({ name: 'permission', detail: 'Bash' })
  answer.resolve()
  await asking
  await clock.advance(6_000)
  expect(await phaseOf(all)).toEqual({ name: 'tool', detail: 'Bash' })
  process.say(returned('toolu_1'))
  await clock.settle()

  process.heldBack = true
  await clock.advance(7_000)
  expect(await phaseOf(all)).toEqual({ name: 'reader' })
  process.heldBack = false

  const written = Promise.withResolvers<void>()
  store.gate = written.promise
  process.finish()
  await clock.advance(8_000)
  expect(await phaseOf(all)).toEqual({ name: 'saving' })
  written.resolve()
  await turn.result

  await clock.settle()
  expect(all.told('turn.ended').at(-1)).toMatchObject({
    durationMs: 36_000,
    phases: {
      queued: 1_000,
      starting: 2_000,
      prompt: 3_000,
      model: 4_000,
      permission: 5_000,
      tool: 6_000,
      reader: 7_000,
      saving: 8_000,
    },
    tools: { Bash: 6_000 },
  })
  expect(pool.turns()).toEqual([])
  expect((await (await pool.session('one')).info()).phase).toBeUndefined()
})

test('A turn that waits for the one before it in its session says so, and waits for no place', async () => {
  const { session, turn, process, clock, pool } = await begun()
  const second = (await session('one')).send('and then', { onBusy: 'queue' })
  await clock.advance(1_000)
  expect(pool.turns().map(({ phase: { name, detail } }) => [name, detail])).toEqual([
    ['prompt', undefined],
    ['queued', 'session'],
  ])
  expect(pool.stats().waits).toEqual({ byReason: { session: 1 }, oldest: undefined })
  process.finish()
  await turn.result
  await second.interrupt()
  expect(await outcome(second)).toBe('turn_interrupted')
})

test('What a waiting turn waits for is told as it is now', async () => {
  const all = await begun({ limits: { turns: 1 }, admission: { mode: 'wait', timeout: '1h' } })
  const waiting = (await all.session('two')).send('go')
  await all.clock.settle()
  expect(await phaseOf(all, 'two')).toEqual({ name: 'queued', detail: 'turns' })
  all.pool.suspend()
  expect(await phaseOf(all, 'two')).toEqual({ name: 'queued', detail: 'suspended' })
  all.pool.resume()
  expect(await phaseOf(all, 'two')).toEqual({ name: 'queued', detail: 'turns' })
  await waiting.interrupt()
})

test('A start that waits for other starts says so', async () => {
  const all = await fakes({ starts: { concurrent: 1 } })
  all.driver.onStart = (process) => (process.readyAtOnce = false)
  const first = (await all.session('first')).send('go')
  const process = await all.driver.process(0)
  const second = (await all.session('one')).send('go')
  await all.clock.settle()
  expect(await phaseOf(all, 'first')).toEqual({ name: 'starting' })
  expect(await phaseOf(all)).toEqual({ name: 'starting', detail: 'other starts' })
  all.driver.onStart = undefined
  process.becomeReady()
  await Promise.all([first.result, second.result])
})

test('While the answer of the model comes in, the turn waits for the model and not for the calls in it', async () => {
  const all = await begun()
  all.process.say(INIT)
  all.process.say(piece('message_start'))
  all.process.say(called('toolu_1', 'Read'))
  await all.clock.settle()
  expect(await phaseOf(all)).toEqual({ name: 'model' })
  all.process.say(piece('message_stop'))
  await all.clock.settle()
  expect(await phaseOf(all)).toEqual({ name: 'tool', detail: 'Read' })
})

test('The model that has to be asked again, and a compaction, are told in the detail of the phase', async () => {
  const all = await begun()
  const { process, clock } = all
  process.say(INIT)
  process.say({ type: 'system', subtype: 'api_retry', error: 'overloaded', attempt: 1, max_retries: 10 } as never)
  await clock.settle()
  expect(await phaseOf(all)).toEqual({ name: 'model', detail: 'retry: overloaded' })
  process.say({ type: 'system', subtype: 'status', status: 'compacting' } as never)
  await clock.settle()
  expect(await phaseOf(all)).toEqual({ name: 'model', detail: 'compaction' })
  process.sayText('at last')
  await clock.settle()
  expect(await phaseOf(all)).toEqual({ name: 'model' })
})

test('What a subagent says in the background changes nothing about the turn', async () => {
  const all = await begun()
  all.process.say(called('toolu_9', 'Bash', 'toolu_of_an_earlier_turn'))
  await all.clock.settle()
  expect(await phaseOf(all)).toEqual({ name: 'prompt' })
  all.process.say(INIT)
  all.process.say(called('toolu_9', 'Bash', 'toolu_of_an_earlier_turn'))
  await all.clock.settle()
  expect(await phaseOf(all)).toEqual({ name: 'model' })
})

test('A turn that ends without a result leaves its times, too', async () => {
  const { turn, process, clock, told } = await begun()
  process.say(INIT)
  await clock.advance(1_000)
  process.exit({ exitCode: 1 })
  expect(await outcome(turn)).toBe('worker_exited')
  await clock.settle()
  expect(told('turn.ended')[0]).toMatchObject({ durationMs: 1_000, phases: { model: 1_000, saving: 0 } })
})
