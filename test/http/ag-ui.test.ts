import { resolve } from 'node:path'
import { expect, test } from 'vitest'
import { FrontEnd } from '../fixtures/ag-ui.ts'
import { serve } from './serving.ts'
import { WHOLE } from '../fixtures/whole.ts'

const AGENT = 'spares: { max: 0 }, unboundSpares: { max: 0 }, model: claude-sonnet-5'

const interruptsOf = (event: object | undefined): { id: string; reason: string; message: string }[] =>
  (event as { outcome?: { interrupts?: { id: string; reason: string; message: string }[] } }).outcome?.interrupts ?? []

/** Waits until no turn runs. */
async function untilIdle(url: string): Promise<void> {
  for (;;) {
    const { running } = (await (await fetch(`${url}/pressure`)).json()) as { running: number }
    if (running === 0) return
    await new Promise((resolve) => setImmediate(resolve))
  }
}

test('the official client talks to a real process, thoughts and tools included', async () => {
  const { url } = await serve(`agents: { a: { ${AGENT}, allowedTools: [Bash] } }`)
  const front = new FrontEnd(`${url}/ag-ui/a`, { threadId: 'thread' })
  const { types } = await front.say('@sim thinking Hm.\n@sim bash echo tool-output').run()
  for (const type of ['REASONING_MESSAGE_CONTENT', 'TOOL_CALL_START', 'TOOL_CALL_RESULT', 'TEXT_MESSAGE_CONTENT'])
    expect(types).toContain(type)
  expect(types.filter((type) => type === 'TOOL_CALL_START')).toHaveLength(1)
  expect(types.at(-1)).toBe('RUN_FINISHED')
  expect(front.conversation.join('\n')).toContain('tool tool-output')
  await front.say('and now?').run()
  expect(front.conversation.at(-1)).toBe('assistant [turn 2] You said: and now?')
})

test('a run that is aborted interrupts its process after its grace, and the next message is the next turn', async () => {
  const { url } = await serve(`agents: { a: { ${AGENT} } }\nserver: { agUi: { disconnectGrace: 300ms } }`)
  const front = new FrontEnd(`${url}/ag-ui/a`, { threadId: 'thread' })
  const stopped = front.say('@sim tokens 20000 pace 20')
  await stopped.run({}, ({ type }) => type === 'TEXT_MESSAGE_CONTENT' && front.agent.abortRun())
  await untilIdle(url)
  // It counts as run.
  const again = await front.run()
  expect(again.events.at(-1)).toMatchObject({ outcome: { type: 'cancelled' } })
  await front.say('and now?').run()
  expect(front.conversation.at(-1)).toBe('assistant [turn 2] You said: and now?')
})

test.runIf(WHOLE)('a run that comes back in time re-attaches to its turn, and has all of its answer', async () => {
  const { url } = await serve(`agents: { a: { ${AGENT} } }\nserver: { agUi: { disconnectGrace: 10m } }`)
  const front = new FrontEnd(`${url}/ag-ui/a`, { threadId: 'thread' })
  await front
    .say('@sim tokens 100 pace 50')
    .run({}, ({ type }) => type === 'TEXT_MESSAGE_CONTENT' && front.agent.abortRun())
  const { events } = await front.run()
  expect(events.at(-1)).toMatchObject({ outcome: { type: 'success' } })
  const fresh = new FrontEnd(`${url}/ag-ui/a`, { threadId: 'thread' })
  await fresh.run()
  expect(front.conversation).toEqual(fresh.conversation)
  expect(front.conversation).toHaveLength(2)
})

