import { BadRequestError, NotFoundError } from '@anthropic-ai/sdk'
import type Anthropic from '@anthropic-ai/sdk'
import { describe, expect, test } from 'vitest'
import { hashKey } from '../../src/server/auth/authenticator.ts'
import { httpMcpServer } from '../fixtures/http-mcp-server.ts'
import { official, readTurn, typesOf, wordsOf } from '../fixtures/official-client.ts'
import { MODEL, agents, openSite, until } from '../fixtures/real-pool.ts'
import { WHOLE } from '../fixtures/whole.ts'

const TOOLSET = { type: 'agent_toolset_20260401' as const }
const text = (words: string) => ({ type: 'user.message' as const, content: [{ type: 'text' as const, text: words }] })

const permissionOf = ({ name, evaluated_permission }: { name: string; evaluated_permission?: string }) =>
  `${name}: ${evaluated_permission ?? 'unknown'}`

/** A message has no time until the agent has seen it. */
const withoutTimes = (event: object) => ({ ...event, processed_at: undefined })

async function begin(tools: Anthropic.Beta.Agents.AgentCreateParams['tools'] = [TOOLSET]) {
  const site = await openSite()
  const pool = await site.pool()
  const { client } = official(pool)
  const agent = await client.beta.agents.create({ name: 'Helper', model: MODEL, tools })
  const session = await client.beta.sessions.create({ agent: agent.id, environment_id: 'env_local' })
  return { site, pool, client, agent, session, id: session.id }
}

describe('A session of the official client', () => {
  test('answers a message with the events of a turn, which the list repeats', async () => {
    const { client, id, session, agent } = await begin()
    expect(session).toMatchObject({ status: 'idle', agent: { id: agent.id, version: 1 }, environment_id: 'env_local' })
    const stream = await client.beta.sessions.events.stream(id)
    const { data: sent } = await client.beta.sessions.events.send(id, { events: [text('hello')] })
    expect(sent).toMatchObject([{ type: 'user.message', content: [{ type: 'text', text: 'hello' }] }])
    const events = await readTurn(stream)
    expect(typesOf(events)).toEqual([
      'user.message',
      'session.status_running',
      'span.model_request_start',
      'agent.message',
      'span.model_request_end',
      'session.usage',
      'session.status_idle',
    ])
    expect(wordsOf(events)).toEqual(['[turn 1] You said: hello'])
    expect(events.at(-1)).toMatchObject({ stop_reason: { type: 'end_turn' } })
    const listed = []
    for await (const event of client.beta.sessions.events.list(id, { limit: 2 })) listed.push(event)
    expect(listed.map(withoutTimes)).toEqual(events.map(withoutTimes))
    const after = await client.beta.sessions.retrieve(id)
    expect(after).toMatchObject({ status: 'idle', usage: { list_cost: { currency: 'USD' } } })
    expect(after.usage.output_tokens).toBeGreaterThan(0)
    expect(after.usage.active_seconds).toBeGreaterThan(0)
    expect(after.stats.active_seconds).toBe(after.usage.active_seconds)
    expect(events.at(-2)).toMatchObject({ usage: after.usage })
  })

  test('begins with its initial events, and previews what it says', async () => {
    const { client, agent } = await begin()
    const { id } = await client.beta.sessions.create({
      agent: agent.id,
      environment_id: 'env_local',
      initial_events: [text('@sim delay 1500\n@sim tokens 20 pace 5')],
    })
    const stream = await client.beta.sessions.events.stream(id, { event_deltas: ['agent.message'] })
    const events = await readTurn(stream)
    const start = events.find((event) => event.type === 'event_start')
    const whole = events.find((event) => event.type === 'agent.message')
    const previewed = events
      .flatMap((event) => (event.type === 'event_delta' ? [event.delta.content.text] : []))
      .join('')
    expect(start?.event).toEqual({ type: 'agent.message', id: whole?.id })
    expect(previewed.length).toBeGreaterThan(0)
    expect(wordsOf(events)[0]?.startsWith(previewed)).toBe(true)
  })

  test('is interrupted, and goes on', async () => {
    const { client, id } = await begin()
    const stream = await client.beta.sessions.events.stream(id)
    await client.beta.sessions.events.send(id, { events: [text('@sim tokens 1000 pace 50')] })
    const iterator = stream[Symbol.asyncIterator]()
    for (;;) if ((await iterator.next()).value?.type === 'span.model_request_start') break
    expect((await client.beta.sessions.retrieve(id)).status).toBe('running')
    await client.beta.sessions.events.send(id, { events: [{ type: 'user.interrupt' }] })
    const rest = []
    for (;;) {
      const { value } = await iterator.next()
      rest.push(value)
      if (value?.type === 'session.status_idle') break
    }
    expect(typesOf(rest)).toContain('user.interrupt')
    expect(rest.at(-1)).toMatchObject({ stop_reason: { type: 'end_turn' } })
    const again = await client.beta.sessions.events.stream(id)
    await client.beta.sessions.events.send(id, { events: [text('still there?')] })
    expect(wordsOf(await readTurn(again)).at(-1)).toContain('still there?')
  })

  test.runIf(WHOLE)('tells the agent what a system message says, and shows the user’s own words alone', async () => {
    const { client, id, site } = await begin()
    const stream = await client.beta.sessions.events.stream(id)
    await client.beta.sessions.events.send(id, {
      events: [{ type: 'system.message', content: [{ type: 'text', text: 'The shop closes at six.' }] }, text('hello')],
    })
    const events = await readTurn(stream)
    expect(events[1]).toMatchObject({ type: 'user.message', content: [{ type: 'text', text: 'hello' }] })
    expect(JSON.stringify(site.simulator.requests.at(-1)?.body)).toContain('The shop closes at six.')
  })
})

