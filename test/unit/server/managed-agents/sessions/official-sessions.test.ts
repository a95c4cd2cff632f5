import { BadRequestError, NotFoundError } from '@anthropic-ai/sdk'
import type Anthropic from '@anthropic-ai/sdk'
import type { SessionCreateParams, SessionUpdateParams } from '@anthropic-ai/sdk/resources/beta/sessions/sessions'
import { describe, expect, test } from 'vitest'
import type { SDKMessage } from '../../../../../src/driver/driver.ts'
import { assistantMessage } from '../../../../../src/testing/index.ts'
import type { FakeProcess } from '../../../../../src/testing/index.ts'
import { NO_SPARES, fakes } from '../../../../fixtures/fakes.ts'
import type { Fakes } from '../../../../fixtures/fakes.ts'
import { official, typesOf } from '../../../../fixtures/official-client.ts'

const MODEL = 'claude-sonnet-5'
const TOOLSET = { type: 'agent_toolset_20260401' as const }
const ORDER = {
  type: 'custom' as const,
  name: 'order',
  description: 'Orders.',
  input_schema: { type: 'object' as const },
}
const ENVIRONMENT = { environment_id: 'env_local' }

const say = (text: string) => ({ type: 'user.message' as const, content: [{ type: 'text' as const, text }] })
const mcp = (mcp_server_name: string) => ({ type: 'mcp_toolset' as const, mcp_server_name })
const image = (source: object) => ({ type: 'image', source })
const confirmation = { type: 'user.tool_confirmation', tool_use_id: 'sevt_1', result: 'allow' }
const result = { type: 'user.custom_tool_result', custom_tool_use_id: 'sevt_1' }
const cents = (amount: string) => ({ type: 'limit' as const, max_list_cost: { amount, currency: 'USD' as const } })

interface Served extends Fakes {
  client: Anthropic
}

/** A pool of fakes with the agent `assistant`, behind the official client. */
async function serve(): Promise<Served> {
  const all = await fakes({ agents: { assistant: NO_SPARES } })
  return { ...all, ...official(all.pool, { clock: all.clock }) }
}

async function withAgent() {
  const all = await serve()
  const agent = await all.client.beta.agents.create({
    name: 'Helper',
    model: MODEL,
    system: 'Be brief.',
    tools: [ORDER],
  })
  const begin = (params: Partial<SessionCreateParams> = {}) =>
    all.client.beta.sessions.create({ agent: agent.id, ...ENVIRONMENT, ...params })
  return { ...all, agent, begin }
}

/** Sends a message, and resolves at the end of its turn. */
async function turn({ client, pool }: Served, id: string, text: string): Promise<void> {
  const session = await pool.session(id)
  const [last] = await session.history({ descending: true, limit: 1 })
  await client.beta.sessions.events.send(id, { events: [say(text)] })
  for await (const { event } of session.events({ after: last?.number ?? 0 })) {
    if (event.type !== 'session.status_idle') continue
    expect(event.stop_reason).toEqual({ type: 'end_turn' })
    break
  }
}

/** The options of the process that had this message. */
const optionsFor = ({ driver }: Served, text: string) =>
  driver.processes.find(({ prompts }) => JSON.stringify(prompts).includes(text))?.spec.options

/** Sends a message to a process that does not answer. */
async function leaveRunning({ client, driver }: Served, id: string): Promise<FakeProcess> {
  driver.onStart = (process) => {
    process.answersAtOnce = false
  }
  await client.beta.sessions.events.send(id, { events: [say('work')] })
  const working = (): FakeProcess | undefined => driver.processes.find((process) => process.unanswered === 1)
  await driver.until(() => working() !== undefined)
  driver.onStart = undefined
  return working() as FakeProcess
}

/** What the CLI says when it uses a tool. */
function toolUse(name: string): SDKMessage {
  const said = assistantMessage('session', '') as SDKMessage & { type: 'assistant' }
  const call = { type: 'tool_use', id: `toolu_${name}`, name, input: {} }
  return { ...said, message: { ...said.message, content: [call] } } as SDKMessage
}

const refusal = (promise: Promise<unknown>): Promise<Error> =>
  promise.then(
    () => expect.fail('it was not refused'),
    (error: Error) => error,
  )

