import { decode } from '@ag-ui/proto'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { hashKey } from '../../../../src/server/auth/authenticator.ts'
import { Questions } from '../../../../src/server/questions.ts'
import type { SDKMessage } from '../../../../src/driver/driver.ts'
import { FakeClock, resultMessage } from '../../../../src/testing/index.ts'
import type { FakeProcess } from '../../../../src/testing/index.ts'
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
  writeText,
} from '../../../fixtures/ag-ui-fakes.ts'
import { NO_SPARES } from '../../../fixtures/fakes.ts'
import { served } from '../../../fixtures/server.ts'
import type { ServedFakes } from '../../../fixtures/server.ts'

/** The events of an answer, by its type. */
const parsers: Record<string, (response: Response) => Promise<object[]>> = {
  'text/event-stream': async (response) =>
    (await response.text())
      .split('\n\n')
      .filter((frame) => frame !== '')
      .map((frame) => JSON.parse(frame.slice('data: '.length)) as object),
  async 'application/vnd.ag-ui.event+proto'(response) {
    const bytes = Buffer.from(await response.arrayBuffer())
    const events: object[] = []
    for (let at = 0; at < bytes.length; at += 4 + bytes.readUInt32BE(at))
      events.push(decode(bytes.subarray(at + 4, at + 4 + bytes.readUInt32BE(at))))
    return events
  },
}

test('a message that comes whole is a run with one text', async () => {
  const front = frontEnd(await served()).say('hello')
  const { types } = await front.run()
  expect(types).toEqual([
    'RUN_STARTED',
    'STATE_SNAPSHOT',
    'TEXT_MESSAGE_START',
    'TEXT_MESSAGE_CONTENT',
    'TEXT_MESSAGE_END',
    'MESSAGES_SNAPSHOT',
    'RUN_FINISHED',
  ])
  expect(front.conversation).toEqual(['user hello', 'assistant [turn 1] You said: hello'])
})

test.each([
  ['anything', '*/*', 'text/event-stream'],
  ['the binary format', 'application/vnd.ag-ui.event+proto', 'application/vnd.ag-ui.event+proto'],
])('a client that accepts %s gets it', async (_what, accept, type) => {
  const { ask } = await served()
  const body = runOf({ messages: [{ id: '1', role: 'user', content: 'hello' }] })
  const response = await ask('POST', '/ag-ui/assistant', { body, headers: { accept } })
  expect(response.headers.get('content-type')).toBe(type)
  const events = parsers[type]?.(new Response(response.body)) ?? []
  expect((await events).at(-1)).toMatchObject({ type: 'RUN_FINISHED', outcome: { type: 'success' } })
})

test('only what is new goes to the agent', async () => {
  const all = await served()
  const front = frontEnd(all)
  await front.say('one').run()
  await front.say('two').run()
  expect(all.driver.processes[0]?.prompts.map(({ message }) => message.content)).toEqual([
    [{ type: 'text', text: 'one' }],
    [{ type: 'text', text: 'two' }],
  ])
  expect(front.conversation).toHaveLength(4)
})

test('thoughts, texts in pieces, tool calls and their results come once each', async () => {
  const all = await manual()
  const { front, running, process } = await begin(all, 'look')
  process.say(messageStart('m1'))
  process.say(piece({ type: 'content_block_start', index: 0, content_block: { type: 'thinking' } }))
  process.say(piece({ type: 'content_block_delta', index: 0, delta: { type: 'thinking_delta', thinking: 'Hm.' } }))
  process.say(whole('m1', { type: 'thinking', thinking: 'Hm.' }))
  process.say(piece({ type: 'content_block_stop', index: 0 }))
  process.say(piece({ type: 'content_block_start', index: 1, content_block: BASH }))
  for (const part of ['{"comm', 'and":"ls"}'])
    process.say(
      piece({ type: 'content_block_delta', index: 1, delta: { type: 'input_json_delta', partial_json: part } }),
    )
  process.say(whole('m1', BASH))
  process.say(piece({ type: 'content_block_stop', index: 1 }))
  process.say(toolResult('call1', 'a.txt'))
  writeText(process, 'm2', 'There is ', 'a.txt.')
  process.finish()
  const { types } = await running
  expect(types).toEqual([
    'RUN_STARTED',
    'STATE_SNAPSHOT',
    'REASONING_START',
    'REASONING_MESSAGE_START',
    'REASONING_MESSAGE_CONTENT',
    'REASONING_MESSAGE_END',
    'REASONING_END',
    'TOOL_CALL_START',
    'TOOL_CALL_ARGS',
    'TOOL_CALL_ARGS',
    'TOOL_CALL_END',
    'TOOL_CALL_RESULT',
    'TEXT_MESSAGE_START',
    'TEXT_MESSAGE_CONTENT',
    'TEXT_MESSAGE_CONTENT',
    'TEXT_MESSAGE_END',
    'MESSAGES_SNAPSHOT',
    'RUN_FINISHED',
  ])
  expect(front.conversation).toEqual([
    'user look',
    'reasoning Hm.',
    'assistant Bash({"command":"ls"})',
    'tool a.txt',
    'assistant There is a.txt.',
  ])
})

