import { afterEach, expect, test } from 'vitest'
import { Agents } from '../../../../src/server/managed-agents/agents.ts'
import { SqliteApiStore } from '../../../../src/server/api-store/sqlite.ts'
import { agentCreate, agentUpdate, parse } from '../../../../src/server/managed-agents/schema.ts'

const stores: SqliteApiStore[] = []
afterEach(() => {
  for (const store of stores.splice(0)) store.close()
})

function agents(...configured: string[]) {
  const store = new SqliteApiStore(':memory:')
  stores.push(store)
  let now = Date.parse('2026-01-01T00:00:00Z')
  return new Agents(
    store.resources,
    { names: () => configured, describe: () => ({ model: undefined, system: 'From the config.' }) },
    () => (now += 1_000),
  )
}

const create = (body: object) => parse(agentCreate, { name: 'Helper', model: 'claude-opus-5-5', ...body })
const update = (body: object) => parse(agentUpdate, body)
const everything = { page: undefined, limit: 20, includeArchived: false, from: undefined, to: undefined }

test('A new agent has all defaults filled in', async () => {
  const agent = await agents().create('t', create({ tools: [{ type: 'agent_toolset_20260401' }] }))
  expect(agent.id).toMatch(/^agent_[1-9A-HJ-NP-Za-km-z]{24}$/)
  expect(agent).toMatchObject({
    version: 1,
    system: null,
    model: { id: 'claude-opus-5-5', effort: { type: 'high' }, speed: 'standard' },
    tools: [{ default_config: { enabled: true, permission_policy: { type: 'always_allow' } }, configs: [] }],
    execution_identity: { type: 'service_account' },
    archived_at: null,
  })
})

test('The tools of an MCP server ask by default', async () => {
  const agent = await agents().create(
    't',
    create({
      mcp_servers: [{ type: 'url', name: 'docs', url: 'https://docs.example/mcp' }],
      tools: [
        {
          type: 'mcp_toolset',
          mcp_server_name: 'docs',
          configs: [{ name: 'search', permission_policy: { type: 'always_allow' } }],
        },
      ],
    }),
  )
  expect(agent.tools[0]).toMatchObject({
    default_config: { permission_policy: { type: 'always_ask' } },
    configs: [{ name: 'search', enabled: true, permission_policy: { type: 'always_allow' } }],
  })
})

test('An update makes a version: what is left out stays, null clears, a value replaces', async () => {
  const all = agents()
  const { id } = await all.create('t', create({ system: 'Be brief.', description: 'x', metadata: { a: '1', b: '2' } }))
  const after = await all.update('t', id, update({ system: null, metadata: { a: null, c: '3' } }))
  expect(after).toMatchObject({
    version: 2,
    system: null,
    description: 'x',
    metadata: { b: '2', c: '3' },
    name: 'Helper',
  })
  expect(await all.retrieve('t', id, 1)).toMatchObject({ version: 1, system: 'Be brief.' })
})

test('An update that changes nothing makes no version', async () => {
  const all = agents()
  const { id } = await all.create('t', create({}))
  expect((await all.update('t', id, update({ name: 'Helper', model: 'claude-opus-5-5' }))).version).toBe(1)
})

test('An update for another version than the newest is refused', async () => {
  const all = agents()
  const { id } = await all.create('t', create({}))
  await all.update('t', id, update({ name: 'Other' }))
  await expect(all.update('t', id, update({ name: 'Third', version: 1 }))).rejects.toThrow(
    /is at version 2 by now, not 1/,
  )
})

test('Two updates at the same time are both kept, each as a version', async () => {
  const all = agents()
  const { id } = await all.create('t', create({}))
  const [one, two] = await Promise.all([
    all.update('t', id, update({ name: 'Other' })),
    all.update('t', id, update({ description: 'x' })),
  ])
  expect([one.version, two.version]).toEqual([2, 3])
  expect(await all.retrieve('t', id)).toMatchObject({ name: 'Other', description: 'x', version: 3 })
})

test('Another tenant’s agent is not found', async () => {
  const all = agents()
  const { id } = await all.create('t', create({}))
  await expect(all.retrieve('u', id)).rejects.toThrow(`agent ${id} was not found`)
  expect((await all.list('u', everything)).items).toEqual([])
})

test('An archived agent is listed on demand alone, and changes no more', async () => {
  const all = agents()
  const { id } = await all.create('t', create({}))
  expect((await all.archive('t', id)).archived_at).not.toBeNull()
  expect((await all.list('t', everything)).items).toEqual([])
  expect((await all.list('t', { ...everything, includeArchived: true })).items).toHaveLength(1)
  await expect(all.update('t', id, update({ name: 'x' }))).rejects.toThrow('is archived')
})

test('Lists go through all pages, newest first, and back', async () => {
  const all = agents()
  const ids: string[] = []
  for (let index = 0; index < 5; index += 1) ids.unshift((await all.create('t', create({ name: `a${index}` }))).id)
  const first = await all.list('t', { ...everything, limit: 2 })
  const second = await all.list('t', { ...everything, limit: 2, page: first.nextPage as string })
  const third = await all.list('t', { ...everything, limit: 2, page: second.nextPage as string })
  expect([first, second, third].flatMap(({ items }) => items.map(({ id }) => id))).toEqual(ids)
  expect([first.prevPage, third.nextPage]).toEqual([null, null])
  const back = await all.list('t', { ...everything, limit: 2, page: third.prevPage as string })
  expect(back.items.map(({ id }) => id)).toEqual(ids.slice(2, 4))
})