async function idsOf(list: AsyncIterable<{ id: string }>): Promise<string[]> {
  const ids = []
  for await (const { id } of list) ids.push(id)
  return ids
}

describe('A session with overrides', () => {
  test('inherits what is left out, replaces what is given, and clears with null or an empty list', async () => {
    const all = await withAgent()
    const { client, agent } = all
    const { id, agent: own } = await all.begin({
      agent: { type: 'agent_with_overrides', id: agent.id, system: null, tools: [TOOLSET] },
    })
    expect(own).toMatchObject({ id: agent.id, version: 1, name: 'Helper', model: { id: MODEL }, system: null })
    expect(own.tools).toMatchObject([{ type: TOOLSET.type }])
    await turn(all, id, 'hello')
    const options = optionsFor(all, 'hello')
    expect(options).toMatchObject({ model: MODEL, tools: expect.arrayContaining(['Bash']) as unknown })
    expect(options?.systemPrompt).toBeUndefined()
    expect((await client.beta.agents.retrieve(agent.id)).system).toBe('Be brief.')
  })

  test('shares nothing with the other sessions of its agent', async () => {
    const all = await withAgent()
    const [plain, special] = [
      await all.begin(),
      await all.begin({ agent: { type: 'agent_with_overrides', id: all.agent.id, system: 'Be long.' } }),
    ]
    await turn(all, plain.id, 'one')
    await turn(all, special.id, 'two')
    expect(['one', 'two'].map((text) => optionsFor(all, text)?.systemPrompt)).toEqual(['Be brief.', 'Be long.'])
  })

  test('keeps its version and its words when the agent changes', async () => {
    const { client, agent, begin } = await withAgent()
    const { id } = await begin({ agent: { type: 'agent_with_overrides', id: agent.id, system: 'Mine.' } })
    await client.beta.agents.update(agent.id, { version: 1, system: 'New.', model: 'claude-opus-5-5' })
    expect((await client.beta.sessions.retrieve(id)).agent).toMatchObject({
      version: 1,
      system: 'Mine.',
      model: { id: MODEL },
    })
    const pinned = await begin({ agent: { type: 'agent', id: agent.id, version: 1 } })
    expect(pinned.agent).toMatchObject({ version: 1, system: 'Be brief.' })
    expect((await begin()).agent).toMatchObject({ version: 2, system: 'New.' })
  })

  test.each<[string, (id: string) => object, string]>([
    ['clears the model', (id) => ({ type: 'agent_with_overrides', id, model: null }), 'agent.model: '],
    ['is called a plain agent', (id) => ({ type: 'agent', id, system: 'x' }), 'agent.system: only an agent of type'],
    ['is of no known type', (id) => ({ type: 'copy', id }), 'type must be agent or agent_with_overrides'],
    [
      'brings skills of Anthropic',
      (id) => ({ type: 'agent_with_overrides', id, skills: [{ type: 'anthropic', skill_id: 'xlsx' }] }),
      'type must be custom',
    ],
    [
      'is of an agent of the config',
      () => ({ type: 'agent_with_overrides', id: 'agent_assistant', system: 'x' }),
      'comes from the server’s config',
    ],
  ])('that %s is refused', async (_what, choice, problem) => {
    const { agent, begin, pool } = await withAgent()
    const refused = await refusal(begin({ agent: choice(agent.id) as never }))
    expect(refused).toBeInstanceOf(BadRequestError)
    expect(refused.message).toContain(problem)
    expect(await pool.sessions()).toEqual([])
  })

  test('of a version that there is not is not found', async () => {
    const { agent, begin } = await withAgent()
    await expect(begin({ agent: { type: 'agent', id: agent.id, version: 9 } })).rejects.toThrow(NotFoundError)
  })
})

