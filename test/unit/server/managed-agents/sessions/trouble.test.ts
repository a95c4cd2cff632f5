import type Anthropic from '@anthropic-ai/sdk'
import { expect, test } from 'vitest'
import type { SDKMessage } from '../../../../../src/driver/driver.ts'
import type { FakeProcess } from '../../../../../src/testing/index.ts'
import { NO_SPARES, fakes } from '../../../../fixtures/fakes.ts'
import type { Fakes } from '../../../../fixtures/fakes.ts'
import { official } from '../../../../fixtures/official-client.ts'

const RETRY = {
  type: 'system',
  subtype: 'api_retry',
  error: 'overloaded',
  error_status: 529,
  attempt: 1,
  max_retries: 10,
} as unknown as SDKMessage

type Setting = Fakes & { client: Anthropic; id: string; process: FakeProcess }

/** A session whose turn has begun. */
async function working(servers: FakeProcess['servers'] = []): Promise<Setting> {
  const mcpServers = { shop: { command: 'true' } }
  const all = await fakes({ agents: { assistant: { ...NO_SPARES, ...(servers.length === 0 ? {} : { mcpServers }) } } })
  const { client } = official(all.pool)
  const { id } = await client.beta.sessions.create({ agent: 'agent_assistant', environment_id: 'env_local' })
  all.driver.onStart = (process) => {
    process.answersAtOnce = false
    process.servers = servers
  }
  await client.beta.sessions.events.send(id, {
    events: [{ type: 'user.message', content: [{ type: 'text', text: 'work' }] }],
  })
  const process = await all.driver.process(0)
  await all.driver.until(() => process.unanswered === 1)
  return { ...all, client, id, process }
}

/** Events without a waiting caller are kept a moment later. */
const statusOf = async ({ client, id, clock }: Setting): Promise<string> => {
  await clock.advance(100)
  return (await client.beta.sessions.retrieve(id)).status
}

const idsOf = async ({ client }: Setting, status: 'idle' | 'running' | 'rescheduling' | 'terminated') =>
  (await client.beta.sessions.list({ statuses: [status] })).data.map(({ id }) => id)

test('A session whose model is asked again is rescheduling until the model answers', async () => {
  const all = await working()
  expect(await statusOf(all)).toBe('running')
  all.process.say(RETRY)
  all.process.say(RETRY)
  await expect.poll(() => statusOf(all)).toBe('rescheduling')
  expect(await idsOf(all, 'rescheduling')).toEqual([all.id])
  expect([await idsOf(all, 'running'), await idsOf(all, 'idle')]).toEqual([[], []])
  await expect(all.client.beta.sessions.archive(all.id)).rejects.toThrow('is running; interrupt it first')
  all.process.sayText('here')
  await expect.poll(() => statusOf(all)).toBe('running')
  all.process.finish()
  await expect.poll(() => statusOf(all)).toBe('idle')
  const events = (await all.client.beta.sessions.events.list(all.id)).data
  expect(
    events.map(({ type }) => type).filter((type) => type.startsWith('session.s') || type === 'session.error'),
  ).toEqual([
    'session.status_running',
    'session.error',
    'session.status_rescheduled',
    'session.error',
    'session.status_running',
    'session.status_idle',
  ])
})

test('A session whose model never answers is idle at the end, and was not running again', async () => {
  const all = await working()
  all.process.say(RETRY)
  all.process.finish({ subtype: 'error_during_execution' })
  await expect.poll(() => statusOf(all)).toBe('idle')
  const events = (await all.client.beta.sessions.events.list(all.id, { types: ['session.status_running'] })).data
  expect(events).toHaveLength(1)
})

test('No session is ever terminated', async () => {
  const all = await working()
  expect(await idsOf(all, 'terminated')).toEqual([])
})

test.each([
  [{ name: 'shop', status: 'failed' as const, error: 'refused' }, 'mcp_connection_failed_error', 'refused'],
  [{ name: 'shop', status: 'needs-auth' as const }, 'mcp_authentication_failed_error', 'asks for a login'],
])('A session is told of an MCP server that cannot be used: %j', async (server, type, words) => {
  const all = await working([server])
  const errors = async () =>
    (await all.client.beta.sessions.events.list(all.id, { types: ['session.error'] })).data.map((event) =>
      event.type === 'session.error' ? event.error : undefined,
    )
  await expect
    .poll(async () => {
      await all.clock.advance(5_000)
      return errors()
    })
    .toEqual([
      {
        type,
        mcp_server_name: 'shop',
        message: expect.stringContaining(words) as string,
        retry_status: { type: 'retrying' },
      },
    ])
  expect(await statusOf(all)).toBe('running')
})
