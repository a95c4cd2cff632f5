import { createSdkMcpServer, tool } from '@anthropic-ai/claude-agent-sdk'
import { expect, test } from 'vitest'
import { z } from 'zod'
import type { AgentOptions } from '../../src/index.ts'
import type { RecordedRequest } from '../../src/simulator/server.ts'
import { agents, asked, openSite, say } from '../fixtures/real-pool.ts'

const server = () =>
  createSdkMcpServer({
    name: 'host',
    tools: [
      tool('next', 'Counts on', { from: z.number() }, ({ from }) =>
        Promise.resolve({ content: [{ type: 'text', text: `then ${from + 1}` }] }),
      ),
    ],
  })

interface Body {
  [name: string]: unknown
  messages: { role: string; content: string | { type: string; text?: string }[] }[]
  tools: { name: string }[]
}

const bodyOf = (request: RecordedRequest | undefined): Body => request?.body as Body

/** Less what differs from process to process, and the marks of what is cached. */
function compared({ metadata: _, messages, ...rest }: Body): object {
  const prompts = messages.filter(({ role }) => role !== 'system')
  return {
    ...rest,
    prompts: prompts.map(({ role, content }) => [
      role,
      typeof content === 'string' ? [content] : content.map(({ text }) => text),
    ]),
  }
}

test('A lean process has MCP tools and asks its host; what its model gets lacks only the reminders; its conversation goes on in a plain one', async () => {
  const site = await openSite()
  const questions: string[] = []
  const options: AgentOptions = {
    tools: [],
    systemPrompt: 'Count.',
    mcpServers: () => ({ host: server() }),
    canUseTool: (name, input) => {
      questions.push(name)
      return Promise.resolve({ behavior: 'allow', updatedInput: input })
    },
  }
  const pool = await site.pool({ agents: agents({ ...options, lean: true }) })
  const session = await pool.session('one', { agent: 'a' })
  const call = '@sim tool mcp__host__next {"from":4}'
  expect((await say(session, `first\n${call}`)).text).toContain('then 5')
  expect(questions).toEqual(['mcp__host__next'])
  const events = await session.history({ limit: 100 })
  const calls = events.filter(({ event: { type } }) => type === 'agent.mcp_tool_use')
  expect(calls).toMatchObject([{ event: { name: 'next', evaluated_permission: 'ask' } }])

  pool.updateAgents(agents(options))
  const { text, warmth } = await say(session, 'second')
  expect(text).toContain('[turn 2]')
  expect(warmth).toBe('resumed')

  const [lean] = asked(site, 'first')
  const before = asked(site, 'first').length
  await say(await pool.session('two', { agent: 'a' }), `first\n${call}`)
  const ordinary = asked(site, 'first')[before]
  expect(compared(bodyOf(lean))).toEqual(compared(bodyOf(ordinary)))
  expect(bodyOf(lean).messages.map(({ role }) => role)).toEqual(['user'])
  expect(bodyOf(ordinary).messages.map(({ role }) => role)).toEqual(['user', 'system'])
})

test('A lean process has Bash, Edit and Read', async () => {
  const site = await openSite()
  const pool = await site.pool({ agents: agents({ lean: true, allowedTools: ['Bash'] }) })
  const session = await pool.session('one', { agent: 'a' })
  expect((await say(session, 'words\n@sim bash echo $((6 * 7))')).text).toContain('42')
  expect(bodyOf(asked(site, 'words')[0]).tools.map(({ name }) => name)).toEqual(['Bash', 'Edit', 'Read'])
})