test('what a subagent does is not told as if the agent did it', async () => {
  const all = await manual()
  const { running, process } = await begin(all, 'go')
  process.say({ ...whole('m1', { type: 'text', text: 'inner' }), parent_tool_use_id: 'call0' } as SDKMessage)
  process.finish()
  expect((await running).types).not.toContain('TEXT_MESSAGE_START')
})

describe('a run that goes wrong', () => {
  test('in the middle of a text closes it and ends with the error', async () => {
    const all = await manual()
    const { running, process } = await begin(all, 'go')
    process.say(messageStart('m1'))
    process.say(piece({ type: 'content_block_start', index: 0, content_block: { type: 'text' } }))
    process.exit({ signal: 'SIGKILL', stderr: 'hunter2' })
    const { types, error } = await running
    expect(types.slice(-2)).toEqual(['TEXT_MESSAGE_END', 'RUN_ERROR'])
    expect(error).toMatchObject({ code: 'worker_exited' })
    expect(error?.message).not.toContain('hunter2')
  })

  test('by the result of its turn says which', async () => {
    const all = await manual()
    const running = frontEnd(all).say('go').run()
    ;(await prompted(all)).finish({ subtype: 'error_max_turns' })
    expect((await running).error).toMatchObject({ code: 'error_max_turns' })
  })

  test('because somebody interrupted it is cancelled', async () => {
    const all = await manual()
    const { running, process } = await begin(all, 'go')
    const answers = process.prompts.map(({ uuid }) => uuid ?? '')
    const result = resultMessage('s', { subtype: 'error_during_execution' }, answers)
    process.say({ ...result, terminal_reason: 'aborted_streaming' } as SDKMessage)
    expect((await running).events.at(-1)).toMatchObject({ type: 'RUN_FINISHED', outcome: { type: 'cancelled' } })
  })

  test('because the pool was closed says so', async () => {
    const all = await manual()
    const running = frontEnd(all).say('go').run()
    await prompted(all)
    await all.server.pool.close()
    expect((await running).error).toMatchObject({ code: 'pool_closed' })
  })

  test.each([
    ['an unknown agent', '/ag-ui/nobody', runOf({}), 404],
    ['no input', '/ag-ui/assistant', { threadId: 't' }, 400],
    ['no JSON', '/ag-ui/assistant', 'x', 400],
    ['a thread id of no characters', '/ag-ui/assistant', runOf({ threadId: '' }), 400],
  ])('before it began, for %s, has a status', async (_what, path, body, status) => {
    const { ask } = await served()
    expect((await ask('POST', path, { body })).status).toBe(status)
  })
})

describe('the front end gives', () => {
  test('context, which goes with the prompt', async () => {
    const all = await served()
    await frontEnd(all)
      .say('go')
      .run({ context: [{ description: 'page', value: 'cart' }] })
    expect(all.driver.processes[0]?.prompts[0]?.message.content).toEqual([
      { type: 'text', text: '<system-reminder>\n<context>\npage: cart\n</context>\n</system-reminder>' },
      { type: 'text', text: 'go' },
    ])
  })

  test('properties, which change nothing about the agent', async () => {
    const all = await served()
    const forwardedProps = { permissionMode: 'bypassPermissions', systemPrompt: 'evil', env: { A: 'b' }, resume: 'x' }
    await frontEnd(all).say('go').run({ forwardedProps })
    const options = JSON.stringify(all.driver.processes[0]?.spec)
    expect(options).not.toContain('evil')
    expect(options).not.toContain('bypassPermissions')
  })

  test('a thread of its own tenant: another tenant begins another with the same id', async () => {
    const keys = ['a', 'b'].map((tenant) => ({ tenant, sha256: hashKey(tenant.repeat(24)) }))
    const all = await served({ keys })
    for (const tenant of ['a', 'b'])
      await frontEnd(all, 'same', { 'x-api-key': tenant.repeat(24) })
        .say(`I am ${tenant}`)
        .run()
    expect((await all.pool.sessions()).map(({ tenant, key, turns }) => [tenant, key, turns])).toEqual([
      ['a', 'same', 1],
      ['b', 'same', 1],
    ])
  })
})