describe('A tool that asks', () => {
  const asking = { ...TOOLSET, default_config: { permission_policy: { type: 'always_ask' as const } } }

  test.each(['allow', 'deny'] as const)('waits for its confirmation: %s', async (result) => {
    const { client, id, site } = await begin([asking])
    const stream = await client.beta.sessions.events.stream(id)
    await client.beta.sessions.events.send(id, { events: [text('@sim bash echo ran > out.txt\n@sim say over')] })
    const before = await readTurn(stream)
    const asked = before.at(-1)
    if (asked?.type !== 'session.status_idle' || asked.stop_reason.type !== 'requires_action')
      throw new Error('not asked')
    const [toolUseId = ''] = asked.stop_reason.event_ids
    expect(before.find((event) => 'id' in event && event.id === toolUseId)).toMatchObject({
      type: 'agent.tool_use',
      name: 'bash',
    })
    expect((await client.beta.sessions.retrieve(id)).status).toBe('idle')
    await expect(client.beta.sessions.events.send(id, { events: [text('hurry up')] })).rejects.toThrow(BadRequestError)
    const rest = await client.beta.sessions.events.stream(id)
    await client.beta.sessions.events.send(id, {
      events: [
        {
          type: 'user.tool_confirmation',
          tool_use_id: toolUseId,
          result,
          deny_message: result === 'deny' ? 'No.' : null,
        },
      ],
    })
    const after = await readTurn(rest, (event) => event.type === 'session.status_idle')
    expect(typesOf(after).slice(0, 2)).toEqual(['user.tool_confirmation', 'session.status_running'])
    expect(after.find(({ type }) => type === 'agent.tool_result')).toMatchObject({
      tool_use_id: toolUseId,
      is_error: result === 'deny',
    })
    expect(wordsOf(after)).toEqual(['over'])
    expect(site.simulator.requests.length).toBeGreaterThan(0)
  })

  test('asks for a call that the CLI would let pass, and for no tool that is always allowed', async () => {
    const reading = { name: 'read' as const, permission_policy: { type: 'always_ask' as const } }
    const { client, id } = await begin([{ ...TOOLSET, configs: [reading] }])
    const stream = await client.beta.sessions.events.stream(id)
    await client.beta.sessions.events.send(id, {
      events: [text('@sim bash echo words > notes.txt\n@sim tool Read {"file_path":"notes.txt"}\n@sim say over')],
    })
    const before = await readTurn(stream)
    const calls = before.filter((event) => event.type === 'agent.tool_use')
    expect(calls.map(permissionOf)).toEqual(['bash: allow', 'read: ask'])
    const listed = (await client.beta.sessions.events.list(id)).data ?? []
    expect(listed.filter(({ type }) => type === 'agent.tool_use')).toEqual(calls)
    expect(before.at(-1)).toMatchObject({ stop_reason: { type: 'requires_action', event_ids: [calls[1]?.id] } })
  })

  test('of an MCP server is decided by its own policy, whatever the others’ are', async () => {
    const { url } = await httpMcpServer('look', 'order', 'erase')
    const site = await openSite()
    const { client } = official(await site.pool())
    const agent = await client.beta.agents.create({
      name: 'Helper',
      model: MODEL,
      mcp_servers: [{ type: 'url', name: 'shop', url }],
      tools: [
        {
          type: 'mcp_toolset',
          mcp_server_name: 'shop',
          default_config: { permission_policy: { type: 'always_allow' } },
          configs: [
            { name: 'order', permission_policy: { type: 'always_ask' } },
            { name: 'erase', enabled: false },
          ],
        },
      ],
    })
    const { id } = await client.beta.sessions.create({ agent: agent.id, environment_id: 'env_local' })
    const stream = await client.beta.sessions.events.stream(id)
    await client.beta.sessions.events.send(id, {
      events: [text(['look', 'erase', 'order'].map((name) => `@sim tool mcp__shop__${name}`).join('\n'))],
    })
    const events = await readTurn(stream)
    const calls = events.filter((event) => event.type === 'agent.mcp_tool_use')
    expect(calls.map(permissionOf)).toEqual(['look: allow', 'erase: deny', 'order: ask'])
    const listed = (await client.beta.sessions.events.list(id)).data ?? []
    expect(listed.filter(({ type }) => type === 'agent.mcp_tool_use')).toEqual(calls)
    const results = events.filter((event) => event.type === 'agent.mcp_tool_result')
    expect(results.map(({ is_error }) => is_error)).toEqual([false, true])
    expect(events.at(-1)).toMatchObject({ stop_reason: { type: 'requires_action', event_ids: [calls[2]?.id] } })
  })
})

