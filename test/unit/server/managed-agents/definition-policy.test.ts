import { describe, expect, test } from 'vitest'
import { hashKey } from '../../../../src/server/auth/authenticator.ts'
import { internalTarget } from '../../../../src/addresses.ts'
import { define } from '../../../../src/server/managed-agents/definition.ts'
import type { AgentDefinition } from '../../../../src/server/managed-agents/definition.ts'
import { DefinitionPolicy } from '../../../../src/server/managed-agents/definition-policy.ts'
import type { Define } from '../../../../src/server/managed-agents/definition-policy.ts'
import { agentCreate, parse } from '../../../../src/server/managed-agents/schema.ts'
import { readServerConfig } from '../../../../src/server/options.ts'
import { served } from '../../../fixtures/server.ts'
import type { ServedFakes } from '../../../fixtures/server.ts'

const KEYS = { acme: 'key-of-acme-0123456789abcdef', other: 'key-of-other-0123456789abcdef' }
const keys = Object.entries(KEYS).map(([tenant, key]) => ({ tenant, sha256: hashKey(key) }))
const MODEL = 'claude-sonnet-5'
const PLAIN = { name: 'Helper', model: MODEL }
const BASH = { ...PLAIN, tools: [{ type: 'agent_toolset_20260401' }] }
const onServer = (url: string): object => ({
  ...PLAIN,
  tools: [{ type: 'mcp_toolset', mcp_server_name: 'x' }],
  mcp_servers: [{ type: 'url', name: 'x', url }],
})

type Answer = { status: number; body: { id?: string; error?: { type: string; message: string } } }

async function send(
  { ask }: ServedFakes,
  path: string,
  body: object,
  tenant: keyof typeof KEYS = 'acme',
): Promise<Answer> {
  const response = await ask('POST', path, { body, headers: { 'x-api-key': KEYS[tenant] } })
  return { status: response.status, body: (await response.json()) as Answer['body'] }
}

const definition = (body: object): AgentDefinition => define(parse(agentCreate, body))

describe('Who may define agents over /v1', () => {
  test('Without keys the one tenant may, whatever it defines', async () => {
    const { ask } = await served()
    const body = { ...onServer('http://127.0.0.1:9000/mcp') }
    expect((await ask('POST', '/v1/agents', { body })).status).toBe(200)
  })

  test('Once keys are set no tenant may, and the agents of the config are always there', async () => {
    const all = await served({ keys })
    expect(await send(all, '/v1/agents', PLAIN)).toMatchObject({
      status: 403,
      body: { error: { type: 'permission_error', message: expect.stringContaining('server.managedAgents.define') } },
    })
    const session = { agent: 'agent_assistant', environment_id: 'env_local' }
    expect((await send(all, '/v1/sessions', session)).status).toBe(200)
  })

  test('Keys that come while the server runs close it', async () => {
    const all = await served()
    all.server.update({ keys })
    expect((await send(all, '/v1/agents', PLAIN)).status).toBe(403)
  })

  test('A tenant may have a rule of its own', async () => {
    const all = await served({ keys, managedAgents: { tenants: { other: { define: true } } } })
    expect((await send(all, '/v1/agents', BASH, 'other')).status).toBe(200)
    expect((await send(all, '/v1/agents', BASH, 'acme')).status).toBe(403)
    const closed = await served({ keys, managedAgents: { define: true, tenants: { other: { define: false } } } })
    expect((await send(closed, '/v1/agents', BASH, 'other')).status).toBe(403)
    expect((await send(closed, '/v1/agents', BASH, 'acme')).status).toBe(200)
  })

  test('A change, an override and an update of a session are held to the same rule', async () => {
    const all = await served({ keys, managedAgents: { define: { models: [MODEL] } } })
    const { id } = (await send(all, '/v1/agents', PLAIN)).body
    const { tools } = BASH
    expect((await send(all, `/v1/agents/${id}`, { tools })).status).toBe(403)
    expect((await send(all, `/v1/agents/${id}`, { model: 'claude-opus-5-5' })).status).toBe(403)
    const begin = { agent: { type: 'agent_with_overrides', id, tools }, environment_id: 'env_local' }
    expect((await send(all, '/v1/sessions', begin)).status).toBe(403)
    const session = (await send(all, '/v1/sessions', { agent: id, environment_id: 'env_local' })).body
    expect((await send(all, `/v1/sessions/${session.id}`, { agent: { tools } })).status).toBe(403)
    expect((await send(all, `/v1/sessions/${session.id}`, { title: 'x' })).status).toBe(200)
  })

  test('A session whose agent is not allowed any more can be read and takes no message', async () => {
    const all = await served()
    const begun = await all.ask('POST', '/v1/agents', { body: PLAIN })
    const { id } = (await begun.json()) as { id: string }
    const made = await all.ask('POST', '/v1/sessions', { body: { agent: id, environment_id: 'env_local' } })
    const session = (await made.json()) as { id: string }
    all.server.update({ keys: [{ tenant: 'default', sha256: hashKey(KEYS.acme) }] })
    const headers = { 'x-api-key': KEYS.acme }
    expect((await all.ask('GET', `/v1/sessions/${session.id}`, { headers })).status).toBe(200)
    const events = [{ type: 'user.message', content: [{ type: 'text', text: 'hello' }] }]
    expect((await send(all, `/v1/sessions/${session.id}/events`, { events })).status).toBe(403)
  })
})

