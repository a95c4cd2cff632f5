import type { Message } from '@ag-ui/core'
import { describe, expect, test } from 'vitest'
import type { FrontEnd } from '../../../fixtures/ag-ui.ts'
import type { Run } from '../../../fixtures/ag-ui.ts'
import {
  BASH,
  begin,
  frontEnd,
  manual,
  messageStart,
  piece,
  prompted,
  runOf,
  toolResult,
  whole,
} from '../../../fixtures/ag-ui-fakes.ts'
import { served } from '../../../fixtures/server.ts'
import type { ServedFakes } from '../../../fixtures/server.ts'
import { MemoryStore } from '../../../../src/store/memory.ts'
import { textOf } from '../../../../src/testing/messages.ts'
import type { FakeProcess } from '../../../../src/testing/index.ts'

const GRACE_MS = 5_000

const user = (id: string, content: string): Message => ({ id, role: 'user', content })

/** Sends a run as a client does that holds these messages. */
const run = (all: ServedFakes, messages: readonly Message[], signal?: AbortSignal): Promise<Response> =>
  all.ask('POST', '/ag-ui/assistant', { body: runOf({ messages }), ...(signal === undefined ? {} : { signal }) })

interface Seen {
  type: string
  code?: string
  delta?: string
  messages?: Message[]
  outcome?: { type: string }
}

async function eventsOf(response: Response | Promise<Response>): Promise<Seen[]> {
  const text = await (await response).text()
  return text
    .split('\n\n')
    .filter((frame) => frame.startsWith('data: '))
    .map((frame) => JSON.parse(frame.slice('data: '.length)) as Seen)
}

/** How a run ended: its outcome, or the code of its error. */
const endOf = (events: readonly Seen[]): string | undefined => events.at(-1)?.outcome?.type ?? events.at(-1)?.code

const textOfRun = (events: readonly Seen[]): string => events.map(({ delta = '' }) => delta).join('')

/** The prompts that the processes were handed, in order. */
const promptsOf = ({ driver }: ServedFakes): string[] => driver.processes.flatMap(({ prompts }) => prompts.map(textOf))

/** Role and text of the last snapshot of a run. */
const snapshotOf = (events: readonly Seen[]): string[] =>
  (events.findLast(({ type }) => type === 'MESSAGES_SNAPSHOT')?.messages ?? []).map(
    ({ role, content }) => `${role} ${typeof content === 'string' ? content : JSON.stringify(content)}`,
  )

/** A run that was aborted once its turn had begun to answer. */
async function aborted(all: ServedFakes, words = 'go'): Promise<{ front: FrontEnd; running: Promise<Run> }> {
  const front = frontEnd(all).say(words)
  const seen = Promise.withResolvers<void>()
  const running = front.run({}, ({ type }) => type === 'TEXT_MESSAGE_CONTENT' && seen.resolve())
  const process = await prompted(all)
  process.say(messageStart('m1'))
  process.say(piece({ type: 'content_block_start', index: 0, content_block: { type: 'text' } }))
  process.say(piece({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'Once ' } }))
  await seen.promise
  front.agent.abortRun()
  await running
  await all.clock.settle()
  return { front, running }
}