test('The calls of an agent of the config say what the CLI has decided', async () => {
  const site = await openSite()
  const pool = await site.pool({
    agents: agents({
      canUseTool: () => Promise.resolve({ behavior: 'allow' }),
      settings: { permissions: { deny: ['Bash(rm:*)'] } },
    }),
  })
  const { client } = official(pool)
  const { id } = await client.beta.sessions.create({ agent: 'agent_a', environment_id: 'env_local' })
  const stream = await client.beta.sessions.events.stream(id)
  const calls = [
    '@sim bash echo words > notes.txt',
    '@sim tool Read {"file_path":"notes.txt"}',
    '@sim bash rm notes.txt',
  ]
  await client.beta.sessions.events.send(id, { events: [text(calls.join('\n'))] })
  const told = await readTurn(
    stream,
    (event) => event.type === 'session.status_idle' && event.stop_reason.type === 'end_turn',
  )
  const seen = told.filter((event) => event.type === 'agent.tool_use')
  expect(seen.map(permissionOf)).toEqual(['bash: ask', 'read: allow', 'bash: deny'])
  const listed = (await client.beta.sessions.events.list(id)).data ?? []
  expect(listed.filter(({ type }) => type === 'agent.tool_use')).toEqual(seen)
})

test('A tool that the client executes gets its result from it', async () => {
  const { client, id } = await begin([
    {
      type: 'custom',
      name: 'lookup_order',
      description: 'Looks an order up',
      input_schema: { type: 'object', properties: { number: { type: 'string' } }, required: ['number'] },
    },
  ])
  const stream = await client.beta.sessions.events.stream(id)
  await client.beta.sessions.events.send(id, {
    events: [text('@sim tool mcp__client_tools__lookup_order {"number":"1234"}\n@sim say over')],
  })
  const before = await readTurn(stream)
  const call = before.find((event) => event.type === 'agent.custom_tool_use')
  expect(call).toMatchObject({ name: 'lookup_order', input: { number: '1234' } })
  expect(before.at(-1)).toMatchObject({ stop_reason: { type: 'requires_action', event_ids: [call?.id] } })
  const rest = await client.beta.sessions.events.stream(id)
  await client.beta.sessions.events.send(id, {
    events: [
      {
        type: 'user.custom_tool_result',
        custom_tool_use_id: call?.id ?? '',
        content: [{ type: 'text', text: 'On its way.' }],
      },
    ],
  })
  const after = await readTurn(rest)
  expect(typesOf(after).slice(0, 2)).toEqual(['user.custom_tool_result', 'session.status_running'])
  expect(typesOf(after)).not.toContain('agent.mcp_tool_result')
  expect(wordsOf(after)).toEqual(['over'])
})