describe('Updating a session', () => {
  test('changes title and metadata, tells so in its events, and changes nothing twice', async () => {
    const { client, begin } = await withAgent()
    const { id } = await begin({ title: 'Old', metadata: { a: '1', b: '2' } })
    const updated = await client.beta.sessions.update(id, { title: 'New', metadata: { a: null, c: '3' } })
    expect(updated).toMatchObject({ title: 'New', metadata: { b: '2', c: '3' } })
    expect(await client.beta.sessions.update(id, { title: 'New' })).toMatchObject({ title: 'New' })
    const { data } = await client.beta.sessions.events.list(id)
    expect(data).toMatchObject([{ type: 'session.updated', title: 'New', metadata: { b: '2', c: '3' } }])
    expect(data?.[0]).not.toHaveProperty('budget')
  })

  test('may clear the title', async () => {
    const { client, begin } = await withAgent()
    const { id } = await begin({ title: 'Old' })
    expect((await client.beta.sessions.update(id, { title: null })).title).toBeNull()
  })

  test('replaces its tools for the next turn, and the agent keeps its own', async () => {
    const all = await withAgent()
    const { id } = await all.begin()
    await turn(all, id, 'one')
    const { agent } = await all.client.beta.sessions.update(id, { agent: { tools: [TOOLSET] } })
    expect(agent.tools).toMatchObject([{ type: TOOLSET.type }])
    await turn(all, id, 'two')
    expect(['one', 'two'].map((text) => optionsFor(all, text)?.tools)).toEqual([[], expect.arrayContaining(['Bash'])])
    expect((await all.client.beta.agents.retrieve(all.agent.id)).tools).toMatchObject([{ name: 'order' }])
  })

  test.each<[string, SessionUpdateParams, string]>([
    ['the model', { agent: { model: 'claude-opus-5-5' } as never }, 'agent.model: cannot change in a session'],
    ['the system prompt', { agent: { system: 'x' } as never }, 'agent.system: cannot change in a session'],
    ['vaults', { vault_ids: ['vlt_1'] }, 'vault_ids is not supported'],
    ['a budget that was not there from the beginning', { budget: cents('100') }, 'budget_create_only'],
    ['tools of a server that is not there', { agent: { tools: [mcp('shop')] } }, 'not in mcp_servers'],
  ])('cannot bring %s', async (_what, params, problem) => {
    const { client, begin } = await withAgent()
    const { id, updated_at } = await begin()
    const refused = await refusal(client.beta.sessions.update(id, params))
    expect(refused).toBeInstanceOf(BadRequestError)
    expect(refused.message).toContain(problem)
    expect((await client.beta.sessions.retrieve(id)).updated_at).toBe(updated_at)
  })

  test('cannot change tools while it runs, before and after they were changed once', async () => {
    const all = await withAgent()
    const { id } = await all.begin()
    const other = await all.begin()
    await all.client.beta.sessions.update(other.id, { agent: { tools: [] } })
    for (const session of [id, other.id]) {
      const process = await leaveRunning(all, session)
      const refused = await refusal(all.client.beta.sessions.update(session, { agent: { tools: [TOOLSET] } }))
      expect(refused).toBeInstanceOf(BadRequestError)
      expect(refused.message).toContain('is running; interrupt it first')
      process.finish()
    }
  })

  test('cannot change the tools of an agent of the config', async () => {
    const { client, begin } = await withAgent()
    const { id } = await begin({ agent: 'agent_assistant' })
    const refused = await refusal(client.beta.sessions.update(id, { agent: { tools: [TOOLSET] } }))
    expect(refused.message).toContain('comes from the server’s config')
  })
})