describe('a run that is aborted', () => {
  test('interrupts its turn after five seconds', async () => {
    const all = await manual()
    const { front } = await aborted(all)
    const [process] = all.driver.processes
    await all.clock.advance(GRACE_MS - 1)
    expect(process?.interrupts).toBe(0)
    await all.clock.advance(1)
    expect(process?.interrupts).toBe(1)
    // It counts as run.
    const again = await front.run()
    expect(again.events.at(-1)).toMatchObject({ outcome: { type: 'cancelled' } })
    expect(promptsOf(all)).toEqual(['go'])
  })

  test('finds its turn again when it comes back in time, and all of it', async () => {
    const all = await manual()
    const { front } = await aborted(all)
    await all.clock.advance(GRACE_MS - 1)
    const back = front.run()
    await all.clock.settle()
    await all.clock.advance(GRACE_MS)
    const [process] = all.driver.processes
    expect(process?.interrupts).toBe(0)
    process?.say(piece({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'upon' } }))
    process?.say(whole('m1', { type: 'text', text: 'Once upon' }))
    process?.say(piece({ type: 'content_block_stop', index: 0 }))
    process?.finish()
    expect((await back).events.at(-1)).toMatchObject({ outcome: { type: 'success' } })
    expect(front.conversation).toEqual(['user go', 'assistant Once upon'])
  })

  test('gives way to the next message at once, which alone goes to the agent', async () => {
    const all = await manual()
    const { front } = await aborted(all)
    const next = front.say('stop that').run()
    const process = await prompted(all, 2)
    expect(process.interrupts).toBe(1)
    process.sayText('Stopped.')
    process.finish()
    expect((await next).events.at(-1)).toMatchObject({ outcome: { type: 'success' } })
    expect(promptsOf(all)).toEqual(['go', 'stop that'])
  })

  test.each([
    ['agUi.disconnectGrace says so', { agUi: { disconnectGrace: '20s' } }, 20_000],
    ['a process is slow to be told of', {}, GRACE_MS],
  ])('waits as long as %s', async (_what, options, graceMs) => {
    const all = await manual(options)
    await aborted(all)
    await all.clock.advance(graceMs - 1)
    expect(all.driver.processes[0]?.interrupts).toBe(0)
    await all.clock.advance(1)
    expect(all.driver.processes[0]?.interrupts).toBe(1)
  })

  test('runs on to its end where agUi.disconnectGrace is "none"', async () => {
    const all = await manual({ agUi: { disconnectGrace: 'none' } })
    const { front } = await aborted(all)
    await all.clock.advance(60_000)
    const [process] = all.driver.processes
    expect(process?.interrupts).toBe(0)
    process?.say(whole('m1', { type: 'text', text: 'Once upon' }))
    process?.finish()
    await front.run()
    expect(front.conversation).toEqual(['user go', 'assistant Once upon'])
  })

  test('goes on with the next message where agUi.onBusy is "steer"', async () => {
    const all = await manual({ agUi: { onBusy: 'steer' } })
    const { front } = await aborted(all)
    const next = front.say('shorter').run()
    const [process] = all.driver.processes
    await all.driver.until(() => process?.prompts.length === 2)
    await all.clock.advance(GRACE_MS)
    expect(process?.interrupts).toBe(0)
    process?.say(whole('m2', { type: 'text', text: 'Once.' }))
    process?.finish()
    expect((await next).events.at(-1)).toMatchObject({ outcome: { type: 'success' } })
  })

  test('has its grace to the end where agUi.onBusy is "queue", and the next message is the next turn', async () => {
    const all = await manual({ agUi: { onBusy: 'queue' } })
    const { front } = await aborted(all)
    const next = front.say('shorter').run()
    await all.clock.settle()
    await all.clock.advance(GRACE_MS - 1)
    expect(promptsOf(all)).toEqual(['go'])
    await all.clock.advance(1)
    const process = await prompted(all, 2)
    process.sayText('Once.')
    process.finish()
    expect((await next).events.at(-1)).toMatchObject({ outcome: { type: 'success' } })
    expect(process.interrupts).toBe(1)
  })

  test('before its turn has a process is not run at all, and counts as run', async () => {
    const all = await served()
    all.driver.onStart = (process) => (process.readyAtOnce = false)
    const leaving = new AbortController()
    const first = run(all, [user('1', 'go')], leaving.signal)
    const process = await all.driver.process(0)
    await all.clock.advance(10_000)
    await (await first).body?.cancel()
    await all.clock.advance(GRACE_MS)
    process.becomeReady()
    const events = await eventsOf(run(all, [user('1', 'go'), user('2', 'and now?')]))
    expect(endOf(events)).toBe('success')
    expect(promptsOf(all)).toEqual(['and now?'])
  })
})

