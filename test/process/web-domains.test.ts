import { expect, test } from 'vitest'
import { official, readTurn } from '../fixtures/official-client.ts'
import { openSite } from '../fixtures/real-pool.ts'

test('web tools of an agent stay within its domains, and searches are counted', async () => {
  const site = await openSite()
  const pool = await site.pool()
  const { client } = official(pool)
  const agent = await client.beta.agents.create({
    name: 'Reader',
    model: 'claude-sonnet-5',
    tools: [
      {
        type: 'agent_toolset_20260401',
        configs: [
          { name: 'web_fetch', allowed_domains: ['docs.example'] },
          { name: 'web_search', allowed_domains: ['docs.example'] },
        ],
      },
    ],
  })
  const { id } = await client.beta.sessions.create({ agent: agent.id, environment_id: 'env_local' })
  const say = async (text: string) => {
    const stream = await client.beta.sessions.events.stream(id)
    await client.beta.sessions.events.send(id, {
      events: [{ type: 'user.message', content: [{ type: 'text', text }] }],
    })
    return readTurn(stream)
  }
  const fetched = await say('@sim tool WebFetch {"url":"https://evil.example/","prompt":"read"}')
  expect(JSON.stringify(fetched)).toContain('this agent may not fetch from evil.example')
  await say('@sim tool WebSearch {"query":"weather","allowed_domains":["evil.example","sub.docs.example"]}')
  const asked = site.simulator.requests.map(({ body }) => JSON.stringify(body))
  const searches = asked.filter((body) => body.includes('"type":"web_search_'))
  expect(searches.length).toBeGreaterThan(0)
  for (const body of searches) expect(body).toContain('"allowed_domains":["sub.docs.example"]')
  const { usage } = await client.beta.sessions.retrieve(id)
  expect(usage.server_tool_use).toEqual({ web_search_requests: searches.length })
})
