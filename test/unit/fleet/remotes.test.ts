import { expect, test } from 'vitest'
import type { Agent } from '../../../src/agents/agent.ts'
import type { Options } from '../../../src/driver/driver.ts'
import { StartError } from '../../../src/errors.ts'
import type { Credentials } from '../../../src/fleet/credentials.ts'
import { startedWith, wayOut } from '../../../src/fleet/remotes.ts'
import type { Remote } from '../../../src/options/remotes.ts'

const REMOTE: Remote = { id: 'remote:app', mount: '/app', prefix: '', url: 'https://app.example/', headers: {} }
const SHOP: Remote = { id: 'mcp:shop', mount: '/shop', prefix: '/mcp', url: 'https://shop.example/mcp', headers: {} }

const PLACES = [['app.example:443'], ['*:443']]

test.each([
  ['everything is open', undefined, [REMOTE], undefined],
  ['nobody has a list', [], [REMOTE], undefined],
  ['every list has a place', PLACES, [], PLACES],
  ['one list has none', [['app.example:443'], []], [], undefined],
  ['one list has none, and there is a remote', [[]], [REMOTE], [[]]],
] as const)('Where %s, a process has this way out: %j', (_, lists, remotes, expected) => {
  expect(wayOut(lists, remotes)).toEqual(expected)
})

const AGENT = { name: 'helper', remotes: [] as unknown } as Agent
const WITH_REMOTE = { name: 'helper', remotes: [{ ...REMOTE, name: 'app' }] as unknown } as Agent

const OPTIONS: Options = {
  model: 'm',
  mcpServers: {
    shop: { type: 'http', url: 'https://shop.example/mcp/x', headers: { authorization: 'secret' } },
    tool: { command: 'tool' },
  },
}

const ENV = { A: 'b' }
const ACCESS = { base: 'http://127.0.0.1:1', tokens: { 'remote:app': 'car-app', 'mcp:shop': 'car-shop' } }

const ready = Promise.resolve()
const granted = (more: Partial<ReturnType<Credentials['grant']>>): ReturnType<Credentials['grant']> => ({
  env: {},
  ready,
  ...more,
})

const NONE = new Map<string, Remote>()

test('Without remotes a process gets its options, and what its way to the model needs', () => {
  const start = { agent: AGENT, options: OPTIONS, servers: NONE, env: ENV }
  expect(startedWith({ ...start, granted: undefined })).toEqual({ options: OPTIONS, env: ENV })
  const lateEnv = Promise.resolve({ PORT: '1' })
  expect(startedWith({ ...start, granted: granted({ lateEnv }) })).toEqual({
    options: OPTIONS,
    env: ENV,
    prepared: ready,
    lateEnv,
  })
  expect(startedWith({ ...start, granted: granted({}) })).not.toHaveProperty('lateEnv')
})

test.each([undefined, granted({})])('Remotes need the credential proxy: without it the start fails', async (grant) => {
  const { prepared } = startedWith({
    agent: WITH_REMOTE,
    options: OPTIONS,
    servers: NONE,
    env: ENV,
    granted: grant,
  })
  await expect(prepared).rejects.toThrow(StartError)
  await expect(prepared).rejects.toThrow('agents.helper.remotes need the credential proxy')
})

test('A process finds its remotes by variables, beside those of its way to the model', async () => {
  const remotes = Promise.resolve(ACCESS)
  const lateEnv = Promise.resolve({ PORT: '1' })
  const start = startedWith({
    agent: WITH_REMOTE,
    options: OPTIONS,
    servers: NONE,
    env: ENV,
    granted: granted({ remotes, lateEnv }),
  })
  expect(start).toMatchObject({ options: OPTIONS, env: ENV, prepared: ready })
  expect(start).not.toHaveProperty('lateOptions')
  expect(await start.lateEnv).toMatchObject({ PORT: '1', REMOTE_URL_APP: 'http://agent:car-app@127.0.0.1:1/app' })
})

test('An MCP server with a credential comes later, at a local address, and its credential not at all', async () => {
  const start = startedWith({
    agent: AGENT,
    options: OPTIONS,
    servers: new Map([['shop', SHOP]]),
    env: ENV,
    granted: granted({ remotes: Promise.resolve(ACCESS) }),
  })
  expect(start.options).toEqual({ model: 'm', mcpServers: { tool: { command: 'tool' } } })
  expect(JSON.stringify([start.options, await start.lateOptions, await start.lateEnv])).not.toContain('secret')
  expect(await start.lateOptions).toMatchObject({
    mcpServers: { shop: { headers: { authorization: 'Bearer car-shop' } }, tool: { command: 'tool' } },
  })
})

test('Remotes that do not come about fail the start and nothing else', async () => {
  const start = startedWith({
    agent: AGENT,
    options: OPTIONS,
    servers: new Map([['shop', SHOP]]),
    env: ENV,
    granted: granted({ remotes: Promise.reject(new Error('no proxy')) }),
  })
  await new Promise((resolve) => void setImmediate(resolve))
  await expect(start.lateEnv).rejects.toThrow('no proxy')
  await expect(start.lateOptions).rejects.toThrow('no proxy')
})