describe('a message that comes while a turn runs', () => {
  test('interrupts it, also while another page reads it', async () => {
    const all = await manual()
    const { running, process } = await begin(all, 'first')
    process.say(messageStart('m1'))
    const second = run(all, [user('2', 'second')])
    expect((await running).events.at(-1)).toMatchObject({ outcome: { type: 'cancelled' } })
    await prompted(all, 2)
    process.sayText('Second.')
    process.finish()
    expect(textOfRun(await eventsOf(second))).toBe('Second.')
  })

  test('steers it where agUi.onBusy says so', async () => {
    const all = await manual({ agUi: { onBusy: 'steer' } })
    const { running, process } = await begin(all, 'first')
    const second = run(all, [user('2', 'second')])
    await all.driver.until(() => process.prompts.length === 2)
    expect(process.interrupts).toBe(0)
    process.sayText('Both.')
    process.finish()
    expect((await running).events.at(-1)).toMatchObject({ outcome: { type: 'success' } })
    const events = await eventsOf(second)
    expect(endOf(events)).toBe('success')
    expect(snapshotOf(events)).toEqual(['user first', 'user second', 'assistant Both.'])
  })

  test('steers nothing that is over: it is a turn of its own then', async () => {
    const all = await manual({ agUi: { onBusy: 'steer' } })
    const { running, process } = await begin(all, 'first')
    process.finish()
    const second = run(all, [user('2', 'second')])
    await running
    await prompted(all, 2)
    process.sayText('Second.')
    process.finish()
    expect(textOfRun(await eventsOf(second))).toBe('Second.')
  })

  test('waits for its end where agUi.onBusy is "queue"', async () => {
    const all = await manual({ agUi: { onBusy: 'queue' } })
    const { running, process } = await begin(all, 'first')
    const second = run(all, [user('2', 'second')])
    const third = run(all, [user('2', 'second'), user('3', 'third')])
    await all.clock.settle()
    expect(promptsOf(all)).toEqual(['first'])
    process.sayText('First.')
    process.finish()
    expect((await running).events.at(-1)).toMatchObject({ outcome: { type: 'success' } })
    for (const [index, text] of ['Second.', 'Third.'].entries()) {
      await prompted(all, index + 2)
      process.sayText(text)
      process.finish()
    }
    expect(textOfRun(await eventsOf(second))).toBe('Second.')
    expect(textOfRun(await eventsOf(third))).toBe('Third.')
    expect(promptsOf(all)).toEqual(['first', 'second', 'third'])
  })

  test('takes those along that wait for their turn, so that none vanishes', async () => {
    const all = await manual()
    const { running, process } = await begin(all, 'first')
    process.heedsInterrupts = false
    const second = run(all, [user('2', 'second')])
    await all.clock.settle()
    const third = run(all, [user('3', 'third')])
    await all.clock.settle()
    process.finish({ subtype: 'error_during_execution' })
    await running
    await prompted(all, 2)
    expect(promptsOf(all)).toEqual(['first', 'second third'])
    process.sayText('Both.')
    process.finish()
    expect(endOf(await eventsOf(second))).toBe('cancelled')
    const events = await eventsOf(third)
    expect(textOfRun(events)).toBe('Both.')
    expect(snapshotOf(events)).toEqual(['user first', 'user second', 'user third', 'assistant Both.'])
  })
})

