import { expect, onTestFinished, test } from 'vitest'
import { SqliteApiStore } from '../../../../src/server/api-store/sqlite.ts'
import { passing, testHosts } from '../../../fixtures/hosts.ts'
import type { TestHost } from '../../../fixtures/hosts.ts'

interface Made {
  id: string
}

/** Two hosts that share what the API keeps. The first one answers no prompt. */
async function twoHosts() {
  const apiStore = new SqliteApiStore(':memory:')
  onTestFinished(() => apiStore.close())
  const { hosts, ...all } = await testHosts(2, { options: { apiStore } })
  const [first, second] = hosts as [TestHost, TestHost]
  first.driver.onStart = (process) => (process.answersAtOnce = false)
  const lose = async (): Promise<void> => {
    await all.store.lose(first.pool.hosts().find(({ isThisHost }) => isThisHost)?.id ?? '')
    await all.clock.advance(1_200)
  }
  return { ...all, first, second, lose }
}

const post = async (host: TestHost, path: string, body: object): Promise<Made> =>
  (await (await host.ask('POST', path, { body })).json()) as Made

const message = (text: string): object => ({ events: [{ type: 'user.message', content: [{ type: 'text', text }] }] })

test('An agent that was made at a host that died runs at the next one, and is listed there', async () => {
  const { first, second, clock, lose } = await twoHosts()
  const definition = { name: 'Helper', model: 'claude-sonnet-5', system: 'You are of the first host.' }
  const { id: agent } = await post(first, '/v1/agents', definition)
  const { id } = await post(first, '/v1/sessions', { agent, environment_id: 'env_local' })
  await post(first, `/v1/sessions/${id}/events`, message('begun'))
  await first.driver.until(() => first.driver.processes[0]?.unanswered === 1)
  await lose()
  const sent = await passing(clock, second.ask('POST', `/v1/sessions/${id}/events`, { body: message('then') }))
  expect(sent.status).toBe(200)
  await passing(
    clock,
    second.driver.until(() => second.driver.processes.some(({ prompts }) => prompts.length === 1)),
  )
  const options = second.driver.processes[0]?.spec.options
  expect(JSON.stringify(options?.systemPrompt)).toContain('You are of the first host.')
  const again = await post(second, '/v1/sessions', { agent, environment_id: 'env_local' })
  expect(again.id).toMatch(/^sesn_/)
  const listed = (await (await second.ask('GET', '/v1/agents')).json()) as { data: Made[] }
  expect(listed.data.map((made) => made.id)).toContain(agent)
})
