import { BadRequestError } from '@anthropic-ai/sdk'
import type Anthropic from '@anthropic-ai/sdk'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { InMemoryTransport } from '@modelcontextprotocol/sdk/inMemory.js'
import type { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { SDKMessage } from '../../../../../src/driver/driver.ts'
import { toolUseEventId } from '../../../../../src/index.ts'
import { Questions } from '../../../../../src/server/questions.ts'
import { assistantMessage } from '../../../../../src/testing/index.ts'
import type { FakeProcess } from '../../../../../src/testing/index.ts'
import { NO_SPARES, fakes } from '../../../../fixtures/fakes.ts'
import { official, typesOf } from '../../../../fixtures/official-client.ts'

const ASK = { permission_policy: { type: 'always_ask' as const } }
const TOOLS: NonNullable<Anthropic.Beta.Agents.AgentCreateParams['tools']> = [
  { type: 'custom', name: 'order', description: 'Orders.', input_schema: { type: 'object' } },
  { type: 'agent_toolset_20260401', configs: [{ name: 'bash', ...ASK }] },
]
const ORDER = 'mcp__client_tools__order'

/** A turn of an agent with a tool of the client and one that asks, in mid-turn. */
async function working() {
  const all = await fakes({ agents: { assistant: NO_SPARES } })
  const { driver, clock } = all
  const questions = new Questions({ clock })
  const { client } = official(all.pool, { clock, questions })
  const { agents, sessions } = client.beta
  const agent = await agents.create({ name: 'Helper', model: 'claude-sonnet-5', tools: TOOLS })
  const { id } = await sessions.create({ agent: agent.id, environment_id: 'env_local' })
  driver.onStart = (process) => {
    process.answersAtOnce = false
  }
  const send = (...events: Anthropic.Beta.Sessions.EventSendParams['events']) => sessions.events.send(id, { events })
  await send({ type: 'user.message', content: [{ type: 'text', text: 'work' }] })
  await driver.until(() => driver.processes.some(({ unanswered }) => unanswered === 1))
  const process = driver.processes.find(({ unanswered }) => unanswered === 1) as FakeProcess
  const listed = async () => (await sessions.events.list(id, { limit: 1_000 })).data ?? []
  return { ...all, questions, process, send, listed, id, interrupt: () => send({ type: 'user.interrupt' }) }
}

type Working = Awaited<ReturnType<typeof working>>

/** The agent calls tools, and their events can be seen. */
async function call({ process, clock }: Working, ...tools: string[]): Promise<string[]> {
  const said = assistantMessage('session', '') as SDKMessage & { type: 'assistant' }
  const content = tools.map((name, index) => ({ type: 'tool_use', id: `toolu_${name}_${index}`, name, input: {} }))
  process.say({ ...said, message: { ...said.message, content } } as SDKMessage)
  await clock.advance(60)
  return content.map((block) => toolUseEventId(block.id))
}

/** The CLI's end of the server of the client's tools. Running one comes a moment after it has told of the call. */
async function cli({ process }: Working): Promise<(index?: number) => Promise<string>> {
  const servers = process.spec.options.mcpServers as Record<string, { instance: McpServer }>
  const [own, theirs] = InMemoryTransport.createLinkedPair()
  const client = new Client({ name: 'cli', version: '1' })
  await Promise.all([client.connect(own), servers['client_tools']?.instance.connect(theirs)])
  onTestFinished(() => client.close())
  return async (index = 0) => {
    const _meta = { 'claudecode/toolUseId': `toolu_${ORDER}_${index}` }
    const { content } = await client.callTool({ name: 'order', arguments: {}, _meta })
    return (content as { text: string }[]).map(({ text }) => text).join('')
  }
}

const ask = ({ process }: Working, index = 0) =>
  process.spec.options.canUseTool?.(
    'Bash',
    {},
    { signal: new AbortController().signal, toolUseID: `toolu_Bash_${index}`, requestId: 'r' },
  )

const result = (custom_tool_use_id: string, text = 'On its way.') => ({
  type: 'user.custom_tool_result' as const,
  custom_tool_use_id,
  content: [{ type: 'text' as const, text }],
})

const confirmation = (tool_use_id: string) => ({
  type: 'user.tool_confirmation' as const,
  tool_use_id,
  result: 'allow' as const,
})

async function refusal(request: Promise<unknown>): Promise<string> {
  const error: unknown = await request.then(
    () => undefined,
    (problem: unknown) => problem,
  )
  expect(error).toBeInstanceOf(BadRequestError)
  return (error as Error).message
}

describe('An answer that comes before the question', () => {
  test('is the result of the client’s tool, and the turn never pauses', async () => {
    const all = await working()
    const [order = ''] = await call(all, ORDER)
    await all.send(result(order))
    const run = await cli(all)
    expect(await run()).toBe('On its way.')
    all.process.finish()
    await expect.poll(async () => typesOf(await all.listed())).toContain('session.status_idle')
    const types = typesOf(await all.listed())
    expect(types.filter((type) => type.startsWith('session.status_'))).toEqual([
      'session.status_running',
      'session.status_idle',
    ])
    expect(types).toContain('user.custom_tool_result')
  })

  test('is the leave for a call that asks, and is told once', async () => {
    const all = await working()
    const [bash = ''] = await call(all, 'Bash')
    await all.send(confirmation(bash))
    expect(await ask(all)).toMatchObject({ behavior: 'allow' })
    await all.clock.advance(60)
    const types = typesOf(await all.listed())
    expect(types.filter((type) => type === 'user.tool_confirmation')).toHaveLength(1)
    expect(types).not.toContain('session.status_idle')
    all.process.finish()
  })

  test('pauses the turn for the other calls alone', async () => {
    const all = await working()
    const [one = '', two = ''] = await call(all, ORDER, ORDER)
    await all.send(result(one))
    const run = await cli(all)
    const both = [run(0), run(1)]
    await expect.poll(async () => (await all.listed()).at(-1)).toMatchObject({ stop_reason: { event_ids: [two] } })
    await all.send(result(two, 'Later.'))
    expect(await Promise.all(both)).toEqual(['On its way.', 'Later.'])
    all.process.finish()
  })

  test('is forgotten with the turn, and the next one’s question waits', async () => {
    const all = await working()
    const [bash = ''] = await call(all, 'Bash')
    await all.send(confirmation(bash))
    all.process.finish()
    await expect.poll(async () => typesOf(await all.listed())).toContain('session.status_idle')
    const session = { tenant: 'default', key: all.id, agent: 'a' }
    const signal = AbortSignal.abort()
    const asked = all.questions.callTool(session, signal, { id: 'toolu_Bash_0', name: 'Bash', input: {} })
    expect(await asked).toMatchObject({ allow: false })
  })
})

describe('An answer is refused', () => {
  test('when the call has one', async () => {
    const all = await working()
    const [order = '', bash = ''] = await call(all, ORDER, 'Bash')
    await all.send(result(order))
    await all.send(confirmation(bash))
    expect(await refusal(all.send(result(order)))).toContain('does not wait for a result')
    expect(await refusal(all.send(confirmation(bash)))).toContain('does not wait for a confirmation')
    all.process.finish()
  })

  test('when another one is being taken', async () => {
    const all = await working()
    const [order = ''] = await call(all, ORDER)
    const sent = await Promise.allSettled([all.send(result(order)), all.send(result(order, 'No.'))])
    expect(sent.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
    expect(typesOf(await all.listed()).filter((type) => type === 'user.custom_tool_result')).toHaveLength(1)
    all.process.finish()
  })

  test('when the call never asked, or asks for another kind of answer', async () => {
    const all = await working()
    const [order = '', bash = '', read = ''] = await call(all, ORDER, 'Bash', 'Read')
    expect(await refusal(all.send(confirmation(read)))).toContain(`${read} does not wait for a confirmation`)
    expect(await refusal(all.send(confirmation(order)))).toContain('does not wait for a confirmation')
    for (const id of [bash, 'sevt_none']) expect(await refusal(all.send(result(id)))).toContain('does not wait')
    expect(typesOf(await all.listed())).not.toContain('user.custom_tool_result')
    all.process.finish()
  })

  test('when nobody answered in time', async () => {
    const all = await working()
    const [order = ''] = await call(all, ORDER)
    const running = (await cli(all))()
    await expect.poll(() => all.questions.open('default', all.id)).toHaveLength(1)
    await all.clock.advance(600_000)
    expect(await running).toContain('No answer within')
    expect(await refusal(all.send(result(order)))).toContain('does not wait for a result')
    all.process.finish()
  })

  test('when the turn was interrupted', async () => {
    const all = await working()
    const [order = '', bash = ''] = await call(all, ORDER, 'Bash')
    await all.interrupt()
    await expect.poll(async () => typesOf(await all.listed())).toContain('session.status_idle')
    expect(await refusal(all.send(result(order)))).toContain('does not wait for a result')
    expect(await refusal(all.send(confirmation(bash)))).toContain('does not wait for a confirmation')
  })
})