describe('a message of the same id', () => {
  test('runs once, also when it comes twice at the same time', async () => {
    const all = await manual()
    const [first, second] = [run(all, [user('1', 'go')]), run(all, [user('1', 'go')])]
    const process = await prompted(all)
    process.sayText('Gone.')
    process.finish()
    for (const events of [await eventsOf(first), await eventsOf(second)]) {
      expect(textOfRun(events)).toBe('Gone.')
      expect(endOf(events)).toBe('success')
    }
    expect(promptsOf(all)).toEqual(['go'])
  })

  test('runs once, also after its stream was lost in the first moment', async () => {
    const all = await manual()
    const lost = await run(all, [user('1', 'go')])
    await lost.body?.cancel()
    const second = run(all, [user('1', 'go')])
    const process = await prompted(all)
    process.sayText('Gone.')
    process.finish()
    expect(textOfRun(await eventsOf(second))).toBe('Gone.')
    expect(promptsOf(all)).toEqual(['go'])
  })

  test.each([
    ['within a minute', 0],
    ['after a minute', 61_000],
  ])('gets the answer that it got %s', async (_when, ms) => {
    const all = await served()
    const first = await eventsOf(run(all, [user('1', 'go')]))
    await all.clock.advance(ms)
    const again = await eventsOf(run(all, [user('1', 'go')]))
    expect(textOfRun(again)).toBe(textOfRun(first))
    expect(textOfRun(again)).toContain('You said: go')
    expect(endOf(again)).toBe('success')
    expect(snapshotOf(again)).toEqual(snapshotOf(first))
    expect(promptsOf(all)).toEqual(['go'])
  })

  test.each([
    ['done', undefined, 'success', ['go']],
    ['failed', 'error_max_turns', 'success', ['go', 'go']],
  ] as const)('is known after a restart of the server as %s', async (_what, subtype, end, prompts) => {
    const store = new MemoryStore()
    const all = await manual({}, { store })
    const first = run(all, [user('1', 'go')])
    const process = await prompted(all)
    process.sayText('Gone.')
    process.finish(subtype === undefined ? {} : { subtype })
    await eventsOf(first)
    await all.pool.close()
    const next = await served({}, { store, driver: all.driver, clock: all.clock })
    next.driver.onStart = undefined
    const again = await eventsOf(run(next, [user('1', 'go')]))
    expect(endOf(again)).toBe(end)
    expect(snapshotOf(again)).toContain('user go')
    expect(promptsOf(next)).toEqual(prompts)
  })

  test('that was cut short by the end of the server may be tried again', async () => {
    const store = new MemoryStore()
    const all = await manual({}, { store })
    const first = run(all, [user('1', 'go')])
    await prompted(all)
    await all.pool.close()
    expect(endOf(await eventsOf(first))).toBe('pool_closed')
    const next = await served({}, { store, driver: all.driver, clock: all.clock })
    next.driver.onStart = undefined
    const again = await eventsOf(run(next, [user('1', 'go')]))
    expect(endOf(again)).toBe('success')
    expect(textOfRun(again)).toContain('You said: go')
  })

  test.each([
    ['within a minute', 0],
    ['after a minute', 61_000],
  ])('that has failed is tried again %s, and never a success without an answer', async (_when, ms) => {
    const all = await manual()
    const first = run(all, [user('1', 'go')])
    ;(await prompted(all)).exit({ signal: 'SIGKILL' })
    expect(endOf(await eventsOf(first))).toBe('worker_exited')
    await all.clock.advance(ms)
    const again = run(all, [user('1', 'go')])
    // The first one has left nothing to resume.
    const next = (): FakeProcess | undefined => all.driver.processes.slice(1).find(({ unanswered }) => unanswered === 1)
    await all.driver.until(() => next() !== undefined)
    const second = next()
    second?.sayText('Gone.')
    second?.finish()
    const events = await eventsOf(again)
    expect(textOfRun(events)).toBe('Gone.')
    expect(endOf(events)).toBe('success')
  })

  test.each([
    ['at once', false],
    ['after a restart of the server', true],
  ])('that got no answer has failed, and is tried again %s', async (_when, restarted) => {
    const store = new MemoryStore()
    const all = await manual({}, { store })
    const first = run(all, [user('1', 'go')])
    ;(await prompted(all)).finish()
    expect(endOf(await eventsOf(first))).toBe('no_answer')
    if (restarted) await all.pool.close()
    const next = restarted ? await served({}, { store, driver: all.driver, clock: all.clock }) : all
    next.driver.onStart = undefined
    for (const process of next.driver.processes) process.answersAtOnce = true
    const again = await eventsOf(run(next, [user('1', 'go')]))
    expect(endOf(again)).toBe('success')
    expect(promptsOf(next)).toEqual(['go', 'go'])
  })

  test('whose agent has worked without a word runs once, also after a restart of the server', async () => {
    const store = new MemoryStore()
    const all = await manual({}, { store })
    const first = run(all, [user('1', 'go')])
    const process = await prompted(all)
    process.say(whole('m1', BASH))
    process.say(toolResult('call1', 'a.txt'))
    process.finish()
    expect(endOf(await eventsOf(first))).toBe('success')
    await all.pool.close()
    const next = await served({}, { store, driver: all.driver, clock: all.clock })
    const again = await eventsOf(run(next, [user('1', 'go')]))
    expect(endOf(again)).toBe('success')
    expect(again.map(({ type }) => type)).toContain('TOOL_CALL_RESULT')
    expect(promptsOf(next)).toEqual(['go'])
  })

  test('that was refused goes with the next one', async () => {
    const all = await served({}, { limits: { turns: 1 } })
    all.driver.onStart = (process) => (process.answersAtOnce = false)
    const other = await all.session('other')
    const blocking = other.send('wait')
    await all.driver.until(() => all.driver.processes[0]?.unanswered === 1)
    expect((await run(all, [user('1', 'go')])).status).toBe(429)
    all.driver.processes[0]?.finish()
    await blocking.result
    all.driver.onStart = undefined
    const bubble: Message = { id: 'b', role: 'assistant', content: 'Too busy.' }
    await eventsOf(run(all, [user('1', 'go'), bubble, user('2', 'now')]))
    expect(promptsOf(all).slice(1)).toEqual(['go now'])
  })

  test('with other words is another message', async () => {
    const all = await served()
    await eventsOf(run(all, [user('1', 'go left')]))
    const edited = await eventsOf(run(all, [user('1', 'go right')]))
    expect(textOfRun(edited)).toContain('You said: go right')
    expect(promptsOf(all)).toEqual(['go left', 'go right'])
    const history = await eventsOf(run(all, []))
    expect(snapshotOf(history)).toEqual([
      'user go left',
      'assistant [turn 1] You said: go left',
      'user go right',
      'assistant [turn 2] You said: go right',
    ])
    const ids = history.find(({ type }) => type === 'MESSAGES_SNAPSHOT')?.messages?.map(({ id }) => id) ?? []
    expect(ids[2]).toBe('1')
    expect(new Set(ids).size).toBe(4)
  })

  test('with other words interrupts the turn of the old ones', async () => {
    const all = await manual()
    const first = run(all, [user('1', 'go left')])
    const process = await prompted(all)
    process.say(messageStart('m1'))
    const edited = run(all, [user('1', 'go right')])
    expect(endOf(await eventsOf(first))).toBe('cancelled')
    await prompted(all, 2)
    process.sayText('Right.')
    process.finish()
    expect(textOfRun(await eventsOf(edited))).toBe('Right.')
  })

  test('is another message in a session that was deleted and begun again', async () => {
    const all = await served()
    await eventsOf(run(all, [user('1', 'go')]))
    await (await all.pool.session('thread')).delete()
    await eventsOf(run(all, [user('1', 'go')]))
    expect(promptsOf(all)).toEqual(['go', 'go'])
  })
})

