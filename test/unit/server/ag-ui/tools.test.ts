import { describe, expect, test } from 'vitest'
import type { AgentOptions } from '../../../../src/index.ts'
import { ClientTools } from '../../../../src/server/ag-ui/client-tools.ts'
import { Questions } from '../../../../src/server/questions.ts'
import { FakeClock } from '../../../../src/testing/index.ts'
import { frontEnd, manual, prompted, runOf, toolResult, whole } from '../../../fixtures/ag-ui-fakes.ts'
import { CALL, WEATHER, call, parameters, tooled } from '../../../fixtures/ag-ui-tools.ts'
import { NO_SPARES } from '../../../fixtures/fakes.ts'

const outcomeOf = (events: readonly object[]): unknown => (events.at(-1) as { outcome?: unknown }).outcome

const answer = (
  toolCallId: string,
  content: string,
): { id: string; role: 'tool'; toolCallId: string; content: string } => ({
  id: `answer to ${toolCallId}`,
  role: 'tool',
  toolCallId,
  content,
})

describe('the tools of a front end', () => {
  test('are the agent’s for that turn, and allowed', async () => {
    const all = await tooled({ allowedTools: ['Read'] })
    const running = frontEnd(all)
      .say('go')
      .run({ tools: [WEATHER] })
    const process = await prompted(all)
    expect(process.spec.options.allowedTools).toEqual(['Read', 'mcp__client_tools'])
    const client = await all.mcp
    const { tools } = await client.listTools()
    expect(tools).toEqual([{ name: 'weather', description: 'Tells the weather.', inputSchema: parameters }])
    process.finish()
    await running
    const next = frontEnd(all).say('and now?').run()
    await prompted(all, 2)
    expect((await client.listTools()).tools).toEqual([])
    process.finish()
    await next
  })

  test('end the run when the agent calls one, and their result goes on with the turn', async () => {
    const all = await tooled()
    const front = frontEnd(all).say('go')
    const running = front.run({ tools: [WEATHER] })
    const process = await prompted(all)
    process.say(whole('m1', { type: 'text', text: 'Let me see.' }, CALL))
    const result = call(await all.mcp, 'call1')
    const { events } = await running
    expect(outcomeOf(events)).toEqual({ type: 'success', pendingToolCallIds: ['call1'] })
    expect(front.conversation.at(-1)).toBe('assistant Let me see. weather({"city":"Rome"})')
    front.agent.addMessage(answer('call1', 'sunny'))
    const second = front.run({ tools: [WEATHER] })
    expect(await result).toEqual({ content: [{ type: 'text', text: 'sunny' }], isError: false })
    process.say(toolResult('call1', 'sunny'))
    process.say(whole('m2', { type: 'text', text: 'It is sunny.' }))
    process.finish()
    const after = await second
    expect(outcomeOf(after.events)).toEqual({ type: 'success' })
    expect(after.types).not.toContain('TOOL_CALL_START')
    // One message for one call, under the id that the front end gave it.
    expect(after.types).not.toContain('TOOL_CALL_RESULT')
    expect(front.conversation).toEqual([
      'user go',
      'assistant Let me see. weather({"city":"Rome"})',
      'tool sunny',
      'assistant It is sunny.',
    ])
    const fresh = frontEnd(all)
    await fresh.run()
    expect(fresh.conversation).toEqual(front.conversation)
  })

  test('may be called two at a time, whose results come together', async () => {
    const all = await tooled()
    const front = frontEnd(all).say('go')
    const running = front.run({ tools: [WEATHER] })
    const process = await prompted(all)
    process.say(whole('m1', CALL, { ...CALL, id: 'call2' }))
    const client = await all.mcp
    const first = call(client, 'call1')
    expect(outcomeOf((await running).events)).toEqual({ type: 'success', pendingToolCallIds: ['call1', 'call2'] })
    front.agent.addMessage(answer('call1', 'sunny'))
    front.agent.addMessage(answer('call2', 'rainy'))
    const second = front.run({ tools: [WEATHER] })
    expect(await first).toMatchObject({ content: [{ text: 'sunny' }] })
    // The CLI comes to the second call only when both results are there.
    await all.clock.settle()
    expect(await call(client, 'call2')).toMatchObject({ content: [{ text: 'rainy' }] })
    process.finish()
    expect(outcomeOf((await second).events)).toEqual({ type: 'success' })
  })

  test('that fail tell the agent so', async () => {
    const all = await tooled()
    const front = frontEnd(all).say('go')
    const running = front.run({ tools: [WEATHER] })
    const process = await prompted(all)
    process.say(whole('m1', CALL))
    const result = call(await all.mcp, 'call1')
    await running
    front.agent.addMessage({ ...answer('call1', 'no network'), error: 'no network' } as never)
    const second = front.run()
    expect(await result).toEqual({ content: [{ type: 'text', text: 'no network' }], isError: true })
    process.finish()
    await second
  })

  test('nobody executes end with a failure of the tool after ten minutes', async () => {
    const all = await tooled()
    const running = frontEnd(all)
      .say('go')
      .run({ tools: [WEATHER] })
    const process = await prompted(all)
    process.say(whole('m1', CALL))
    const result = call(await all.mcp, 'call1')
    await running
    await all.clock.advance(600_000)
    expect(await result).toMatchObject({ isError: true, content: [{ text: 'No answer within 10m.' }] })
  })

  test('give way to a message of the user', async () => {
    const all = await tooled()
    const front = frontEnd(all).say('go')
    const running = front.run({ tools: [WEATHER] })
    const process = await prompted(all)
    process.say(whole('m1', CALL))
    void call(await all.mcp, 'call1').catch(() => undefined)
    await running
    const next = front.say('never mind').run({ tools: [WEATHER] })
    await prompted(all, 2)
    expect(process.interrupts).toBe(1)
    process.sayText('Never mind.')
    process.finish()
    expect(outcomeOf((await next).events)).toEqual({ type: 'success' })
  })

  test.each<[string, AgentOptions, object]>([
    ['the server turns them off', {}, { clientTools: undefined }],
    ['the agent does not allow them', { disallowedTools: ['mcp__client_tools'] }, {}],
  ])('are read by nobody where %s', async (_what, agent, options) => {
    const clock = new FakeClock()
    const questions = new Questions({ clock })
    const clientTools = new ClientTools(questions, clock)
    const isOff = 'clientTools' in options
    const agents = { assistant: isOff ? { ...NO_SPARES } : clientTools.for({ ...NO_SPARES, ...agent }) }
    const all = await manual(isOff ? { questions } : { questions, clientTools }, { agents, clock })
    const running = frontEnd(all)
      .say('go')
      .run({ tools: [WEATHER] })
    const process = await prompted(all)
    expect(process.spec.options.mcpServers?.['client_tools']).toBeUndefined()
    expect(process.spec.options.allowedTools ?? []).not.toContain('mcp__client_tools')
    process.finish()
    await running
  })

  test.each<[string, object[], string]>([
    ['without a name that the model’s API takes', [{ ...WEATHER, name: 'my tool' }], 'tools.0.name: '],
    ['twice under one name', [WEATHER, WEATHER], 'tools.1.name: '],
    ['with parameters that are no object', [{ ...WEATHER, parameters: { type: 'string' } }], 'tools.0.parameters: '],
    ['in too large a number', Array.from({ length: 101 }, (_, i) => ({ ...WEATHER, name: `t${i}` })), 'tools: are 101'],
  ])('are refused %s', async (_what, tools, problem) => {
    const all = await tooled()
    const body = runOf({ tools, messages: [{ id: 'u', role: 'user', content: 'go' }] })
    const response = await all.ask('POST', '/ag-ui/assistant', { body })
    expect(response.status).toBe(400)
    expect(await response.text()).toContain(problem)
    // Refused is not said: it runs as soon as it can.
    const again = frontEnd(all)
    again.agent.addMessage({ id: 'u', role: 'user', content: 'go' })
    const running = again.run()
    const process = await prompted(all)
    process.sayText('Gone.')
    process.finish()
    expect(outcomeOf((await running).events)).toEqual({ type: 'success' })
  })

  test('do not make an agent look as if it had changed when its config is read again', () => {
    const clientTools = new ClientTools(new Questions())
    expect(clientTools.for({}).inProcessServers).toBe(clientTools.for({}).inProcessServers)
  })
})