describe('A budget', () => {
  test.each(['agent_assistant', 'an agent of the API'])('of %s is the ceiling of its processes', async (which) => {
    const all = await withAgent()
    const agent = which === 'agent_assistant' ? which : all.agent.id
    const { id } = await all.begin({ agent, budget: cents('125') })
    await turn(all, id, 'hello')
    expect(optionsFor(all, 'hello')?.maxBudgetUsd).toBe(1.25)
  })

  test('can be raised and removed, and then not given again', async () => {
    const all = await withAgent()
    const { id } = await all.begin({ budget: cents('125') })
    await turn(all, id, 'one')
    expect((await all.client.beta.sessions.update(id, { budget: cents('250') })).budget).toEqual(cents('250'))
    await turn(all, id, 'two')
    expect((await all.client.beta.sessions.update(id, { budget: null })).budget).toBeNull()
    await turn(all, id, 'three')
    expect(['one', 'two', 'three'].map((text) => optionsFor(all, text)?.maxBudgetUsd)).toEqual([1.25, 2.5, undefined])
    const refused = await refusal(all.client.beta.sessions.update(id, { budget: cents('250') }))
    expect(refused.message).toContain('budget_create_only')
  })

  test.each(['agent_assistant', 'an agent of the API'])(
    'of %s can be raised and removed while a turn runs, whose end does not count against the old one',
    async (which) => {
      const all = await withAgent()
      const { id } = await all.begin({
        agent: which === 'agent_assistant' ? which : all.agent.id,
        budget: cents('100'),
      })
      const process = await leaveRunning(all, id)
      for (const budget of [cents('200'), null])
        expect((await all.client.beta.sessions.update(id, { budget })).budget).toEqual(budget)
      process.finish({ costUsd: 1.5 })
      await expect
        .poll(async () => (await all.client.beta.sessions.retrieve(id)).status, { timeout: 5_000 })
        .toBe('idle')
      await turn(all, id, 'more')
      expect(optionsFor(all, 'more')?.maxBudgetUsd).toBeUndefined()
      const said = (await all.client.beta.sessions.events.list(id)).data ?? []
      expect(JSON.stringify(said)).not.toContain('budget_reached')
    },
  )

  test('that is used up refuses work until it is raised beyond what was used', async () => {
    const all = await withAgent()
    const { id } = await all.begin({ budget: cents('100') })
    ;(await leaveRunning(all, id)).finish({ costUsd: 1.5 })
    const events = all.client.beta.sessions.events
    await expect
      .poll(async () => (await events.list(id, { order: 'desc', limit: 1 })).data?.[0], { timeout: 5_000 })
      .toMatchObject({ type: 'session.status_idle', stop_reason: { type: 'budget_reached' } })
    expect((await refusal(events.send(id, { events: [say('more')] }))).message).toContain('has reached its budget')
    const low = await refusal(all.client.beta.sessions.update(id, { budget: cents('150') }))
    expect(low.message).toContain('budget_not_raised')
    await all.client.beta.sessions.update(id, { budget: cents('151') })
    expect((await events.send(id, { events: [say('more')] })).data).toHaveLength(1)
  })

  test('that cut a turn short lets it go on by itself once it is raised, without a word of the user’s', async () => {
    const all = await withAgent()
    const { id } = await all.begin({ budget: cents('100') })
    ;(await leaveRunning(all, id)).finish({ costUsd: 1.5, subtype: 'error_max_budget_usd' })
    const { events } = all.client.beta.sessions
    await expect
      .poll(async () => (await events.list(id, { order: 'desc', limit: 2 })).data, { timeout: 5_000 })
      .toMatchObject([
        { type: 'session.status_idle', stop_reason: { type: 'budget_reached' } },
        { type: 'session.usage', usage: { list_cost: { amount: '150' } }, budget: cents('100') },
      ])
    await all.client.beta.sessions.update(id, { title: 'Orders' })
    expect((await all.client.beta.sessions.retrieve(id)).status).toBe('idle')
    await all.client.beta.sessions.update(id, { budget: cents('200') })
    await expect
      .poll(async () => (await events.list(id, { order: 'desc', limit: 1 })).data?.[0], { timeout: 5_000 })
      .toMatchObject({ type: 'session.status_idle', stop_reason: { type: 'end_turn' } })
    const said = (await events.list(id)).data ?? []
    expect(typesOf(said).filter((type) => type === 'user.message')).toHaveLength(1)
    expect(typesOf(said)).toContain('agent.message')
    expect(said.at(-2)).toMatchObject({ budget: cents('200') })
    expect(optionsFor(all, 'has been raised')?.maxBudgetUsd).toBe(2)
  })

  test('that is removed lets the turn go on that it had cut short', async () => {
    const all = await withAgent()
    const { id } = await all.begin({ budget: cents('100') })
    ;(await leaveRunning(all, id)).finish({ costUsd: 1.5, subtype: 'error_max_budget_usd' })
    const { events } = all.client.beta.sessions
    const last = async () => (await events.list(id, { order: 'desc', limit: 1 })).data?.[0]
    await expect.poll(last, { timeout: 5_000 }).toMatchObject({ stop_reason: { type: 'budget_reached' } })
    await all.client.beta.sessions.update(id, { budget: null })
    await expect.poll(last, { timeout: 5_000 }).toMatchObject({ stop_reason: { type: 'end_turn' } })
    expect(optionsFor(all, 'has been raised')?.maxBudgetUsd).toBeUndefined()
  })

  test.each(['0', '1.5', '-1', 'all'])('of %s is none', async (amount) => {
    const { begin } = await withAgent()
    expect((await refusal(begin({ budget: cents(amount) }))).message).toContain('whole cents')
  })
})