describe('a front end that loses its connection', () => {
  test('has the whole turn when it comes back, and nothing twice', async () => {
    const all = await manual()
    const front = frontEnd(all).say('go')
    const seen = Promise.withResolvers<void>()
    const running = front.run({}, (event) => event.type === 'TEXT_MESSAGE_CONTENT' && seen.resolve())
    const process = await prompted(all)
    process.say(messageStart('m1'))
    process.say(piece({ type: 'content_block_start', index: 0, content_block: { type: 'text' } }))
    process.say(piece({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'Once ' } }))
    await seen.promise
    front.agent.abortRun()
    await running
    expect(process.interrupts).toBe(0)
    const back = front.run()
    process.say(piece({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'upon' } }))
    process.say(whole('m1', { type: 'text', text: 'Once upon' }))
    process.say(piece({ type: 'content_block_stop', index: 0 }))
    process.finish()
    expect((await back).types.at(-1)).toBe('RUN_FINISHED')
    expect(front.conversation).toEqual(['user go', 'assistant Once upon'])
    expect(process.prompts).toHaveLength(1)
  })
})

describe('permission requests', () => {
  const asking = async (): Promise<ServedFakes & { questions: Questions }> => {
    const clock = new FakeClock()
    // The client looks at the time too, for interrupts that have expired.
    vi.useFakeTimers({ toFake: ['Date'], now: clock.wall() })
    onTestFinished(() => void vi.useRealTimers())
    const log: ServedFakes['log'] = []
    const info = (message: string, facts: object): void =>
      void log.push({ level: 'info', message, facts: facts as Record<string, unknown> })
    const questions = new Questions({ clock, logger: { info, debug() {}, warn() {}, error() {} } })
    const agents = { assistant: questions.for({ ...NO_SPARES, permissionMode: 'default' }) }
    const all = await manual({ questions }, { agents, clock })
    return { ...all, questions, log }
  }

  const request = (
    { spec }: FakeProcess,
    { id = 'call1', name = 'Bash', input = {} as Record<string, unknown>, signal = new AbortController().signal } = {},
  ): Promise<unknown> =>
    spec.options.canUseTool?.(name, input, { signal, toolUseID: id, requestId: 'r' }) ??
    Promise.reject(new Error('asks nobody'))

  const resume = (
    id: string,
    payload: unknown,
  ): { resume: [{ interruptId: string; status: 'resolved'; payload: unknown }] } => ({
    resume: [{ interruptId: id, status: 'resolved', payload }],
  })

  test('end the run, wait for the answer, and the next run goes on', async () => {
    const all = await asking()
    const { front, running, process } = await begin(all, 'list')
    process.say(whole('m1', BASH))
    const decision = request(process, { input: BASH.input })
    const { events } = await running
    expect(events.at(-1)).toMatchObject({
      outcome: {
        type: 'interrupt',
        interrupts: [{ id: 'call1', reason: 'tool_call', message: 'Allow Bash?', toolCallId: 'call1' }],
      },
    })
    expect(front.agent.pendingInterrupts).toHaveLength(1)
    const second = front.run(resume('call1', { approved: true }))
    expect(await decision).toEqual({ behavior: 'allow', updatedInput: { command: 'ls' } })
    process.say(toolResult('call1', 'a.txt'))
    process.say(whole('m2', { type: 'text', text: 'done' }))
    process.finish()
    const { types: after } = await second
    expect(after).not.toContain('TOOL_CALL_START')
    expect(after).toContain('TOOL_CALL_RESULT')
    expect(front.conversation).toEqual([
      'user list',
      'assistant Bash({"command":"ls"})',
      'tool a.txt',
      'assistant done',
    ])
    expect(all.log).toMatchObject([
      { message: 'permission allowed', facts: { by: 'anybody', tool: 'Bash', session: 'thread' } },
    ])
  })

  test('that come before their tool call was told of tell of it', async () => {
    const all = await asking()
    const { front, running, process } = await begin(all, 'list')
    const decision = request(process, { input: BASH.input })
    expect((await running).types).toContain('TOOL_CALL_START')
    const second = front.run(resume('call1', { approved: false, message: 'Not now.' }))
    expect(await decision).toEqual({ behavior: 'deny', message: 'Not now.' })
    process.say(whole('m1', BASH))
    process.finish()
    expect((await second).types).not.toContain('TOOL_CALL_START')
  })

  test.each<[string, unknown]>([
    ['nothing', undefined],
    ['a word', 'yes'],
    ['a string for a boolean', { approved: 'true' }],
  ])('answered with %s are a no', async (_what, payload) => {
    const all = await asking()
    const { front, running, process } = await begin(all, 'list')
    const decision = request(process)
    await running
    const second = front.run(resume('call1', payload))
    expect(await decision).toMatchObject({ behavior: 'deny' })
    process.finish()
    await second
  })

  test('hold back other input until they are answered', async () => {
    const all = await asking()
    const { front, running, process } = await begin(all, 'list')
    const decision = request(process)
    await running
    const other = await all.ask('POST', '/ag-ui/assistant', {
      body: runOf({ messages: [{ id: 'x', role: 'user', content: 'and?' }] }),
    })
    expect(await other.text()).toMatch(/RUN_STARTED[\s\S]*RUN_ERROR[\s\S]*interrupts are open/)
    const wrong = await all.ask('POST', '/ag-ui/assistant', {
      body: runOf(resume('call9', {})),
    })
    expect(await wrong.text()).toMatch(/RUN_ERROR[\s\S]*missing: call1/)
    const second = front.run(resume('call1', { approved: true }))
    expect(await decision).toMatchObject({ behavior: 'allow' })
    process.finish()
    await second
  })

  test('are told again to a front end that comes back, and an answer that comes twice is one', async () => {
    const all = await asking()
    const { front, running, process } = await begin(all, 'list')
    process.say(whole('m1', BASH))
    const decision = request(process, { input: BASH.input })
    await running
    const body = runOf({ messages: front.agent.messages })
    const again = await (await all.ask('POST', '/ag-ui/assistant', { body })).text()
    expect(again).toContain('"type":"interrupt"')
    const answers = { ...body, ...resume('call1', { approved: true }) }
    const lost = await all.ask('POST', '/ag-ui/assistant', { body: answers })
    await lost.body?.cancel()
    expect(await decision).toMatchObject({ behavior: 'allow' })
    process.say(toolResult('call1', 'a.txt'))
    process.finish()
    const { types } = await front.run(resume('call1', { approved: true }))
    expect(types.at(-1)).toBe('RUN_FINISHED')
    expect(front.conversation).toEqual(['user list', 'assistant Bash({"command":"ls"})', 'tool a.txt'])
  })

  test('of several tool calls are all to be answered', async () => {
    const all = await asking()
    const { front, running, process } = await begin(all, 'list')
    const decisions = ['call1', 'call2'].map((id) => request(process, { id }))
    const { events } = await running
    const outcome = events.at(-1) as { outcome?: { interrupts?: { id: string }[] } }
    expect(outcome.outcome?.interrupts?.map(({ id }) => id)).toEqual(['call1', 'call2'])
    const second = front.run({
      resume: ['call1', 'call2'].map((interruptId) => ({
        interruptId,
        status: 'resolved',
        payload: { approved: interruptId === 'call1' },
      })),
    })
    expect((await Promise.all(decisions)).map((decision) => (decision as { behavior: string }).behavior)).toEqual([
      'allow',
      'deny',
    ])
    process.finish()
    await second
  })

  test('questions take their answers, and nothing else of the input changes', async () => {
    const all = await asking()
    const { front, running, process } = await begin(all, 'ask me')
    const input = { questions: [{ question: 'Which?', options: [] }] }
    const decision = request(process, { name: 'AskUserQuestion', input })
    const { events } = await running
    expect(events.at(-1)).toMatchObject({ outcome: { interrupts: [{ reason: 'input_required', message: 'Which?' }] } })
    const second = front.run(resume('call1', { answers: { 'Which?': 'this' }, questions: 'evil' }))
    expect(await decision).toEqual({ behavior: 'allow', updatedInput: { ...input, answers: { 'Which?': 'this' } } })
    process.finish()
    await second
  })

  test('nobody answers are a no after ten minutes, and the turn goes on', async () => {
    const all = await asking()
    const { running, process } = await begin(all, 'list')
    const decision = request(process)
    await running
    await all.clock.advance(10 * 60_000)
    expect(await decision).toEqual({ behavior: 'deny', message: 'No answer within 10m.' })
    expect(all.log.at(-1)).toMatchObject({ message: 'permission denied', facts: { by: 'deadline' } })
  })

  test('of a turn that is interrupted are withdrawn', async () => {
    const all = await asking()
    const { running, process } = await begin(all, 'list')
    void request(process, { id: 'other' })
    await running
    const aborting = new AbortController()
    const decision = request(process, { signal: aborting.signal })
    aborting.abort()
    expect(await decision).toMatchObject({ behavior: 'deny' })
    expect(all.questions.open('default', 'thread').map(({ id }) => id)).toEqual(['other'])
  })

  test('from MCP servers are questions too', async () => {
    const all = await asking()
    const { front, running, process } = await begin(all, 'go')
    const answer = process.spec.options.onElicitation?.(
      { serverName: 's', message: 'Your name?', mode: 'form', requestedSchema: { type: 'object' } },
      { signal: new AbortController().signal, requestId: 'r' },
    )
    const { events } = await running
    const { outcome } = events.at(-1) as { outcome?: { interrupts: { id: string; message: string }[] } }
    const second = front.run(resume(outcome?.interrupts[0]?.id ?? '', { name: 'Ada' }))
    expect(await answer).toEqual({ action: 'accept', content: { name: 'Ada' } })
    process.finish()
    await second
  })
})
