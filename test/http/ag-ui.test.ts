import { resolve } from 'node:path'
import { expect, test } from 'vitest'
import { FrontEnd } from '../fixtures/ag-ui.ts'
import { serve } from './serving.ts'

const AGENT = 'spares: { max: 0 }, claimableSpares: { max: 0 }, model: claude-sonnet-5'

const interruptsOf = (event: object | undefined): { id: string; reason: string; message: string }[] =>
  (event as { outcome?: { interrupts?: { id: string; reason: string; message: string }[] } }).outcome?.interrupts ?? []

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

test.each([
  ['an answer', { status: 'resolved' as const, payload: { size: 'M' } }, 'Ordered in M.'],
  ['a no', { status: 'cancelled' as const }, 'Not ordered: decline.'],
])('an MCP server that wants to know something of the user gets %s', async (_what, answer, result) => {
  const server = JSON.stringify({
    type: 'stdio',
    command: process.execPath,
    args: [resolve(import.meta.dirname, '../fixtures/asking-mcp-server.ts')],
  })
  const { url, command } = await serve(
    `agents: { a: { ${AGENT}, permissionMode: default, allowedTools: [mcp__shop], mcpServers: { shop: ${server} } } }`,
  )
  const front = new FrontEnd(`${url}/ag-ui/a`, { threadId: 'thread' })
  const asked = await front.say('@sim tool mcp__shop__order').run()
  const interrupts = interruptsOf(asked.events.at(-1))
  expect(interrupts).toMatchObject([
    { reason: 'input_required', message: 'Which size?', responseSchema: { properties: { size: { type: 'string' } } } },
  ])
  const answered = await front.run({ resume: [{ interruptId: interrupts[0]?.id ?? '', ...answer }] })
  expect(answered.types.at(-1)).toBe('RUN_FINISHED')
  expect(front.conversation.join('\n')).toContain(`tool ${result}`)
  const decided = answer.status === 'resolved' ? 'allowed' : 'denied'
  expect(await command.said(new RegExp(`elicitation ${decided}`))).toContain('"by":"anybody"')
})