test('What a session has used and how long it has run is told by the session, and at the end of each turn', async () => {
  const all = await withAgent()
  const { id, usage, stats } = await all.begin()
  expect([usage.active_seconds, stats.active_seconds]).toEqual([0, 0])
  const process = await leaveRunning(all, id)
  await all.clock.advance(1_500)
  const during = await all.client.beta.sessions.retrieve(id)
  expect([during.usage.active_seconds, during.stats.active_seconds]).toEqual([1.5, 1.5])
  process.finish({ costUsd: 0.5 })
  const { events } = all.client.beta.sessions
  const ended = async () => typesOf((await events.list(id)).data ?? []).slice(-2)
  await expect.poll(ended, { timeout: 5_000 }).toEqual(['session.usage', 'session.status_idle'])
  await all.clock.advance(10_000)
  const after = await all.client.beta.sessions.retrieve(id)
  expect(after.stats).toEqual({ active_seconds: 1.5, duration_seconds: 12 })
  expect(after.usage).toMatchObject({ active_seconds: 1.5, list_cost: { amount: '50', currency: 'USD' } })
  const [snapshot] = (await events.list(id, { types: ['session.usage'] })).data ?? []
  expect(snapshot).toEqual({
    type: 'session.usage',
    id: expect.any(String),
    processed_at: expect.any(String),
    usage: after.usage,
  })
})

describe('An archived session', () => {
  test('takes no more work, can be read, and is listed on demand alone', async () => {
    const all = await withAgent()
    const { client } = all
    const { id } = await all.begin()
    await turn(all, id, 'hello')
    const archived = await client.beta.sessions.archive(id)
    expect(archived.archived_at).not.toBeNull()
    await all.clock.advance(1_000)
    expect((await client.beta.sessions.archive(id)).archived_at).toBe(archived.archived_at)
    for (const change of [
      () => client.beta.sessions.events.send(id, { events: [say('more')] }),
      () => client.beta.sessions.update(id, { title: 'x' }),
    ])
      expect((await refusal(change())).message).toContain('is archived')
    expect((await client.beta.sessions.retrieve(id)).status).toBe('idle')
    expect(typesOf((await client.beta.sessions.events.list(id)).data ?? [])).toContain('agent.message')
    expect(await idsOf(client.beta.sessions.list())).toEqual([])
    expect(await idsOf(client.beta.sessions.list({ include_archived: true }))).toEqual([id])
    await client.beta.sessions.delete(id)
    expect(await idsOf(client.beta.sessions.list({ include_archived: true }))).toEqual([])
  })

  test('was none while it ran', async () => {
    const all = await withAgent()
    const { id } = await all.begin()
    const process = await leaveRunning(all, id)
    expect((await refusal(all.client.beta.sessions.archive(id))).message).toContain('is running; interrupt it first')
    process.finish()
  })

  test('may be of an agent that is archived itself; new ones may not', async () => {
    const all = await withAgent()
    const { id } = await all.begin()
    await all.client.beta.agents.archive(all.agent.id)
    await turn(all, id, 'still there?')
    expect((await refusal(all.begin())).message).toContain('is archived')
  })
})

