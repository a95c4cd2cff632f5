import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { InMemoryTransport } from '@modelcontextprotocol/sdk/inMemory.js'
import type { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import Anthropic, { BadRequestError, ConflictError, NotFoundError, PermissionDeniedError } from '@anthropic-ai/sdk'
import { expect, onTestFinished, test } from 'vitest'
import { SqliteApiStore } from '../../../../../src/server/api-store/sqlite.ts'
import { createServer } from '../../../../../src/server/app.ts'
import { hashKey } from '../../../../../src/server/auth/authenticator.ts'
import type { ServerOptions } from '../../../../../src/server/options.ts'
import type { Resource } from '../../../../../src/store/api-store.ts'
import { official } from '../../../../fixtures/official-client.ts'
import { served } from '../../../../fixtures/server.ts'
import type { ServedFakes } from '../../../../fixtures/server.ts'

const keyOf = (fill: number): string => Buffer.alloc(32, fill).toString('base64')
const KEYS = { keys: [{ id: 'one', key: keyOf(1) }] }
const MODEL = 'claude-sonnet-5'

interface Vaulted extends ServedFakes {
  client: Anthropic
  store: SqliteApiStore
}

async function vaulted(options: ServerOptions = {}): Promise<Vaulted> {
  const store = new SqliteApiStore(':memory:')
  onTestFinished(() => store.close())
  const all = await served({ apiStore: store, ...options, managedAgents: { vaults: KEYS, ...options.managedAgents } })
  return { ...all, client: clientOf(all.server), store }
}

const clientOf = (server: ServedFakes['server'], apiKey = 'anybody'): Anthropic =>
  new Anthropic({
    apiKey,
    baseURL: 'http://localhost',
    maxRetries: 0,
    fetch: async (url, init) => server.fetch(new Request(url as string, init as RequestInit)),
  })

interface Guarded {
  url: string
  /** What was asked with which credential. */
  asked: (string | undefined)[]
  /** The credential that is taken. */
  takes: string
}

/** An MCP server, as far as its first answer, that asks for a credential. */
async function guarded(takes: string): Promise<Guarded> {
  const state: Guarded = { url: '', asked: [], takes: `Bearer ${takes}` }
  const server = createHttpServer((request, response) => {
    if (request.method !== 'POST') return void response.writeHead(405).end()
    state.asked.push(request.headers.authorization)
    const pieces: Buffer[] = []
    request.on('data', (piece: Buffer) => pieces.push(piece))
    request.on('end', () => {
      if (request.headers.authorization !== state.takes)
        return void response
          .writeHead(401, { 'content-type': 'text/plain' })
          .end(`bad ${request.headers.authorization}`)
      const { id, method } = JSON.parse(Buffer.concat(pieces).toString('utf8') || '{}') as {
        id?: number
        method?: string
      }
      if (id === undefined) return void response.writeHead(202).end()
      const result =
        method === 'initialize'
          ? { protocolVersion: '2025-06-18', capabilities: { tools: {} }, serverInfo: { name: 's', version: '1' } }
          : { content: [{ type: 'text', text: 'done' }] }
      response
        .writeHead(200, { 'content-type': 'application/json' })
        .end(JSON.stringify({ jsonrpc: '2.0', id, result }))
    })
  })
  state.url = `${await listening(server)}/mcp`
  return state
}

interface TokenEndpoint {
  url: string
  asked: { form: Record<string, string>; authorization: string | undefined }[]
  answer: () => { status: number; body: unknown }
}

async function tokenEndpoint(): Promise<TokenEndpoint> {
  const state: TokenEndpoint = {
    url: '',
    asked: [],
    answer: () => ({ status: 200, body: { access_token: 'fresh', expires_in: 3600, refresh_token: 'next' } }),
  }
  const server = createHttpServer((request, response) => {
    const pieces: Buffer[] = []
    request.on('data', (piece: Buffer) => pieces.push(piece))
    request.on('end', () => {
      const form = Object.fromEntries(new URLSearchParams(Buffer.concat(pieces).toString('utf8')))
      state.asked.push({ form, authorization: request.headers.authorization })
      const { status, body } = state.answer()
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    })
  })
  state.url = `${await listening(server)}/token`
  return state
}

async function listening(server: ReturnType<typeof createHttpServer>): Promise<string> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.close()
    server.closeAllConnections()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const oauth = (mcp: Guarded, endpoint: TokenEndpoint, change: object = {}) => ({
  type: 'mcp_oauth' as const,
  access_token: 'stale',
  mcp_server_url: mcp.url,
  refresh: {
    client_id: 'me',
    refresh_token: 'again',
    token_endpoint: endpoint.url,
    token_endpoint_auth: { type: 'client_secret_basic' as const, client_secret: 'hush' },
    scope: 'all',
    ...change,
  },
})

/** A session whose agent uses this MCP server and these vaults, and a client of the server as its process is one. */
async function sessionWith(
  { client, pool }: Vaulted,
  url: string,
  vault_ids: string[],
): Promise<{ id: string; connect: () => Promise<Client> }> {
  const tools = [{ type: 'mcp_toolset' as const, mcp_server_name: 'shop' }]
  const mcp_servers = [{ type: 'url' as const, name: 'shop', url }]
  const agent = await client.beta.agents.create({ name: 'A', model: MODEL, tools, mcp_servers })
  const { id, vault_ids: shown } = await client.beta.sessions.create({
    agent: agent.id,
    environment_id: 'env_local',
    vault_ids,
  })
  expect(shown).toEqual(vault_ids)
  const { mcpServers } = pool.agentOptions(id)
  return {
    id,
    async connect() {
      const servers = (mcpServers as (context: unknown) => Record<string, { instance: McpServer }>)({})
      const [near, far] = InMemoryTransport.createLinkedPair()
      await servers['shop']?.instance.connect(far)
      const mcp = new Client({ name: 'agent', version: '1' })
      onTestFinished(() => mcp.close())
      await mcp.connect(near)
      return mcp
    },
  }
}

const errorsOf = async ({ client }: Vaulted, id: string): Promise<unknown[]> =>
  (await client.beta.sessions.events.list(id)).data.flatMap((event) =>
    event.type === 'session.error' ? event.error : [],
  )

const everyRow = async (store: SqliteApiStore, tenant = 'default'): Promise<Resource[]> => {
  const query = { tenant, order: 'asc', includeArchived: true, limit: 100, maxSize: 1e9 } as const
  const kinds = ['vault', 'vault_credential', 'session', 'webhook_delivery'] as const
  return (await Promise.all(kinds.map(async (kind) => (await store.resources.list({ kind, ...query })).rows))).flat()
}

test('vaults and credentials are kept, changed, listed, archived and deleted, and no secret comes back', async () => {
  const all = await vaulted()
  const { vaults } = all.client.beta
  const vault = await vaults.create({ display_name: 'Shop', metadata: { a: '1' } })
  expect(vault).toMatchObject({ type: 'vault', display_name: 'Shop', archived_at: null })
  expect(await vaults.update(vault.id, { display_name: 'Store', metadata: { a: null, b: '2' } })).toMatchObject({
    display_name: 'Store',
    metadata: { b: '2' },
  })
  const auth = { type: 'static_bearer' as const, token: 'very-secret-token', mcp_server_url: 'https://mcp.example/mcp' }
  const made = await vaults.credentials.create(vault.id, { auth, display_name: 'One' })
  expect(made).toMatchObject({
    type: 'vault_credential',
    vault_id: vault.id,
    display_name: 'One',
    auth: { mcp_server_url: auth.mcp_server_url },
  })
  await vaults.credentials.update(made.id, {
    vault_id: vault.id,
    auth: { type: 'static_bearer', token: 'other-secret' },
  })
  const seen = [
    made,
    await vaults.credentials.retrieve(made.id, { vault_id: vault.id }),
    (await vaults.credentials.list(vault.id)).data,
    await everyRow(all.store),
    all.log,
  ]
  expect(JSON.stringify(seen)).not.toMatch(/very-secret|other-secret/)
  const again = vaults.credentials.create(vault.id, { auth: { ...auth, mcp_server_url: 'HTTPS://mcp.example/mcp/' } })
  await expect(again).rejects.toThrow(ConflictError)
  expect((await vaults.credentials.archive(made.id, { vault_id: vault.id })).archived_at).not.toBeNull()
  expect((await vaults.credentials.list(vault.id)).data).toEqual([])
  expect((await vaults.credentials.list(vault.id, { include_archived: true })).data).toHaveLength(1)
  await expect(vaults.credentials.update(made.id, { vault_id: vault.id, display_name: 'x' })).rejects.toThrow(
    'is archived',
  )
  const second = await vaults.credentials.create(vault.id, { auth })
  const elsewhere = await vaults.create({ display_name: 'Other' })
  for (const what of ['retrieve', 'archive', 'delete'] as const)
    await expect(vaults.credentials[what](second.id, { vault_id: elsewhere.id })).rejects.toThrow(NotFoundError)
  await vaults.delete(elsewhere.id)
  expect(await vaults.credentials.delete(second.id, { vault_id: vault.id })).toEqual({
    type: 'vault_credential_deleted',
    id: second.id,
  })
  const third = await vaults.credentials.create(vault.id, { auth })
  expect((await vaults.archive(vault.id)).archived_at).not.toBeNull()
  expect((await vaults.credentials.retrieve(third.id, { vault_id: vault.id })).archived_at).not.toBeNull()
  expect(JSON.stringify(await everyRow(all.store))).not.toContain('wrapped')
  expect((await vaults.list()).data).toEqual([])
  expect(await vaults.delete(vault.id)).toEqual({ type: 'vault_deleted', id: vault.id })
  await expect(vaults.retrieve(vault.id)).rejects.toThrow(NotFoundError)
  expect(await everyRow(all.store)).toEqual([])
})

test('another tenant’s vaults and credentials are a 404 like those that do not exist, in sessions, too', async () => {
  const secrets = { acme: 'acme-key-of-24-characters', other: 'other-key-of-24-characters' }
  const keys = Object.entries(secrets).map(([tenant, key]) => ({ tenant, sha256: hashKey(key) }))
  const all = await vaulted({ keys, managedAgents: { define: true } })
  const [acme, other] = [clientOf(all.server, secrets.acme), clientOf(all.server, secrets.other)]
  const { id } = await acme.beta.vaults.create({ display_name: 'Mine' })
  const auth = { type: 'static_bearer' as const, token: 't', mcp_server_url: 'https://93.184.216.34/mcp' }
  const credential = await acme.beta.vaults.credentials.create(id, { auth })
  const theirs = await other.beta.vaults.create({ display_name: 'Theirs' })
  const { vaults } = other.beta
  for (const attempt of [
    () => vaults.retrieve(id),
    () => vaults.update(id, { display_name: 'x' }),
    () => vaults.archive(id),
    () => vaults.delete(id),
    () => vaults.credentials.create(id, { auth }),
    () => vaults.credentials.list(id),
    ...[id, theirs.id].flatMap((vault_id) => [
      () => vaults.credentials.retrieve(credential.id, { vault_id }),
      () => vaults.credentials.update(credential.id, { vault_id, display_name: 'x' }),
      () => vaults.credentials.archive(credential.id, { vault_id }),
      () => vaults.credentials.delete(credential.id, { vault_id }),
      () => vaults.credentials.mcpOAuthValidate(credential.id, { vault_id }),
    ]),
  ])
    await expect(attempt()).rejects.toThrow(NotFoundError)
  const agent = await other.beta.agents.create({ name: 'A', model: MODEL })
  const begin = other.beta.sessions.create({ agent: agent.id, environment_id: 'env_local', vault_ids: [id] })
  await expect(begin).rejects.toThrow(NotFoundError)
  expect((await vaults.list()).data.map((vault) => vault.id)).toEqual([theirs.id])
  await all.pool.eraseTenant('acme')
  await expect.poll(() => everyRow(all.store, 'acme')).toEqual([])
  expect((await everyRow(all.store, 'other')).map((row) => row.id)).toEqual([theirs.id])
})

test('a server without keys, or behind a proxy, refuses vaults by name', async () => {
  const all = await served()
  const { vaults, sessions } = clientOf(all.server).beta
  await expect(vaults.create({ display_name: 'x' })).rejects.toThrow('server.managedAgents.vaults.keys')
  await expect(vaults.list()).rejects.toThrow(PermissionDeniedError)
  const begin = sessions.create({ agent: 'agent_assistant', environment_id: 'env_local', vault_ids: ['vlt_1'] })
  await expect(begin).rejects.toThrow('agent_assistant comes from the server’s config')
  const { client } = official(all.pool, { behindProxy: true, managedAgents: { vaults: KEYS } })
  await expect(client.beta.vaults.create({ display_name: 'x' })).rejects.toThrow('HTTPS_PROXY')
})

test.each([
  [
    { type: 'environment_variable', secret_name: 'A', secret_value: 'b', networking: { type: 'unrestricted' } },
    'environment_variable is not supported',
  ],
  [{ type: 'static_bearer', token: 'a b', mcp_server_url: 'https://mcp.example/' }, 'auth.token'],
  [{ type: 'static_bearer', token: 'a', mcp_server_url: 'ftp://mcp.example/' }, 'auth.mcp_server_url'],
  [{ type: 'static_bearer', token: 'a', mcp_server_url: 'https://u:p@mcp.example/' }, 'has a user'],
  [{ type: 'static_bearer', token: 'a', mcp_server_url: 'https://mcp.example/', more: 1 }, 'more'],
  [
    {
      type: 'mcp_oauth',
      access_token: 'a',
      mcp_server_url: 'https://mcp.example/',
      expires_at: '2020-01-01T00:00:00Z',
    },
    'is not in the future',
  ],
  [{ type: 'basic' }, 'must be static_bearer or mcp_oauth'],
])('the credential %j is refused: %s', async (auth, problem) => {
  const { client } = await vaulted()
  const { id } = await client.beta.vaults.create({ display_name: 'x' })
  const create = client.beta.vaults.credentials.create(id, { auth: auth as never })
  await expect(create).rejects.toThrow(BadRequestError)
  await expect(create).rejects.toThrow(problem)
})

test('a tenant with keys has credentials for servers that it may use, at public addresses alone', async () => {
  const key = 'acme-key-of-24-characters'
  const create = async (
    define: NonNullable<ServerOptions['managedAgents']>['define'],
    url: string,
  ): Promise<unknown> => {
    const all = await vaulted({ keys: [{ tenant: 'acme', sha256: hashKey(key) }], managedAgents: { define } })
    const { vaults } = clientOf(all.server, key).beta
    const { id } = await vaults.create({ display_name: 'x' })
    const auth = { type: 'static_bearer' as const, token: 't', mcp_server_url: url }
    return vaults.credentials.create(id, { auth }).then(
      () => 'done',
      (error: Error) => error.message,
    )
  }
  expect(await create(false, 'https://93.184.216.34/')).toContain('runs the agents of its config only')
  expect(await create(true, 'http://127.0.0.1:1/')).toContain('127.0.0.1 is not a public address')
  expect(await create({ models: 'any', mcp: { allow: ['mcp.example.com'] } }, 'https://93.184.216.34/')).toContain(
    'does not allow https://93.184.216.34/',
  )
  expect(await create({ models: 'any', mcp: { allow: ['127.0.0.1'] } }, 'http://127.0.0.1:1/')).toBe('done')
})

test('each request to an MCP server has the token that the vault has then; other servers get none', async () => {
  const all = await vaulted()
  const [mcp, open] = [await guarded('first'), await guarded('nothing')]
  const { vaults } = all.client.beta
  const [empty, vault] = [await vaults.create({ display_name: 'a' }), await vaults.create({ display_name: 'b' })]
  const auth = { type: 'static_bearer' as const, token: 'first', mcp_server_url: mcp.url }
  const { id } = await vaults.credentials.create(vault.id, { auth })
  const session = await sessionWith(all, mcp.url, [empty.id, vault.id])
  const client = await session.connect()
  expect(await client.callTool({ name: 'look' })).toMatchObject({ content: [{ text: 'done' }] })
  mcp.takes = 'Bearer second'
  await vaults.credentials.update(id, { vault_id: vault.id, auth: { type: 'static_bearer', token: 'second' } })
  expect(await client.callTool({ name: 'look' })).toMatchObject({ content: [{ text: 'done' }] })
  await expect((await sessionWith(all, open.url, [vault.id])).connect()).rejects.toThrow('bad undefined')
  expect(new Set(open.asked)).toEqual(new Set([undefined]))
  expect(JSON.stringify(all.pool.agentOptions(session.id))).not.toContain('first')
  expect(all.pool.agentOptions(session.id).env).toBeUndefined()
})

test('an access token is renewed before it expires and after a 401, with the refresh token that came last', async () => {
  const all = await vaulted()
  const [mcp, endpoint] = [await guarded('fresh'), await tokenEndpoint()]
  const { vaults } = all.client.beta
  const vault = await vaults.create({ display_name: 'a' })
  const credential = await vaults.credentials.create(vault.id, { auth: oauth(mcp, endpoint) })
  const client = await (await sessionWith(all, mcp.url, [vault.id])).connect()
  const basic = `Basic ${Buffer.from('me:hush').toString('base64')}`
  const form = { grant_type: 'refresh_token', refresh_token: 'again', scope: 'all' }
  expect(endpoint.asked).toEqual([{ form, authorization: basic }])
  const shown = await vaults.credentials.retrieve(credential.id, { vault_id: vault.id })
  expect(shown.auth).toMatchObject({ expires_at: new Date(all.clock.wall() + 3_600_000).toISOString() })
  expect(JSON.stringify(shown)).not.toMatch(/"fresh|next|again|hush|refreshing|sealed/)
  // The last one says that the client is ready.
  await expect.poll(() => mcp.asked).toEqual(['Bearer stale', 'Bearer fresh', 'Bearer fresh'])
  mcp.takes = 'Bearer newer'
  endpoint.answer = () => ({ status: 200, body: { access_token: 'newer' } })
  await all.clock.advance(3_600_000 - 60_000 + 1)
  expect(await client.callTool({ name: 'look' })).toMatchObject({ content: [{ text: 'done' }] })
  expect(endpoint.asked[1]?.form['refresh_token']).toBe('next')
  expect(mcp.asked.slice(3)).toEqual(['Bearer newer'])
})

test('however many requests need a new token, one asks for it, on all hosts', async () => {
  const all = await vaulted()
  const [mcp, endpoint] = [await guarded('fresh'), await tokenEndpoint()]
  const { vaults } = all.client.beta
  const vault = await vaults.create({ display_name: 'a' })
  await vaults.credentials.create(vault.id, { auth: oauth(mcp, endpoint) })
  const other = createServer(all.pool, { clock: all.clock, apiStore: all.store, managedAgents: { vaults: KEYS } })
  onTestFinished(() => other.close())
  const one = await sessionWith(all, mcp.url, [vault.id])
  const two = await sessionWith({ ...all, client: clientOf(other) }, mcp.url, [vault.id])
  const connecting = Promise.all([one.connect(), one.connect(), two.connect(), two.connect()])
  let connected = false
  void connecting.then(() => (connected = true))
  await expect
    .poll(async () => {
      await all.clock.advance(100)
      return connected
    })
    .toBe(true)
  expect(endpoint.asked).toHaveLength(1)
})

test('a refused refresh is told to the session and to webhooks, and is not tried again until the credential changes', async () => {
  const secret = `whsec_${Buffer.alloc(32).toString('base64')}`
  const all = await vaulted({ managedAgents: { webhooks: { ci: { url: 'https://127.0.0.1:1/', secret } } } })
  const [mcp, endpoint] = [await guarded('fresh'), await tokenEndpoint()]
  endpoint.answer = () => ({ status: 400, body: { error: 'invalid_grant', error_description: 'again is revoked' } })
  const { vaults } = all.client.beta
  const vault = await vaults.create({ display_name: 'a' })
  const credential = await vaults.credentials.create(vault.id, { auth: oauth(mcp, endpoint) })
  const session = await sessionWith(all, mcp.url, [vault.id])
  for (let tries = 0; tries < 2; tries += 1) await expect(session.connect()).rejects.toThrow(/credential \(401\)$/)
  expect(endpoint.asked).toHaveLength(1)
  await expect
    .poll(() => errorsOf(all, session.id))
    .toMatchObject([
      {
        type: 'mcp_authentication_failed_error',
        mcp_server_name: 'shop',
        message: expect.stringContaining('the server refused the credential (401)'),
      },
    ])
  expect(all.log.map(({ message }) => message)).toContain(
    'a credential of a vault was not renewed: its token endpoint refused',
  )
  const told = (await everyRow(all.store)).filter(({ kind }) => kind === 'webhook_delivery')
  const types = told.map(({ body }) => JSON.parse(body) as { type: string; id: string; more?: object })
  expect(types.filter(({ type }) => type.startsWith('vault'))).toMatchObject([
    { type: 'vault.created', id: vault.id },
    { type: 'vault_credential.created', id: credential.id, more: { vault_id: vault.id } },
    { type: 'vault_credential.refresh_failed', id: credential.id, more: { vault_id: vault.id } },
  ])
  endpoint.answer = () => ({ status: 200, body: { access_token: 'fresh' } })
  const auth = { type: 'mcp_oauth' as const, refresh: { refresh_token: 'new' } }
  await vaults.credentials.update(credential.id, { vault_id: vault.id, auth })
  await session.connect()
  expect(endpoint.asked[1]?.form['refresh_token']).toBe('new')
})

test('a credential is validated against its server, renewed if need be, and its secrets are not shown', async () => {
  const all = await vaulted()
  const [mcp, endpoint] = [await guarded('stale'), await tokenEndpoint()]
  const { vaults } = all.client.beta
  const vault = await vaults.create({ display_name: 'a' })
  const { id } = await vaults.credentials.create(vault.id, { auth: oauth(mcp, endpoint) })
  const validate = () => vaults.credentials.mcpOAuthValidate(id, { vault_id: vault.id })
  expect(await validate()).toMatchObject({ status: 'valid', has_refresh_token: true, mcp_probe: null, refresh: null })
  mcp.takes = 'Bearer fresh'
  expect(await validate()).toMatchObject({ status: 'valid', refresh: { status: 'succeeded', http_response: null } })
  mcp.takes = 'Bearer none'
  endpoint.answer = () => ({ status: 400, body: { error: 'next is gone' } })
  expect(await validate()).toMatchObject({
    status: 'invalid',
    mcp_probe: {
      method: 'initialize',
      http_response: { status_code: 401, body: 'bad Bearer ***', body_truncated: false },
    },
    refresh: { status: 'failed', http_response: { status_code: 400, body: '{"error":"*** is gone"}' } },
  })
  expect(await validate()).toMatchObject({ status: 'invalid', refresh: { status: 'no_refresh_token' } })
  const nowhere = { ...mcp, url: 'http://127.0.0.1:9/' }
  const lost = await vaults.credentials.create(vault.id, { auth: oauth(nowhere, endpoint) })
  expect(await vaults.credentials.mcpOAuthValidate(lost.id, { vault_id: vault.id })).toMatchObject({
    status: 'unknown',
    mcp_probe: { http_response: null },
  })
  const auth = { type: 'static_bearer' as const, token: 't', mcp_server_url: 'https://mcp.example/' }
  const bearer = await vaults.credentials.create(vault.id, { auth })
  await expect(vaults.credentials.mcpOAuthValidate(bearer.id, { vault_id: vault.id })).rejects.toThrow(
    'no mcp_oauth credential',
  )
})

test('secrets move to the newest key when a server starts with it, and the older key can go then', async () => {
  const all = await vaulted()
  const mcp = await guarded('hidden')
  const { vaults } = all.client.beta
  const vault = await vaults.create({ display_name: 'a' })
  const auth = { type: 'static_bearer' as const, token: 'hidden', mcp_server_url: mcp.url }
  const { id } = await vaults.credentials.create(vault.id, { auth })
  const keyOfRow = async () =>
    /"key":"(\w+)"/.exec((await all.store.resources.get('vault_credential', 'default', id))?.body ?? '')?.[1]
  expect(await keyOfRow()).toBe('one')
  const start = (...keys: { id: string; key: string }[]) => {
    const log: string[] = []
    const line = (message: string): void => void log.push(message)
    const logger = { debug() {}, info: line, warn: line, error: line }
    const server = createServer(all.pool, {
      clock: all.clock,
      logger,
      apiStore: all.store,
      managedAgents: { vaults: { keys } },
    })
    onTestFinished(() => server.close())
    return { log, all: { ...all, server, client: clientOf(server) } }
  }
  const [old, newer] = [
    { id: 'one', key: keyOf(1) },
    { id: 'two', key: keyOf(2) },
  ]
  const wrong = start(newer)
  await expect.poll(() => wrong.log).toContainEqual(expect.stringContaining('cannot be decrypted'))
  const lost = await sessionWith(wrong.all, mcp.url, [vault.id])
  await expect(lost.connect()).rejects.toThrow('encrypted with the key "one", which this server does not have')
  start(newer, old)
  await expect.poll(keyOfRow).toBe('two')
  await (await sessionWith(start(newer).all, mcp.url, [vault.id])).connect()
})

test('a secret opens for its own credential alone', async () => {
  const all = await vaulted()
  const mcp = await guarded('hidden')
  const { vaults } = all.client.beta
  const [one, two] = [await vaults.create({ display_name: 'a' }), await vaults.create({ display_name: 'b' })]
  const auth = { type: 'static_bearer' as const, token: 'hidden', mcp_server_url: mcp.url }
  const stolen = await vaults.credentials.create(one.id, { auth })
  const mine = await vaults.credentials.create(two.id, { auth: { ...auth, token: 'mine' } })
  const rowOf = async (id: string) => (await all.store.resources.get('vault_credential', 'default', id)) as Resource
  const [from, to] = [await rowOf(stolen.id), await rowOf(mine.id)]
  const { sealed } = JSON.parse(from.body) as { sealed: object }
  await all.store.resources.replace(to, { ...to, body: JSON.stringify({ ...(JSON.parse(to.body) as object), sealed }) })
  await expect((await sessionWith(all, mcp.url, [two.id])).connect()).rejects.toThrow('was changed in the store')
  expect(mcp.asked).toEqual([])
})

test.each([
  [[{ id: 'a' }], 'needs one of key, file and command'],
  [[{ id: 'a', key: keyOf(1), file: '/x' }], 'needs one of key, file and command'],
  [[{ id: 'a', key: 'c2hvcnQ=' }], 'is not 32 bytes in base64'],
  [[{ id: 'a', file: '/nowhere/key' }], 'cannot be read'],
  [[{ id: 'a', command: ['true'] }], 'is run by claude-agent-pool serve alone'],
  [
    [
      { id: 'a', key: keyOf(1) },
      { id: 'a', key: keyOf(2) },
    ],
    'have an id twice',
  ],
])('the keys %j are refused', async (keys, problem) => {
  await expect(served({ managedAgents: { vaults: { keys } } })).rejects.toThrow(problem)
})
