import Anthropic from '@anthropic-ai/sdk'
import type { BetaWebhookEvent } from '@anthropic-ai/sdk/resources/beta/webhooks'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { SqliteApiStore } from '../../../../../src/server/api-store/sqlite.ts'
import { hashKey } from '../../../../../src/server/auth/authenticator.ts'
import { createServer } from '../../../../../src/server/app.ts'
import type { Resource } from '../../../../../src/store/api-store.ts'
import type { ServerOptions } from '../../../../../src/server/options.ts'
import type { WebhookOptions } from '../../../../../src/server/managed-agents/webhooks/options.ts'
import { served } from '../../../../fixtures/server.ts'
import type { ServedFakes } from '../../../../fixtures/server.ts'
import { webhookReceiver } from '../../../../fixtures/webhook-receiver.ts'
import type { Receiver } from '../../../../fixtures/webhook-receiver.ts'

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`
const KEYS = { acme: 'acme-key-of-24-characters', other: 'other-key-of-24-characters' }

beforeEach(() => void vi.useFakeTimers({ toFake: ['Date'] }))
afterEach(() => void vi.useRealTimers())

interface Hooked extends Omit<ServedFakes, 'told'> {
  client: Anthropic
  receiver: Receiver
  /** What the receiver has acknowledged, checked by the official client. */
  events: () => BetaWebhookEvent[]
  /** The same as `type id`. */
  told: () => string[]
}

const clientOf = ({ server }: Pick<ServedFakes, 'server'>, apiKey = 'anybody'): Anthropic =>
  new Anthropic({
    apiKey,
    baseURL: 'http://localhost',
    maxRetries: 0,
    webhookKey: SECRET,
    fetch: async (url, init) => server.fetch(new Request(url as string, init as RequestInit)),
  })

function unwrap(client: Anthropic, { body, headers }: { body: string; headers: Record<string, string> }) {
  vi.setSystemTime(Number(headers['webhook-timestamp']) * 1000)
  return client.beta.webhooks.unwrap(body, { headers })
}

async function hooked(options: Partial<WebhookOptions> = {}, server: ServerOptions = {}): Promise<Hooked> {
  const receiver = await webhookReceiver()
  const webhooks = { ci: { url: receiver.url, secret: SECRET, allowPrivate: true, ...options } }
  const all = await served({ ...server, managedAgents: { ...server.managedAgents, webhooks } })
  const client = clientOf(all)
  const events = (): BetaWebhookEvent[] =>
    receiver.received.filter(({ status }) => status === 200).map((got) => unwrap(client, got))
  return { ...all, client, receiver, events, told: () => events().map(({ data }) => `${data.type} ${data.id}`) }
}

const say = (text: string) => ({
  events: [{ type: 'user.message' as const, content: [{ type: 'text' as const, text }] }],
})

const begin = async (client: Anthropic, content?: string): Promise<string> => {
  const { id } = await client.beta.sessions.create({ agent: 'agent_assistant', environment_id: 'env_local' })
  if (content !== undefined) await client.beta.sessions.events.send(id, say(content))
  return id
}

const isDelivered =
  (count: number) =>
  (received: readonly { status: number }[]): boolean =>
    received.filter(({ status }) => status === 200).length >= count

const deliveries = async (
  { ask }: Pick<ServedFakes, 'ask'>,
  query = '',
  headers = {},
): Promise<Record<string, never>[]> =>
  (
    (await (await ask('GET', `/v1/webhooks/deliveries${query}`, { headers })).json()) as {
      data: Record<string, never>[]
    }
  ).data

test('the life of a session is told in order, signed as the official client checks it', async () => {
  const all = await hooked()
  const { client, receiver } = all
  const id = await begin(client, 'hello')
  await receiver.until(isDelivered(3))
  await client.beta.sessions.update(id, { title: 'New' })
  await receiver.until(isDelivered(4))
  await client.beta.sessions.archive(id)
  await receiver.until(isDelivered(5))
  await client.beta.sessions.delete(id)
  await receiver.until(isDelivered(6))
  expect(all.told()).toEqual(
    ['created', 'status_run_started', 'status_idled', 'updated', 'archived', 'deleted'].map(
      (what) => `session.${what} ${id}`,
    ),
  )
  const [first] = all.events()
  expect(first).toMatchObject({ type: 'event', data: { workspace_id: 'default', organization_id: 'org_local' } })
  expect(receiver.received.map((got) => got.id)).toEqual(all.events().map((event) => event.id))
  expect(() => client.beta.webhooks.unwrap('{}', { headers: receiver.received[0]?.headers ?? {} })).toThrow('signature')
})

test('agents and environments are told as they change', async () => {
  const all = await hooked()
  const { client, receiver } = all
  const { id } = await client.beta.agents.create({ name: 'Helper', model: 'claude-sonnet-5' })
  await client.beta.agents.update(id, { version: 1, name: 'Other' })
  await client.beta.agents.archive(id)
  const environment = await client.beta.environments.create({ name: 'Mine' })
  await client.beta.environments.delete(environment.id)
  await receiver.until(isDelivered(5))
  const told = all.told()
  expect(told.filter((event) => event.endsWith(id))).toEqual([
    `agent.created ${id}`,
    `agent.updated ${id}`,
    `agent.archived ${id}`,
  ])
  expect(told.filter((event) => event.endsWith(environment.id))).toEqual([
    `environment.created ${environment.id}`,
    `environment.deleted ${environment.id}`,
  ])
})

test('a receiver that fails half of all tries gets each event once, in order for a session, under one id', async () => {
  const all = await hooked()
  const { client, receiver, clock } = all
  let tries = 0
  receiver.answer = () => ((tries += 1) % 2 === 0 ? 200 : 503)
  const ids: string[] = []
  for (let session = 0; session < 5; session += 1) {
    const id = await begin(client)
    for (const text of ['one', 'two', 'three']) {
      await client.beta.sessions.events.send(id, say(text))
      await clock.settle()
    }
    ids.push(id)
  }
  const all35 = 5 * 7
  while (!isDelivered(all35)(receiver.received)) {
    const [before, last] = [receiver.received.length, all.events().length]
    await clock.advance(10_000)
    if (receiver.received.length === before && last < all35) await new Promise((resolve) => setImmediate(resolve))
  }
  const events = all.events()
  const turn = ['session.status_run_started', 'session.status_idled']
  for (const id of ids)
    expect(events.filter(({ data }) => data.id === id).map(({ data }) => data.type)).toEqual([
      'session.created',
      ...turn,
      ...turn,
      ...turn,
    ])
  expect(new Set(events.map(({ id }) => id)).size).toBe(all35)
  expect(new Set(receiver.received.map(({ id }) => id)).size).toBe(all35)
  expect(receiver.received.length).toBeGreaterThan(all35)
})

test('what was not delivered when the server ended is delivered by the next one, under the same id', async () => {
  const receiver = await webhookReceiver()
  receiver.answer = () => 500
  const store = new SqliteApiStore(':memory:')
  const managedAgents = { webhooks: { ci: { url: receiver.url, secret: SECRET, allowPrivate: true } } }
  const all = await served({ apiStore: store, managedAgents })
  const id = await begin(clientOf(all), 'hello')
  await receiver.until(({ length }) => length >= 1)
  await all.clock.settle()
  all.server.close()
  const failed = receiver.received[0]?.id
  receiver.answer = () => 200
  await all.clock.advance(60_000)
  const next = createServer(all.pool, { clock: all.clock, apiStore: store, managedAgents })
  await receiver.until(isDelivered(3))
  const got = receiver.received.filter(({ status }) => status === 200)
  expect(got.map(({ body }) => (JSON.parse(body) as BetaWebhookEvent).data)).toMatchObject(
    ['session.created', 'session.status_run_started', 'session.status_idled'].map((type) => ({ type, id })),
  )
  expect(got[0]?.id).toBe(failed)
  next.close()
  store.close()
})

test('what a host had not told of a turn when it died, another one tells', async () => {
  const receiver = await webhookReceiver()
  const store = new SqliteApiStore(':memory:')
  const managedAgents = { webhooks: { ci: { url: receiver.url, secret: SECRET, allowPrivate: true } } }
  const all = await served({ apiStore: store, managedAgents })
  const client = clientOf(all)
  const id = await begin(client, 'one')
  await receiver.until(isDelivered(3))
  const process = await all.driver.process(0)
  process.answersAtOnce = false
  await client.beta.sessions.events.send(id, say('two'))
  await receiver.until(isDelivered(4))
  await expect.poll(() => deliveries(all, '?status[]=pending')).toEqual([])
  // From here on nobody tells anything: the turn ends unheard.
  all.server.close()
  process.finish()
  await expect
    .poll(async () => {
      await all.clock.advance(100)
      return all.told('turn.ended').length
    })
    .toBe(2)
  expect(receiver.received).toHaveLength(4)
  const next = createServer(all.pool, { clock: all.clock, apiStore: store, managedAgents })
  await receiver.until(isDelivered(5))
  const turn = ['session.status_run_started', 'session.status_idled']
  const types = receiver.received.map(({ body }) => (JSON.parse(body) as BetaWebhookEvent).data.type)
  expect(types).toEqual(['session.created', ...turn, ...turn])
  next.close()
  store.close()
})

test('what is told twice, because a host died before it noted how far it was, is sent once', async () => {
  const receiver = await webhookReceiver()
  const store = new SqliteApiStore(':memory:')
  const managedAgents = { webhooks: { ci: { url: receiver.url, secret: SECRET, allowPrivate: true } } }
  const all = await served({ apiStore: store, managedAgents })
  const client = clientOf(all)
  const id = await begin(client, 'one')
  await receiver.until(isDelivered(3))
  const cursor = async () => (await store.resources.get('webhook_session', 'default', id)) as Resource
  await expect.poll(async () => (await cursor()).archivedAt).not.toBeNull()
  await expect.poll(() => deliveries(all, '?status[]=pending')).toEqual([])
  all.server.close()
  const before = await cursor()
  const body = JSON.stringify({ ...(JSON.parse(before.body) as object), after: 0, place: 0, created: false })
  await store.resources.replace(before, { ...before, version: before.version + 1, archivedAt: null, body })
  const next = createServer(all.pool, { clock: all.clock, apiStore: store, managedAgents })
  await expect.poll(async () => (await cursor()).archivedAt).not.toBeNull()
  await clientOf({ server: next }).beta.sessions.update(id, { title: 'New' })
  await receiver.until(isDelivered(4))
  const types = receiver.received.map(({ body: sent }) => (JSON.parse(sent) as BetaWebhookEvent).data.type)
  expect(types.slice(3)).toEqual(['session.updated'])
  next.close()
  store.close()
})

test('an endpoint whose receiver is gone is disabled, and sends what waits once it is enabled', async () => {
  const all = await hooked()
  const { client, receiver, clock } = all
  receiver.answer = () => 410
  const id = await begin(client)
  await receiver.until(({ length }) => length === 1)
  await expect
    .poll(() => all.log.some(({ message }) => message.startsWith('a webhook endpoint was disabled')))
    .toBe(true)
  const endpoints = async () => (await all.ask('GET', '/v1/webhooks/endpoints')).json()
  expect(await endpoints()).toMatchObject({
    data: [{ name: 'ci', status: 'disabled', disabled_reason: 'the receiver answered 410 (gone)' }],
  })
  expect(JSON.stringify(await endpoints())).not.toContain('hidden')
  expect(await (await all.ask('GET', '/metrics')).text()).toContain('claude_agent_pool_webhook_endpoints_disabled 1')
  receiver.answer = () => 200
  await client.beta.sessions.events.send(id, say('hello'))
  await clock.advance(600_000)
  expect(receiver.received).toHaveLength(1)
  expect((await all.ask('POST', '/v1/webhooks/endpoints/unknown/enable')).status).toBe(404)
  const enabled = await all.ask('POST', '/v1/webhooks/endpoints/ci/enable')
  expect(await enabled.json()).toMatchObject({ status: 'enabled', failing_since: null })
  await receiver.until(isDelivered(3))
  expect(all.told()).toEqual(['created', 'status_run_started', 'status_idled'].map((what) => `session.${what} ${id}`))
})

test('a tenant sees its own endpoints and deliveries; the operator’s and another tenant’s are neither shown nor enabled', async () => {
  const own = await webhookReceiver()
  const endpoint = { url: own.url, secret: SECRET, allowPrivate: true }
  const keys = Object.entries(KEYS).map(([tenant, key]) => ({ tenant, sha256: hashKey(key) }))
  const tenants = { acme: { define: true, webhooks: { mine: endpoint } }, other: { define: true } }
  const all = await hooked({}, { keys, managedAgents: { tenants } })
  const [acme, other] = [clientOf(all, KEYS.acme), clientOf(all, KEYS.other)]
  const mine = await begin(acme)
  const theirs = await begin(other)
  await own.until(isDelivered(1))
  await all.receiver.until(isDelivered(2))
  expect(own.received.map(({ body }) => (JSON.parse(body) as BetaWebhookEvent).data)).toMatchObject([
    { id: mine, workspace_id: 'acme' },
  ])
  expect(new Set(all.events().map(({ data }) => data.id))).toEqual(new Set([mine, theirs]))
  const as = (key: string) => ({ headers: { 'x-api-key': key } })
  const names = async (key: string) =>
    ((await (await all.ask('GET', '/v1/webhooks/endpoints', as(key))).json()) as { data: { name: string }[] }).data.map(
      ({ name }) => name,
    )
  expect([await names(KEYS.acme), await names(KEYS.other)]).toEqual([['mine'], []])
  expect(await deliveries(all, '', as(KEYS.acme).headers)).toMatchObject([
    { endpoint: 'mine', event: { resource_id: mine } },
  ])
  expect(await deliveries(all, '', as(KEYS.other).headers)).toEqual([])
  for (const name of ['mine', 'ci'])
    expect((await all.ask('POST', `/v1/webhooks/endpoints/${name}/enable`, as(KEYS.other))).status).toBe(404)
  const operations = all.server.operations({ exposed: false })
  const asked = async (path: string): Promise<unknown> =>
    (await operations(new Request(`http://localhost${path}`))).json()
  expect(await asked('/webhooks/endpoints')).toMatchObject({
    data: [
      { name: 'ci', tenant: null },
      { name: 'mine', tenant: 'acme' },
    ],
  })
  expect(await asked('/webhooks/deliveries?tenant=other')).toMatchObject({
    data: [{ endpoint: 'ci', event: { resource_id: theirs } }],
  })
  expect(await asked('/webhooks/deliveries?tenant=acme&endpoint=mine')).toMatchObject({ data: [{ endpoint: 'mine' }] })
})