describe('The list of sessions', () => {
  test('can be asked for what runs and for what does not', async () => {
    const all = await withAgent()
    const { client } = all
    const idle = await all.begin()
    await all.clock.advance(1)
    const running = await all.begin()
    const process = await leaveRunning(all, running.id)
    expect(await idsOf(client.beta.sessions.list({ statuses: ['running'] }))).toEqual([running.id])
    expect(await idsOf(client.beta.sessions.list({ statuses: ['idle'] }))).toEqual([idle.id])
    expect(await idsOf(client.beta.sessions.list({ statuses: ['terminated', 'rescheduling'] }))).toEqual([])
    expect(await idsOf(client.beta.sessions.list({ statuses: ['idle', 'running'] }))).toEqual([running.id, idle.id])
    process.finish()
  })

  test('has bounds of time, open and closed, and both orders', async () => {
    const { client, clock, begin } = await withAgent()
    const made = []
    for (let index = 0; index < 3; index += 1) {
      made.push(await begin())
      await clock.advance(1_000)
    }
    const [one, two, three] = made.map(({ id }) => id)
    const at = made[1]?.created_at ?? ''
    const list = (bound: string, order: 'asc' | 'desc' = 'asc') =>
      idsOf(client.beta.sessions.list({ [`created_at[${bound}]`]: at, order }))
    expect(await list('gt')).toEqual([three])
    expect(await list('gte')).toEqual([two, three])
    expect(await list('lt')).toEqual([one])
    expect(await list('lte', 'desc')).toEqual([two, one])
  })

  test('can be asked for an agent and a version of it', async () => {
    const { client, clock, agent, begin } = await withAgent()
    const first = await begin()
    await clock.advance(1)
    await client.beta.agents.update(agent.id, { version: 1, system: 'New.' })
    const second = await begin()
    await clock.advance(1)
    await begin({ agent: 'agent_assistant' })
    expect(await idsOf(client.beta.sessions.list({ agent_id: agent.id }))).toEqual([second.id, first.id])
    const versions = { agent_id: agent.id, agent_version: 1 }
    expect(await idsOf(client.beta.sessions.list(versions))).toEqual([first.id])
    // By the contract a version alone says nothing.
    expect(await idsOf(client.beta.sessions.list({ agent_version: 2 }))).toHaveLength(3)
  })

  test('goes back as well as forth', async () => {
    const { client, clock, begin } = await withAgent()
    const made = []
    for (let index = 0; index < 5; index += 1) {
      made.push((await begin()).id)
      await clock.advance(1)
    }
    const first = await client.beta.sessions.list({ limit: 2, order: 'asc' })
    const second = await first.getNextPage()
    expect(second.data.map(({ id }) => id)).toEqual(made.slice(2, 4))
    const back = await client.beta.sessions.list({ limit: 2, order: 'asc', page: second.prev_page ?? '' })
    expect(back.data.map(({ id }) => id)).toEqual(made.slice(0, 2))
  })

  test.each([
    [{ deployment_id: 'd' }, 'deployment_id: is not supported'],
    [{ statuses: ['asleep'] }, 'is not one of idle, running'],
    [{ order: 'random' }, 'order: must be asc or desc'],
    [{ limit: 101 }, 'limit: must be a whole number'],
    [{ 'created_at[gt]': 'yesterday' }, 'created_at[gt]: must be a timestamp'],
    [{ agent_id: 'a', agent_version: 0 }, 'agent_version: must be a whole number'],
    [{ page: 'page_x' }, 'page: is not a cursor'],
  ])('refuses %j', async (query, problem) => {
    const { client } = await serve()
    expect((await refusal(client.beta.sessions.list(query as never))).message).toContain(problem)
  })
})

describe('The list of events', () => {
  test('can be asked for some types, in both orders', async () => {
    const all = await withAgent()
    const { id } = await all.begin()
    await turn(all, id, 'one')
    await turn(all, id, 'two')
    const { events } = all.client.beta.sessions
    const types: ('user.message' | 'agent.message')[] = ['user.message', 'agent.message']
    const forth = (await events.list(id, { types })).data ?? []
    expect(typesOf(forth)).toEqual(['user.message', 'agent.message', 'user.message', 'agent.message'])
    const back = await idsOf(events.list(id, { types, order: 'desc', limit: 1 }))
    expect(back).toEqual(forth.map((event) => event.id).toReversed())
    const every = (await events.list(id)).data ?? []
    expect(every.length).toBeGreaterThan(forth.length)
    expect((await events.list(id, { types: ['agent.tool_use'] })).data).toEqual([])
  })

  test('names built-in tools as agents are given them, and so does the stream', async () => {
    const all = await withAgent()
    const { id } = await all.begin()
    const stream = await all.client.beta.sessions.events.stream(id)
    const process = await leaveRunning(all, id)
    for (const name of ['WebFetch', 'Task']) process.say(toolUse(name))
    process.finish()
    const streamed: string[] = []
    for await (const event of stream) {
      if (event.type === 'agent.tool_use') streamed.push(event.name)
      if (event.type === 'session.status_idle') break
    }
    const listed = (await all.client.beta.sessions.events.list(id, { types: ['agent.tool_use'] })).data ?? []
    expect(streamed).toEqual(['web_fetch', 'Task'])
    expect(listed.map((event) => event.type === 'agent.tool_use' && event.name)).toEqual(streamed)
  })

  test('has bounds of time', async () => {
    const all = await withAgent()
    const { id } = await all.begin()
    await turn(all, id, 'one')
    await all.clock.advance(10_000)
    await turn(all, id, 'two')
    const { events } = all.client.beta.sessions
    const asked = (await events.list(id, { types: ['user.message'] })).data ?? []
    const at = asked[1]?.processed_at ?? ''
    const list = async (query: object) => idsOf(events.list(id, { types: ['user.message'], ...query }))
    expect(await list({ 'created_at[gte]': at })).toEqual([asked[1]?.id])
    expect(await list({ 'created_at[lt]': at })).toEqual([asked[0]?.id])
    expect(await list({ 'created_at[gt]': at })).toEqual([])
    expect(await list({ 'created_at[lte]': at, limit: 1 })).toEqual(asked.map((event) => event.id))
  })
})

