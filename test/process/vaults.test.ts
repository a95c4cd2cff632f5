import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { placesOf } from '../fixtures/credentials.ts'
import { guardedMcpServer } from '../fixtures/http-mcp-server.ts'
import { official, readTurn, wordsOf } from '../fixtures/official-client.ts'
import { MODEL, agents, openSite, until, workerOf } from '../fixtures/real-pool.ts'

const secret = (): string => `far-secret-${randomBytes(16).toString('hex')}`

test.runIf(process.platform === 'linux')(
  'an agent uses an MCP server with the secret of a vault, which no process, argument or file has; without it the session says so',
  async () => {
    const site = await openSite()
    const [token, wrong] = [secret(), secret()]
    const { url } = await guardedMcpServer(`Bearer ${token}`, 'look')
    const pool = await site.pool({ agents: agents() })
    const keys = [{ id: 'one', key: randomBytes(32).toString('base64') }]
    const resourceFile = join(site.root, 'api.sqlite')
    const { beta } = official(pool, { resourceFile, managedAgents: { vaults: { keys } } }).client
    const agent = await beta.agents.create({
      name: 'Shop',
      model: MODEL,
      tools: [
        {
          type: 'mcp_toolset',
          mcp_server_name: 'shop',
          default_config: { permission_policy: { type: 'always_allow' } },
        },
      ],
      mcp_servers: [{ type: 'url', name: 'shop', url }],
    })
    const begin = async (bearer: string): Promise<string> => {
      const vault = await beta.vaults.create({ display_name: 'a' })
      const auth = { type: 'static_bearer' as const, token: bearer, mcp_server_url: url }
      await beta.vaults.credentials.create(vault.id, { auth })
      const vault_ids = [vault.id]
      return (await beta.sessions.create({ agent: agent.id, environment_id: 'env_local', vault_ids })).id
    }
    const ask = async (id: string) => {
      const stream = await beta.sessions.events.stream(id)
      const text = 'hello\n@sim tool mcp__shop__look {}'
      await beta.sessions.events.send(id, { events: [{ type: 'user.message', content: [{ type: 'text', text }] }] })
      return readTurn(stream)
    }
    const id = await begin(token)
    const told = await ask(id)
    expect(told.flatMap((event) => (event.type === 'agent.mcp_tool_result' ? event.content : []))).toMatchObject([
      { type: 'text', text: 'look' },
    ])
    expect(wordsOf(told).join()).toContain('look')
    expect(workerOf(pool, id).pid).toBeGreaterThan(0)
    const other = await begin(wrong)
    await ask(other)
    await until(async () => {
      const { data } = await beta.sessions.events.list(other)
      const errors = data.flatMap((event) => (event.type === 'session.error' ? event.error : []))
      expect(errors).toMatchObject([{ type: 'mcp_authentication_failed_error', mcp_server_name: 'shop' }])
    })
    for (const text of [token, wrong]) expect(await placesOf(text, [site.root])).toEqual([])
  },
)