test('deliveries are listed in pages, newest first, by endpoint and status; other parameters are refused', async () => {
  const all = await hooked({ events: ['agent.created'] })
  const ids: string[] = []
  for (const name of ['a', 'b', 'c'])
    ids.unshift((await all.client.beta.agents.create({ name, model: 'claude-sonnet-5' })).id)
  await all.receiver.until(isDelivered(3))
  await all.clock.settle()
  const page = (await (await all.ask('GET', '/v1/webhooks/deliveries?limit=2')).json()) as {
    data: object[]
    next_page: string
  }
  const rest = await deliveries(all, `?limit=2&page=${page.next_page}`)
  expect([...page.data, ...rest]).toMatchObject(ids.map((id) => ({ event: { resource_id: id } })))
  await expect.poll(() => deliveries(all, '?status[]=pending')).toEqual([])
  expect(await deliveries(all, '?endpoint=none')).toEqual([])
  for (const query of ['?status[]=lost', '?tenant=other', '?page=x', '?limit=0'])
    expect((await all.ask('GET', `/v1/webhooks/deliveries${query}`)).status).toBe(400)
})

test('nothing is sent to a private address that is not allowed, and no redirect is followed', async () => {
  const closed = await hooked({ url: 'https://127.0.0.1:1/', allowPrivate: false })
  await begin(closed.client)
  await expect
    .poll(async () => (await deliveries(closed))[0])
    .toMatchObject({
      status: 'pending',
      attempts: 1,
      last_status: null,
      last_error: '127.0.0.1 is not a public address',
    })
  const all = await hooked({ events: ['session.created'] })
  all.receiver.answer = (number) => (number === 0 ? 302 : 200)
  await begin(all.client)
  await expect.poll(async () => (await deliveries(all))[0]).toMatchObject({ status: 'pending', last_status: 302 })
  expect(all.receiver.received).toHaveLength(1)
})