describe('What a tenant may define', () => {
  const policy = (rules: Define): DefinitionPolicy =>
    new DefinitionPolicy({ define: rules }, () => false, { resolve: () => Promise.resolve([]) })

  test.each<[string, Define, object, string | undefined]>([
    ['a tool that is not named', { models: 'any', tools: ['read'] }, BASH, 'does not allow bash'],
    [
      'a tool that is named',
      { models: 'any', tools: ['read'] },
      {
        ...PLAIN,
        tools: [
          {
            type: 'agent_toolset_20260401',
            default_config: { enabled: false },
            configs: [{ name: 'read', enabled: true }],
          },
        ],
      },
      undefined,
    ],
    ['any tool', { models: 'any', tools: 'any' }, BASH, undefined],
    ['a model that is not named', { models: ['claude-haiku-5'] }, PLAIN, 'does not allow claude-sonnet-5'],
    ['a server where none is allowed', { models: 'any' }, onServer('https://mcp.example/'), 'does not allow https://'],
    [
      'a host that is named',
      { models: 'any', mcp: { allow: ['mcp.example'] } },
      onServer('https://mcp.example/'),
      undefined,
    ],
    [
      'another port',
      { models: 'any', mcp: { allow: ['mcp.example:443'] } },
      onServer('https://mcp.example:8443/'),
      'not allow',
    ],
    [
      'the default port',
      { models: 'any', mcp: { allow: ['mcp.example:443'] } },
      onServer('https://mcp.example/'),
      undefined,
    ],
    ['a name below', { models: 'any', mcp: { allow: ['*.example'] } }, onServer('https://a.b.example/'), undefined],
    [
      'a name that only ends so',
      { models: 'any', mcp: { allow: ['*.example'] } },
      onServer('https://badexample/'),
      'not allow',
    ],
    [
      'an internal address by "any"',
      { models: 'any', mcp: { allow: 'any' } },
      onServer('http://10.1.2.3/'),
      'not a public',
    ],
    [
      'an internal address by name',
      { models: 'any', mcp: { allow: ['10.1.2.3'] } },
      onServer('http://10.1.2.3/'),
      undefined,
    ],
    ['an internal address with define: true', true, onServer('http://localhost:8080/'), 'is a name of this machine'],
    ['a public address with define: true', true, onServer('https://mcp.example/'), undefined],
  ])('%s', async (_what, rules, body, problem) => {
    const checked = policy(rules).check('t', definition(body))
    if (problem === undefined) await expect(checked).resolves.toBeUndefined()
    else await expect(checked).rejects.toThrow(problem)
  })

  test('isolation.egress also rules a tenant’s MCP servers, unless an entry of the operator names them', async () => {
    const asked: string[] = []
    const closed = (rules: Define): DefinitionPolicy =>
      new DefinitionPolicy({ define: rules }, () => false, {
        resolve: () => Promise.resolve([]),
        allowsEgress: (tenant, url) => {
          asked.push(`${tenant} ${url.href}`)
          return url.hostname === 'open.example'
        },
      })
    const problem = 'isolation.egress of this server does not allow https://mcp.example/ here'
    for (const rules of [true, { models: 'any', mcp: { allow: 'any' } }] as const) {
      await expect(closed(rules).check('t', definition(onServer('https://mcp.example/')))).rejects.toThrow(problem)
      await closed(rules).check('t', definition(onServer('https://open.example/')))
    }
    expect(closed(true).permits('t', definition(onServer('https://mcp.example/')))).toBe(false)
    await closed({ models: 'any', mcp: { allow: ['mcp.example'] } }).check(
      't',
      definition(onServer('https://mcp.example/')),
    )
    expect(new Set(asked)).toEqual(new Set(['t https://mcp.example/', 't https://open.example/']))
  })

  test('a server must be at a public address unless its entry names it, or no key is asked for', () => {
    const url = new URL('https://mcp.example/')
    expect(policy(true).mustBePublic('t', url)).toBe(true)
    expect(policy({ models: 'any', mcp: { allow: 'any' } }).mustBePublic('t', url)).toBe(true)
    expect(policy({ models: 'any', mcp: { allow: ['mcp.example'] } }).mustBePublic('t', url)).toBe(false)
    expect(new DefinitionPolicy({}, () => true).mustBePublic('t', url)).toBe(false)
  })

  test.each([
    ['http://127.0.0.1/'],
    ['http://2130706433/'],
    ['http://0x7f.1/'],
    ['http://0/'],
    ['http://[::1]/'],
    ['http://[::ffff:169.254.169.254]/'],
    ['http://169.254.169.254/latest/meta-data/'],
    ['http://192.168.1.1/'],
    ['http://172.31.0.9/'],
    ['http://100.64.0.1/'],
    ['http://[fd00::1]/'],
    ['http://[fe80::1]/'],
    ['http://metadata.google.internal/'],
    ['http://localhost./'],
    ['http://db/'],
  ])('%s is not public', async (url) => {
    expect(await internalTarget(new URL(url), () => Promise.resolve([]))).toBeDefined()
  })

  test('a name is as public as all of its addresses', async () => {
    const url = new URL('https://mcp.example/')
    expect(await internalTarget(url, () => Promise.resolve(['93.184.216.34', '10.0.0.1']))).toContain(
      'resolves to 10.0.0.1',
    )
    expect(await internalTarget(url, () => Promise.resolve(['93.184.216.34', '2606:2800::1']))).toBeUndefined()
  })
})

test.each([
  [{ define: { tools: ['read'] } }, 'server.managedAgents.define'],
  [{ define: { models: 'any', tools: ['shell'] } }, 'server.managedAgents.define'],
  [{ define: { models: 'any', mcp: { allow: ['https://mcp.example/'] } } }, 'server.managedAgents.define'],
  [{ tenants: { a: {} } }, 'server.managedAgents.tenants.a: has none of define, messages and webhooks'],
])('The config refuses managedAgents: %j', (managedAgents, path) => {
  expect(() => readServerConfig({ managedAgents })).toThrow(path)
})

test('The name of another tenant’s agent begins no session, nor does one’s own', async () => {
  const all = await served({ keys, managedAgents: { define: true } })
  const { id } = (await send(all, '/v1/agents', PLAIN)).body
  await send(all, '/v1/sessions', { agent: id, environment_id: 'env_local' })
  for (const tenant of ['acme', 'other'] as const) {
    const answer = await send(all, `/sessions/s/messages?agent=${id}.v1`, { prompt: 'hello' }, tenant)
    expect(answer).toMatchObject({
      status: 400,
      body: { error: { message: expect.stringContaining('there is no agent') } },
    })
  }
})