describe('What this server has not', () => {
  test.each<[string, Partial<SessionCreateParams>, string]>([
    ['files, where none are kept', { resources: [{ type: 'file', file_id: 'file_1' }] }, 'this server keeps no files'],
    [
      'a memory store of nobody',
      { resources: [{ type: 'memory_store', memory_store_id: 'm' }] },
      'store m was not found',
    ],
    [
      'outcomes',
      { initial_events: [{ type: 'user.define_outcome', description: 'x' } as never] },
      'outcomes are not supported',
    ],
    ['an environment that there is not', { environment_id: 'env_none' }, 'env_none was not found'],
  ])('is refused by name when a session begins with %s, and there is no session', async (_what, params, problem) => {
    const { begin, pool, client } = await withAgent()
    expect((await refusal(begin(params))).message).toContain(problem)
    expect(await pool.sessions()).toEqual([])
    expect(await idsOf(client.beta.sessions.list())).toEqual([])
  })

  test.each<[string, object, string]>([
    [
      'a source that there is not',
      { ...say(''), content: [image({ type: 'disk', path: '/etc/passwd' })] },
      'must be base64, text, url or file',
    ],
    ['a result of the environment', { type: 'user.tool_result', tool_use_id: 't' }, 'type must be one of user.message'],
    ['no event at all', {}, 'type must be one of'],
    ['a reason for what is allowed', { ...confirmation, deny_message: 'no' }, 'events.0.deny_message: goes with'],
    ['a confirmation that nobody asked for', confirmation, 'sevt_1 does not wait for a confirmation'],
    ['a result that nobody asked for', result, 'sevt_1 does not wait for a result'],
  ])('is refused by name when %s is sent', async (_what, event, problem) => {
    const { begin, client } = await withAgent()
    const { id } = await begin()
    const refused = await refusal(client.beta.sessions.events.send(id, { events: [event as never] }))
    expect(refused).toBeInstanceOf(BadRequestError)
    expect(refused.message).toContain(problem)
    expect((await client.beta.sessions.events.list(id)).data).toEqual([])
  })

  test('is not found at all where it has a path of its own', async () => {
    const { begin, client } = await withAgent()
    const { id } = await begin()
    for (const look of [() => client.beta.sessions.threads.list(id), () => client.beta.files.list()])
      expect(await refusal(Promise.resolve(look()))).toBeInstanceOf(NotFoundError)
  })
})

describe('A field that is not known', () => {
  test('is refused by name, wherever it is', async () => {
    const { client, agent, begin } = await withAgent()
    const { id } = await begin()
    const { agents, environments, sessions } = client.beta
    const unknown = { colour: 'red' }
    const requests: (() => Promise<unknown>)[] = [
      () => agents.create({ name: 'A', model: MODEL, ...unknown } as never),
      () => agents.create({ name: 'A', model: MODEL, tools: [{ ...TOOLSET, ...unknown }] } as never),
      () => agents.update(agent.id, { version: 1, ...unknown } as never),
      () => environments.create({ name: 'E', ...unknown } as never),
      () => sessions.create({ agent: agent.id, ...ENVIRONMENT, ...unknown } as never),
      () => sessions.update(id, unknown as never),
      () => sessions.events.send(id, { events: [{ ...say('hello'), ...unknown }] } as never),
    ]
    for (const request of requests) {
      const refused = await refusal(request())
      expect(refused).toBeInstanceOf(BadRequestError)
      expect(refused.message).toContain('colour')
    }
  })
})