test('a receiver that does not answer has failed after 15 s, and holds up no other session', async () => {
  const all = await hooked({ events: ['session.created'] })
  const { client, receiver, clock } = all
  receiver.answer = (number) => (number === 0 ? 'hang' : 200)
  await begin(client)
  await receiver.until(({ length }) => length === 1)
  const second = await begin(client)
  await receiver.until(isDelivered(1))
  expect(all.told()).toEqual([`session.created ${second}`])
  await clock.advance(15_000)
  await expect
    .poll(async () => deliveries(all, '?status[]=pending'))
    .toMatchObject([{ last_error: 'no answer within 15 s' }])
})

test('at most eight deliveries are on their way to an endpoint', async () => {
  const all = await hooked({ events: ['agent.created'] })
  all.receiver.answer = () => 'hang'
  for (let agent = 0; agent < 12; agent += 1)
    await all.client.beta.agents.create({ name: 'A', model: 'claude-sonnet-5' })
  await all.receiver.until(({ length }) => length === 8)
  // What is sent beside those would be here before this is.
  all.receiver.answer = () => 204
  for (let turn = 0; turn < 5; turn += 1) await fetch(all.receiver.url, { method: 'POST' })
  expect(all.receiver.received.filter(({ id }) => id !== '')).toHaveLength(8)
  all.receiver.answer = () => 200
  await all.clock.advance(15_000)
  await all.receiver.until(isDelivered(4))
})