describe('the conversation', () => {
  test.each([
    ['at once', 0],
    ['after a minute', 61_000],
  ])('is shown %s to a page that knows nothing of it, with what the user said', async (_when, ms) => {
    const all = await served()
    const front = frontEnd(all)
    await front.say('one').run()
    await front.say('two').run()
    await all.clock.advance(ms)
    const fresh = frontEnd(all)
    await fresh.run()
    expect(fresh.conversation).toEqual(front.conversation)
    expect(fresh.agent.messages.map(({ id }) => id)).toEqual(front.agent.messages.map(({ id }) => id))
  })

  test('is shown in its order to a page that begins with a new message', async () => {
    const all = await served()
    await frontEnd(all).say('one').run()
    const fresh = frontEnd(all).say('two')
    await fresh.run()
    expect(fresh.conversation).toEqual([
      'user one',
      'assistant [turn 1] You said: one',
      'user two',
      'assistant [turn 2] You said: two',
    ])
  })

  test('has what was said by other ways, too, which is not said again', async () => {
    const all = await served()
    await (await all.session('thread')).send('by the library').result
    const front = frontEnd(all)
    await front.run()
    expect(front.conversation).toEqual(['user by the library', 'assistant [turn 1] You said: by the library'])
    await front.say('by AG-UI').run()
    expect(promptsOf(all)).toEqual(['by the library', 'by AG-UI'])
    expect(front.conversation).toHaveLength(4)
  })

  test('keeps what the front end says by itself', async () => {
    const all = await served()
    const front = frontEnd(all)
    front.agent.messages = [{ id: 'hi', role: 'assistant', content: 'How can I help?' }]
    await front.say('one').run()
    expect(front.conversation).toEqual(['assistant How can I help?', 'user one', 'assistant [turn 1] You said: one'])
  })

  test('is followed by a page that comes while a turn runs', async () => {
    const all = await manual()
    const { running, process } = await begin(all, 'go')
    process.say(whole('m1', { type: 'text', text: 'One.' }))
    await all.clock.settle()
    const fresh = frontEnd(all)
    const seen = Promise.withResolvers<void>()
    const following = fresh.run({}, ({ type }) => type === 'TEXT_MESSAGE_END' && seen.resolve())
    await seen.promise
    process.say(whole('m2', { type: 'text', text: 'Two.' }))
    process.finish()
    await Promise.all([running, following])
    expect(fresh.conversation).toEqual(['user go', 'assistant One.', 'assistant Two.'])
  })

  test('has no events where the pool keeps none, and runs are as ever', async () => {
    const all = await served({}, { events: false })
    const front = frontEnd(all)
    await front.say('one').run()
    await front.say('two').run()
    expect(front.conversation.at(-1)).toBe('assistant [turn 2] You said: two')
    expect(promptsOf(all)).toEqual(['one', 'two'])
  })
})