test('a message after an aborted run goes to the agent at once', async () => {
  const { url } = await serve(`agents: { a: { ${AGENT} } }\nserver: { agUi: { disconnectGrace: 10m } }`)
  const front = new FrontEnd(`${url}/ag-ui/a`, { threadId: 'thread' })
  await front
    .say('@sim tokens 20000 pace 20')
    .run({}, ({ type }) => type === 'TEXT_MESSAGE_CONTENT' && front.agent.abortRun())
  const { events } = await front.say('and now?').run()
  expect(events.at(-1)).toMatchObject({ outcome: { type: 'success' } })
  expect(front.conversation.at(-1)).toBe('assistant [turn 2] You said: and now?')
})

test('a message runs once, also when the server was restarted before it came again', async () => {
  const config = `agents: { a: { ${AGENT} } }`
  const first = await serve(config)
  const front = new FrontEnd(`${first.url}/ag-ui/a`, { threadId: 'thread' })
  await front.say('hello').run()
  const [said] = front.agent.messages
  first.command.child.kill('SIGTERM')
  await first.command.ended
  const second = await serve(config, { folder: first.folder })
  const back = new FrontEnd(`${second.url}/ag-ui/a`, { threadId: 'thread' })
  if (said !== undefined) back.agent.addMessage(said)
  const { types } = await back.run()
  expect(types).toContain('TEXT_MESSAGE_CONTENT')
  expect(back.conversation).toEqual(front.conversation)
  await back.say('and now?').run()
  expect(back.conversation.at(-1)).toBe('assistant [turn 2] You said: and now?')
})

test('a tool of the front end is called by the agent and executed by the official client', async () => {
  const { url } = await serve(`agents: { a: { ${AGENT} } }`)
  const front = new FrontEnd(`${url}/ag-ui/a`, { threadId: 'thread' })
  const parameters = { type: 'object', properties: { city: { type: 'string' } } }
  const tools = [{ name: 'getWeather', description: 'Tells the weather.', parameters }]
  const calling = '@sim tool mcp__client_tools__getWeather {"city":"Rome"}'
  const { pending } = await front.say(calling).run({ tools })
  expect(pending).toHaveLength(1)
  front.agent.addMessage({ id: 'r', role: 'tool', toolCallId: pending[0] ?? '', content: 'sunny in Rome' })
  const { events } = await front.run({ tools })
  expect(events.at(-1)).toMatchObject({ outcome: { type: 'success' } })
  expect(front.conversation).toEqual([
    `user ${calling}`,
    'assistant getWeather({"city":"Rome"})',
    'tool sunny in Rome',
    'assistant [turn 1] tool said: sunny in Rome',
  ])
  // A live process gets other tools with the next run.
  const others = [{ name: 'getTime', description: 'Tells the time.' }]
  const next = await front.say('@sim tool mcp__client_tools__getTime').run({ tools: others })
  front.agent.addMessage({ id: 's', role: 'tool', toolCallId: next.pending[0] ?? '', content: 'noon' })
  await front.run({ tools: others })
  expect(front.conversation.at(-1)).toBe('assistant [turn 2] tool said: noon')
})

test('documents reach the model', async () => {
  const { url } = await serve(`agents: { a: { ${AGENT} } }`)
  const front = new FrontEnd(`${url}/ag-ui/a`, { threadId: 'thread' })
  const pdf = Buffer.from('%PDF-1.7 and so on').toString('base64')
  front.agent.addMessage({
    id: 'd',
    role: 'user',
    content: [
      { type: 'text', text: 'Read these.' },
      { type: 'document', source: { type: 'data', mimeType: 'application/pdf', value: pdf } },
      {
        type: 'document',
        source: { type: 'data', mimeType: 'text/plain', value: Buffer.from('Plain.').toString('base64') },
      },
    ],
  })
  const { events } = await front.run()
  expect(events.at(-1)).toMatchObject({ outcome: { type: 'success' } })
  expect(front.conversation.at(-1)).toContain('You said: Read these.')
})