test('Versions are listed newest first, page by page', async () => {
  const all = agents()
  const { id } = await all.create('t', create({}))
  for (const name of ['b', 'c']) await all.update('t', id, update({ name }))
  const first = await all.versions('t', id, undefined, 2)
  expect(first.items.map(({ version }) => version)).toEqual([3, 2])
  const second = await all.versions('t', id, first.nextPage as string, 2)
  expect([second.items.map(({ version }) => version), second.nextPage]).toEqual([[1], null])
})

test.each([
  [{ name: '' }, 'name: '],
  [{ model: '--dangerously-skip-permissions' }, 'model'],
  [{ model: { id: '--resume' } }, 'model.id: must begin with a letter or digit'],
  [{ model: { id: 'm', speed: 'fast' } }, 'model.speed: speed "fast" is not supported'],
  [{ model: { id: 'm', colour: 'red' } }, 'model.colour: is not supported'],
  [{ execution_identity: { type: 'aws_role' } }, 'execution_identity.type: must be service_account'],
  [{ tools: [{ type: 'bash_20250124' }] }, 'tools.0.type: type must be agent_toolset_20260401, mcp_toolset or custom'],
  [{ skills: [{ type: 'anthropic', skill_id: 'xlsx' }] }, 'skills.0.type: type must be custom'],
  [{ multiagent: { type: 'coordinator', agents: ['a'] } }, 'multiagent is not supported'],
  [
    { tools: [{ type: 'agent_toolset_20260401', default_config: { permission_policy: { type: 'auto' } } }] },
    'always_allow or always_ask',
  ],
  ...[
    [{ name: 'web_fetch', allowed_domains: [] }, 'allowed_domains: must name a domain'],
    [{ name: 'web_fetch', allowed_domains: ['https://a.example'] }, 'allowed_domains.0: must be a plain host name'],
    [{ name: 'web_fetch', allowed_domains: ['a.example'], blocked_domains: ['b.example'] }, 'does not go with'],
    [{ name: 'web_search', allowed_domains: Array.from({ length: 65 }, (_, n) => `a${n}.example`) }, 'allowed_domains'],
    [{ name: 'bash', blocked_domains: ['a.example'] }, 'only web_search and web_fetch do'],
    [{ name: 'web_search', user_location: { type: 'approximate', city: 'Graz' } }, 'user_location is not supported'],
    [{ name: 'web_fetch', max_content_tokens: 100 }, 'max_content_tokens is not supported'],
  ].map(([config, problem]): [object, string] => [
    { tools: [{ type: 'agent_toolset_20260401', configs: [config] }] },
    problem as string,
  ]),
  [{ tools: [{ type: 'mcp_toolset', mcp_server_name: 'x' }] }, 'names the server "x", which is not in mcp_servers'],
  [{ mcp_servers: [{ type: 'url', name: 'x', url: 'https://x.example' }] }, 'no mcp_toolset in tools uses "x"'],
  [
    { mcp_servers: [{ type: 'url', name: 'x', url: 'file:///etc/passwd' }] },
    'mcp_servers.0.url: must be an http or https address',
  ],
  [{ tools: [{ type: 'custom', name: 'a b', description: 'd', input_schema: { type: 'object' } }] }, 'tools.0.name: '],
  [{ metadata: Object.fromEntries(Array.from({ length: 17 }, (_, n) => [`k${n}`, ''])) }, 'has more than 16 keys'],
  [{ name: 5 }, 'name: must be text, not a number; put it in quotes'],
  [{ name: null }, 'name: has no value; it must be text, or left out'],
  [{ tools: { type: 'custom' } }, 'tools: must be a list, like [a, b], not a map'],
])('%j is refused by name', async (body, problem) => {
  await expect((async () => agents().create('t', create(body)))()).rejects.toThrow(problem)
})

test('The agents of the config are listed behind all others, and change in the config alone', async () => {
  const all = agents('writer', 'reader')
  const { id } = await all.create('t', create({}))
  const first = await all.list('t', { ...everything, limit: 2 })
  const second = await all.list('t', { ...everything, limit: 2, page: first.nextPage as string })
  expect([first, second].map(({ items }) => items.map((agent) => agent.id))).toEqual([
    [id, 'agent_writer'],
    ['agent_reader'],
  ])
  expect(second.nextPage).toBeNull()
  const back = await all.list('t', { ...everything, limit: 2, page: second.prevPage as string })
  expect(back.items.map((agent) => agent.id)).toEqual([id, 'agent_writer'])
  expect(await all.retrieve('t', 'agent_writer')).toMatchObject({ name: 'writer', system: 'From the config.' })
  await expect(all.update('t', 'agent_writer', update({ name: 'x' }))).rejects.toThrow('changes there alone')
})