test('A budget that is reached ends the work, and raising it lets it go on', async () => {
  const { client, agent } = await begin()
  const { id } = await client.beta.sessions.create({
    agent: agent.id,
    environment_id: 'env_local',
    budget: { type: 'limit', max_list_cost: { amount: '1', currency: 'USD' } },
  })
  const send = async (words: string) => {
    const stream = await client.beta.sessions.events.stream(id)
    await client.beta.sessions.events.send(id, { events: [text(words)] })
    return readTurn(stream)
  }
  const refused = await until(async () => {
    try {
      await send('@sim tokens 200')
    } catch (error) {
      return error as Error
    }
    throw new Error('not yet')
  })
  expect(refused).toBeInstanceOf(BadRequestError)
  expect(refused.message).toContain('has reached its budget')
  const all = []
  for await (const event of client.beta.sessions.events.list(id)) all.push(event)
  expect(all.some((event) => event.type === 'session.status_idle' && event.stop_reason.type === 'budget_reached')).toBe(
    true,
  )
  await client.beta.sessions.update(id, {
    budget: { type: 'limit', max_list_cost: { amount: '100000', currency: 'USD' } },
  })
  expect(wordsOf(await send('go on')).at(-1)).toContain('go on')
})

test('Another tenant finds nothing of a session', async () => {
  const site = await openSite()
  const keys = ['ada', 'bob'].map((tenant) => ({ tenant, key: `cap_${tenant}_0123456789abcdef0123` }))
  const { as } = official(await site.pool(), {
    keys: keys.map(({ tenant, key }) => ({ tenant, sha256: hashKey(key) })),
    managedAgents: { define: true },
  })
  const [ada, bob] = keys.map(({ key }) => as(key)) as [Anthropic, Anthropic]
  const agent = await ada.beta.agents.create({ name: 'Hers', model: MODEL })
  const { id } = await ada.beta.sessions.create({ agent: agent.id, environment_id: 'env_local' })
  for (const look of [
    () => bob.beta.sessions.retrieve(id),
    () => bob.beta.sessions.events.send(id, { events: [text('hello')] }),
    () => bob.beta.sessions.events.stream(id),
    () => bob.beta.sessions.delete(id),
    () => bob.beta.agents.retrieve(agent.id),
    () => bob.beta.sessions.create({ agent: agent.id, environment_id: 'env_local' }),
  ])
    await expect(look()).rejects.toThrow(NotFoundError)
  expect((await bob.beta.sessions.list()).data).toEqual([])
  expect((await ada.beta.sessions.list()).data.map((session) => session.id)).toEqual([id])
})

test('Sessions, agents, events and the answers to requests outlive their host', async () => {
  const site = await openSite()
  const resourceFile = `${site.root}/api.sqlite`
  const first = await site.pool()
  const one = official(first, { resourceFile })
  const agent = await one.client.beta.agents.create({ name: 'Helper', model: MODEL, system: 'Be brief.' })
  const { id } = await one.client.beta.sessions.create({ agent: agent.id, environment_id: 'env_local', title: 'Mine' })
  const stream = await one.client.beta.sessions.events.stream(id)
  const keyed = { headers: { 'Idempotency-Key': 'hello-1' } }
  const sent = await one.client.beta.sessions.events.send(id, { events: [text('hello')] }, keyed)
  await readTurn(stream)
  await first.close()
  const { client } = official(await site.pool(), { resourceFile })
  expect(await client.beta.sessions.retrieve(id)).toMatchObject({ title: 'Mine', status: 'idle' })
  expect(await client.beta.sessions.events.send(id, { events: [text('hello')] }, keyed)).toEqual(sent)
  const again = await client.beta.sessions.events.stream(id)
  await client.beta.sessions.events.send(id, { events: [text('once more')] })
  expect(wordsOf(await readTurn(again))).toEqual(['[turn 2] You said: once more'])
})

test('A deleted session ends its streams and is gone', async () => {
  const { client, id, pool } = await begin()
  const stream = await client.beta.sessions.events.stream(id)
  expect(await client.beta.sessions.delete(id)).toEqual({ type: 'session_deleted', id })
  const told = await readTurn(stream, () => false)
  expect(told).toMatchObject([{ type: 'session.deleted', id: expect.stringMatching(/^sevt_/) }])
  await expect(client.beta.sessions.retrieve(id)).rejects.toThrow(NotFoundError)
  expect(await pool.sessions()).toEqual([])
})