test('nothing is kept of an erased tenant, also of what was on its way', async () => {
  const store = new SqliteApiStore(':memory:')
  const receiver = await webhookReceiver()
  receiver.answer = () => 500
  const webhooks = { ci: { url: receiver.url, secret: SECRET, allowPrivate: true } }
  const all = await served({ apiStore: store, managedAgents: { webhooks } })
  await begin(clientOf(all), 'hello')
  await receiver.until(({ length }) => length === 1)
  expect(await store.resources.count('webhook_delivery', 'default')).toBeGreaterThan(0)
  await all.pool.eraseTenant('default')
  await expect.poll(() => store.resources.count('webhook_delivery', 'default')).toBe(0)
  await all.clock.advance(600_000)
  const kinds = ['webhook_delivery', 'webhook_session'] as const
  expect(await Promise.all(kinds.map((kind) => store.resources.count(kind, 'default')))).toEqual([0, 0])
  all.server.close()
  store.close()
})

test('endpoints, and secrets that take over from one another, change while the server runs', async () => {
  const all = await hooked({ events: ['agent.created'] })
  const newer = `whsec_${Buffer.alloc(24, 9).toString('base64')}`
  const update = (secret: string | string[]) =>
    all.server.update({
      managedAgents: {
        webhooks: { ci: { url: all.receiver.url, secret, allowPrivate: true, events: ['agent.created'] } },
      },
    })
  update([newer, SECRET])
  await all.client.beta.agents.create({ name: 'A', model: 'claude-sonnet-5' })
  await all.receiver.until(isDelivered(1))
  const [got] = all.receiver.received
  for (const webhookKey of [newer, SECRET])
    expect(unwrap(all.client.withOptions({ webhookKey }), got as never).data.type).toBe('agent.created')
  update(newer)
  await all.client.beta.agents.create({ name: 'A', model: 'claude-sonnet-5' })
  await all.receiver.until(isDelivered(2))
  expect(() => unwrap(all.client, all.receiver.received[1] as never)).toThrow('signature')
  all.server.update({})
  await all.client.beta.agents.create({ name: 'A', model: 'claude-sonnet-5' })
  await all.clock.advance(60_000)
  expect(all.receiver.received).toHaveLength(2)
})

test.each([
  [{ url: 'http://hooks.example/' }, 'must be https'],
  [{ url: 'https://user:pw@hooks.example/' }, 'has a user or a password'],
  [{ url: 'ftp://hooks.example/' }, 'is not an http(s) URL'],
  [{ secret: 'short' }, 'is not whsec_ with 24 to 64 bytes in base64'],
  [{ secret: `whsec_${Buffer.alloc(23).toString('base64')}` }, 'is not whsec_'],
  [{ secret: undefined }, 'CLAUDE_AGENT_POOL_WEBHOOK_SECRETS'],
  [{ secretFile: '/nowhere/secret', secret: undefined }, 'cannot be read'],
  [{ secretFile: '/nowhere/secret' }, 'only one of them'],
  [{ events: ['session.idled'] }, 'webhooks.ci.events'],
])('the endpoint %j is refused', async (change, problem) => {
  const webhooks = { ci: { url: 'https://hooks.example/', secret: SECRET, ...change } as WebhookOptions }
  await expect(served({ managedAgents: { webhooks } })).rejects.toThrow(problem)
})
