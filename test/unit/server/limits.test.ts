import { expect, test } from 'vitest'
import { hashKey } from '../../../src/server/auth/authenticator.ts'
import { testHosts } from '../../fixtures/hosts.ts'
import { Frames, served } from '../../fixtures/server.ts'

const A = { 'x-api-key': 'cap_aaaaaaaaaaaaaaaaaaaaaaaaaa' }
const B = { 'x-api-key': 'cap_bbbbbbbbbbbbbbbbbbbbbbbbbb' }
const keys = [
  { tenant: 'a', sha256: hashKey(A['x-api-key']) },
  { tenant: 'b', sha256: hashKey(B['x-api-key']) },
]
const body = { prompt: 'hello' }

test('a tenant that asks too often is told when to come back, and the others notice nothing', async () => {
  const { ask, clock } = await served({ keys, tenantLimits: { requestsPerMinute: 60 } })
  const statuses: number[] = []
  for (let number = 0; number < 7; number += 1)
    statuses.push((await ask('GET', '/sessions/s/messages', { headers: A })).status)
  expect(statuses).toEqual([404, 404, 404, 404, 404, 404, 429])
  expect((await ask('GET', '/sessions/s/messages', { headers: B })).status).toBe(404)
  const refused = await ask('GET', '/sessions/s/messages', { headers: A })
  expect(Number(refused.headers.get('retry-after-ms'))).toBeGreaterThanOrEqual(1_000)
  await clock.advance(800)
  const sooner = await ask('GET', '/sessions/s/messages', { headers: A })
  expect(Number(sooner.headers.get('retry-after-ms'))).toBeLessThan(1_000)
  await clock.advance(200)
  expect((await ask('GET', '/sessions/s/messages', { headers: A })).status).toBe(404)
})

test('a tenant has no more sessions than it may, counting those of before', async () => {
  const { ask, pool } = await served({ keys, tenantLimits: { sessions: 2 } })
  const old = await pool.session('old', { tenant: 'a', agent: 'assistant' })
  const post = async (path: string): Promise<number> => {
    const response = await ask('POST', path, { body, headers: A })
    if (response.status === 200) await new Frames(response).rest()
    else await response.body?.cancel()
    return response.status
  }
  expect([await post('/sessions/new/messages'), await post('/sessions/more/messages')]).toEqual([200, 429])
  expect(await post('/sessions/old/messages?agent=assistant')).toBe(200)
  await old.delete()
  expect(await post('/sessions/more/messages')).toBe(200)
})

test('a tenant that begins many sessions at once gets as many as it may, and failed beginnings take no place', async () => {
  const { ask, pool } = await served({ keys, tenantLimits: { sessions: 3 } })
  const headers = A
  const create = async (agent: string): Promise<number> =>
    (await ask('POST', '/v1/sessions', { body: { agent, environment_id: 'env_local' }, headers })).status
  const post = async (key: string, query = ''): Promise<number> => {
    const response = await ask('POST', `/sessions/${key}/messages${query}`, { body, headers })
    await response.text()
    return response.status
  }
  expect(await post('elsewhere', '?agent=nobody')).not.toBe(200)
  const statuses = await Promise.all([
    ...Array.from({ length: 5 }, () => create('agent_assistant')),
    ...['one', 'two', 'three', 'four', 'five'].map((key) => post(key)),
  ])
  expect(statuses.filter((status) => status === 200)).toHaveLength(3)
  expect(statuses.filter((status) => status === 429)).toHaveLength(7)
  expect(await pool.sessions({ tenant: 'a' })).toHaveLength(3)
})

test('a tenant has no more streams than it may, and one that is left makes room', async () => {
  const { ask, driver } = await served({ keys, tenantLimits: { streams: 1 } })
  driver.onStart = (process) => (process.answersAtOnce = false)
  const answer = ask('POST', '/sessions/s/messages', { body, headers: A })
  const process = await driver.process(0)
  await driver.until(() => process.unanswered === 1)
  process.sayText('one')
  const frames = new Frames(await answer)
  await frames.next()
  expect((await ask('GET', '/sessions/s/messages', { headers: A })).status).toBe(429)
  await frames.leave()
  const again = await ask('GET', '/sessions/s/messages', { headers: A })
  expect(again.status).toBe(200)
  process.finish()
  await new Frames(again).rest()
})

test('a tenant keeps so many definitions and environments, and the others notice nothing', async () => {
  const { ask } = await served({
    keys,
    managedAgents: { define: true },
    tenantLimits: { definitions: 2, environments: 1 },
  })
  const post = async (path: string, name: string, headers: Record<string, string>): Promise<number> =>
    (await ask('POST', path, { body: { name, ...(path === '/v1/agents' ? { model: 'm' } : {}) }, headers })).status
  expect([await post('/v1/agents', 'one', A), await post('/v1/agents', 'two', A)]).toEqual([200, 200])
  expect([await post('/v1/agents', 'three', A), await post('/v1/agents', 'one', B)]).toEqual([429, 200])
  expect([await post('/v1/environments', 'one', A), await post('/v1/environments', 'two', A)]).toEqual([200, 429])
})

test('a tenant that keeps all that it may is refused until it has deleted something', async () => {
  const { ask, clock, pool } = await served({ keys, tenantLimits: { storage: '1MiB' } })
  const prompt = async (headers: Record<string, string>): Promise<number> => {
    const response = await ask('POST', '/sessions/s/messages', { body, headers })
    await response.text()
    return response.status
  }
  const events = [{ type: 'system.message', content: [{ type: 'text', text: 'x'.repeat(600_000) }] }]
  const begun = await ask('POST', '/v1/sessions', {
    body: { agent: 'agent_assistant', environment_id: 'env_local' },
    headers: A,
  })
  const { id } = (await begun.json()) as { id: string }
  const send = async (): Promise<number> =>
    (await ask('POST', `/v1/sessions/${id}/events`, { body: { events }, headers: A })).status
  // It is counted beside the first request.
  expect([await prompt(A), await send()]).toEqual([200, 200])
  await expect.poll(send).toBe(429)
  expect([await prompt(A), await prompt(B)]).toEqual([429, 200])
  await (await pool.session(id, { tenant: 'a' })).delete()
  await clock.advance(60_000)
  await expect.poll(() => prompt(A)).toBe(200)
})

test('one tenant keeps half of the connections busy at most', async () => {
  const { ask } = await served({ keys, connections: { max: 8 } })
  const statuses: number[] = []
  for (let number = 0; number < 6; number += 1) {
    const { status } = await ask('POST', `/sessions/s${number}/messages`, { body, headers: A })
    statuses.push(status)
  }
  expect(statuses).toEqual([200, 200, 200, 429, 429, 429])
})

test('a tenant has no more sessions than it may at all hosts together', async () => {
  const { hosts } = await testHosts(2, { options: { tenantLimits: { sessions: 3 } } })
  const [first, second] = hosts
  const begin = async (host: (typeof hosts)[number] | undefined, key: string): Promise<number | undefined> =>
    (await host?.ask('POST', `/sessions/${key}/messages`, { body }))?.status
  expect(await begin(first, 'one')).toBe(200)
  expect(await begin(first, 'two')).toBe(200)
  const statuses = await Promise.all(['three', 'four', 'five'].map((key) => begin(second, key)))
  expect(statuses.filter((status) => status === 200)).toHaveLength(1)
  expect(statuses.filter((status) => status === 429)).toHaveLength(2)
  expect(await begin(first, 'six')).toBe(429)
  await (await second?.pool.session('one'))?.delete()
  expect(await begin(first, 'six')).toBe(200)
})