test('a tool call that needs leave waits for it, and the log says who gave it', async () => {
  const { url, command } = await serve(`agents: { a: { ${AGENT}, permissionMode: default } }`)
  const front = new FrontEnd(`${url}/ag-ui/a`, { threadId: 'thread' })
  const asked = await front.say('@sim bash touch made-by-agent').run()
  const [interrupt] = interruptsOf(asked.events.at(-1))
  expect(interrupt?.reason).toBe('tool_call')
  const denied = await front.run({
    resume: [
      { interruptId: interrupt?.id ?? '', status: 'resolved', payload: { approved: false, message: 'Rather not.' } },
    ],
  })
  expect(denied.types).not.toContain('TOOL_CALL_START')
  expect(front.conversation.join('\n')).toContain('Rather not.')
  const again = await front.say('@sim bash touch made-by-agent').run()
  const [second] = interruptsOf(again.events.at(-1))
  const allowed = await front.run({
    resume: [{ interruptId: second?.id ?? '', status: 'resolved', payload: { approved: true } }],
  })
  expect(allowed.types.at(-1)).toBe('RUN_FINISHED')
  expect(await command.said(/permission allowed/)).toMatch(/"by":"anybody".*permission denied/)
})

test('a question of the agent waits for its answer', async () => {
  const { url } = await serve(`agents: { a: { ${AGENT}, permissionMode: default } }`)
  const front = new FrontEnd(`${url}/ag-ui/a`, { threadId: 'thread' })
  const question = {
    question: 'Tea or coffee?',
    header: 'Drink',
    multiSelect: false,
    options: [
      { label: 'Tea', description: 'hot' },
      { label: 'Coffee', description: 'hotter' },
    ],
  }
  const asked = await front.say(`@sim tool AskUserQuestion ${JSON.stringify({ questions: [question] })}`).run()
  const [interrupt] = interruptsOf(asked.events.at(-1))
  expect(interrupt).toMatchObject({ reason: 'input_required', message: 'Tea or coffee?' })
  const answered = await front.run({
    resume: [
      { interruptId: interrupt?.id ?? '', status: 'resolved', payload: { answers: { 'Tea or coffee?': 'Tea' } } },
    ],
  })
  expect(answered.types.at(-1)).toBe('RUN_FINISHED')
  expect(front.conversation.join('\n')).toMatch(/tool .*Tea/)
})

test.for([
  ['an answer', { status: 'resolved' as const, payload: { size: 'M' } }, 'Ordered in M.'],
  ['a no', { status: 'cancelled' as const }, 'Not ordered: decline.'],
] as const)(
  'an MCP server that wants to know something of the user gets %s',
  async ([what, answer, result], { skip }) => {
    skip(!WHOLE && what === 'a no', 'an answer takes the same way')
    const server = JSON.stringify({
      type: 'stdio',
      command: process.execPath,
      args: [resolve(import.meta.dirname, '../fixtures/asking-mcp-server.ts')],
    })
    const { url, command } = await serve(
      `agents: { a: { ${AGENT}, permissionMode: default, allowedTools: [mcp__shop], mcpServers: { shop: ${server} } } }\nisolation: { mode: none }`,
    )
    const front = new FrontEnd(`${url}/ag-ui/a`, { threadId: 'thread' })
    const asked = await front.say('@sim tool mcp__shop__order').run()
    const interrupts = interruptsOf(asked.events.at(-1))
    expect(interrupts).toMatchObject([
      {
        reason: 'input_required',
        message: 'Which size?',
        responseSchema: { properties: { size: { type: 'string' } } },
      },
    ])
    const answered = await front.run({ resume: [{ interruptId: interrupts[0]?.id ?? '', ...answer }] })
    expect(answered.types.at(-1)).toBe('RUN_FINISHED')
    expect(front.conversation.join('\n')).toContain(`tool ${result}`)
    const decided = answer.status === 'resolved' ? 'allowed' : 'denied'
    expect(await command.said(new RegExp(`elicitation ${decided}`))).toContain('"by":"anybody"')
  },
)
