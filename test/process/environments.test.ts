import { existsSync } from 'node:fs'
import { expect, test } from 'vitest'
import { official, readTurn, wordsOf } from '../fixtures/official-client.ts'
import { agents, openSite } from '../fixtures/real-pool.ts'

const HAS_BRIDGE = existsSync('/usr/bin/bwrap') && existsSync('/usr/bin/socat')

test.runIf(HAS_BRIDGE)('an agent in an environment with a limited network reaches its hosts alone', async () => {
  const site = await openSite()
  const strict = agents({ isolation: { egress: 'none' } })['a'] ?? {}
  const pool = await site.pool({ isolation: { mode: 'bubblewrap' }, agents: { ...agents(), strict } })
  const { client } = official(pool)
  const { agents: made, environments, sessions } = client.beta
  const { id: environment_id, config } = await environments.create({
    name: 'Limited',
    config: { type: 'cloud', networking: { type: 'limited', allowed_hosts: ['allowed.invalid'] } },
  })
  const networking = { allowed_hosts: ['allowed.invalid'], allow_mcp_servers: false, allow_package_managers: false }
  expect(config).toMatchObject({ networking })
  const tools = [{ type: 'agent_toolset_20260401' as const }]
  const agent = await made.create({ name: 'Runner', model: 'claude-sonnet-5', tools })
  const limited = await sessions.create({ agent: agent.id, environment_id })
  const free = await sessions.create({ agent: agent.id, environment_id: 'env_local' })
  const { port } = new URL(site.simulator.url)
  const say = async (id: string, text: string): Promise<string | undefined> => {
    const stream = await sessions.events.stream(id)
    await sessions.events.send(id, { events: [{ type: 'user.message', content: [{ type: 'text', text }] }] })
    return wordsOf(await readTurn(stream)).at(-1)
  }
  const direct = `(exec 3<>/dev/tcp/127.0.0.1/${port}) 2>/dev/null && echo REACHED || echo closed`
  const said = await say(
    limited.id,
    `@sim bash curl -s http://other.invalid/; echo; curl -s http://allowed.invalid/; echo; ${direct}`,
  )
  expect(said).toContain('other.invalid:80 is not in isolation.egress.allow')
  expect(said).toContain('allowed.invalid does not resolve')
  expect(said).toContain('closed')
  expect(await say(free.id, `@sim bash ${direct}`)).toContain('REACHED')
  // What the environment says later holds for later sessions.
  await environments.update(environment_id, { config: { type: 'cloud', networking: { type: 'unrestricted' } } })
  expect(await say(limited.id, `@sim bash ${direct}`)).toContain('closed')
  await environments.update(environment_id, { config: { type: 'cloud', networking: { type: 'limited' } } })
  await expect(sessions.create({ agent: 'agent_strict', environment_id })).rejects.toThrow(
    'an isolation.egress of its own',
  )
  const servers = [{ type: 'url' as const, name: 'shop', url: 'https://shop.example/mcp' }]
  const overrides = { mcp_servers: servers, tools: [{ type: 'mcp_toolset' as const, mcp_server_name: 'shop' }] }
  const shopping = { agent: { type: 'agent_with_overrides' as const, id: agent.id, ...overrides }, environment_id }
  await expect(sessions.create(shopping)).rejects.toThrow('does not let \\"shop\\" through')
})

test.runIf(HAS_BRIDGE)('a limited network is refused if its operator does not let agents reach its hosts', async () => {
  const site = await openSite()
  const pool = await site.pool({ isolation: { mode: 'bubblewrap', egress: { allow: ['a.example:443'] } } })
  const { environments } = official(pool).client.beta
  const limit = (networking: object) =>
    environments.create({
      name: 'x',
      config: { type: 'cloud', networking: { type: 'limited', ...networking } } as never,
    })
  await limit({ allowed_hosts: ['a.example'] })
  await expect(limit({ allowed_hosts: ['b.example'] })).rejects.toThrow('does not let agents reach b.example')
  await expect(limit({ allow_package_managers: true })).rejects.toThrow('reach none of their registries')
})
