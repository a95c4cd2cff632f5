import { readFile } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { hashKey } from '../../../../src/server/auth/authenticator.ts'
import { readServerConfig } from '../../../../src/server/options.ts'
import { temporaryFolder } from '../../../fixtures/temporary-folder.ts'
import { Frames, served } from '../../../fixtures/server.ts'
import type { ServedFakes } from '../../../fixtures/server.ts'
import { SettableClock } from '../../../fixtures/settable-clock.ts'

const PAGE = 'http://localhost:5173'
const KEY = 'cap_0123456789abcdef0123456789'
const OTHER = 'cap_fedcba9876543210fedcba9876'
const keys = [
  { tenant: 'acme', sha256: hashKey(KEY) },
  { tenant: 'other', sha256: hashKey(OTHER) },
]
const asked = { agents: ['assistant'], sessions: ['ada'] }

const run = (threadId = 'ada', text = 'hello'): object => ({
  threadId,
  runId: 'r',
  messages: [{ id: text, role: 'user', content: text }],
  tools: [],
  context: [],
})

/** What a browser sends before a request that it does not take for simple. */
const preflight = ({ ask }: ServedFakes, origin: string): Promise<Response> =>
  ask('OPTIONS', '/ag-ui/assistant', {
    headers: {
      origin,
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization,content-type',
    },
  })

interface Token {
  id: string
  token: string
  expires_at: string
  authorization: { authorization: string }
}

const mint = async ({ ask }: ServedFakes, body: object = asked, key = KEY): Promise<Token> => {
  const response = await ask('POST', '/browser-tokens', { body, headers: { 'x-api-key': key } })
  expect(response.status).toBe(200)
  expect(response.headers.get('cache-control')).toBe('no-store')
  const made = (await response.json()) as Token
  return { ...made, authorization: { authorization: `Bearer ${made.token}` } }
}

describe('a page of another origin', () => {
  test('may call the server when server.origins names it, and reads what it answers', async () => {
    const all = await served({ keys, origins: [PAGE] })
    const before = await preflight(all, PAGE)
    expect(before.status).toBe(204)
    expect(before.headers.get('access-control-allow-origin')).toBe(PAGE)
    expect(before.headers.get('access-control-allow-methods')).toContain('POST')
    expect(before.headers.get('access-control-allow-headers')).toBe('authorization,content-type')
    const { authorization } = await mint(all)
    const response = await all.ask('POST', '/ag-ui/assistant', {
      body: run(),
      headers: { origin: PAGE, ...authorization },
    })
    expect(response.headers.get('access-control-allow-origin')).toBe(PAGE)
    expect(response.headers.get('access-control-expose-headers')).toContain('request-id')
    expect(response.headers.get('vary')).toContain('Origin')
    expect(await response.text()).toContain('You said: hello')
  })

  test('reads errors, too', async () => {
    const { ask } = await served({ keys, origins: [PAGE] })
    const response = await ask('POST', '/ag-ui/assistant', { body: run(), headers: { origin: PAGE } })
    expect(response.status).toBe(401)
    expect(response.headers.get('access-control-allow-origin')).toBe(PAGE)
  })

  test.each([
    ['no origins', []],
    ['other origins', ['https://app.example']],
    ['its origin with another port', ['http://localhost:5174']],
  ])('is refused by name with %s', async (_what, origins) => {
    const all = await served({ keys, origins })
    const before = await preflight(all, PAGE)
    expect(before.status).toBe(403)
    expect(before.headers.get('access-control-allow-origin')).toBeNull()
    expect(await before.text()).toContain('name that origin in server.origins')
    const response = await all.ask('POST', '/ag-ui/assistant', {
      body: run(),
      headers: { origin: PAGE, 'x-api-key': KEY },
    })
    expect(response.headers.get('access-control-allow-origin')).toBeNull()
  })

  test('may call a server without keys only when server.origins names it, on whatever port it is', async () => {
    const closed = await served()
    expect((await closed.ask('POST', '/ag-ui/assistant', { body: run(), headers: { origin: PAGE } })).status).toBe(403)
    const open = await served({ origins: [PAGE] })
    const response = await open.ask('POST', '/ag-ui/assistant', { body: run(), headers: { origin: PAGE } })
    expect(response.status).toBe(200)
    await response.text()
  })

  test.each(['cross-site', 'same-site'])(
    'loads nothing of a server without keys as its own element: %s',
    async (site) => {
      const { ask } = await served({ origins: [PAGE] })
      expect((await ask('GET', '/sessions/s/messages', { headers: { 'sec-fetch-site': site } })).status).toBe(403)
    },
  )

  test('is no stranger where the server is mounted into its own', async () => {
    const { ask } = await served()
    const headers = { origin: 'http://localhost:3000', host: 'localhost:3000' }
    const response = await ask('POST', '/ag-ui/assistant', { body: run(), headers })
    expect(response.status).toBe(200)
    await response.text()
  })
})

describe('a browser token', () => {
  test('opens AG-UI with its agents and sessions, and nothing else', async () => {
    const agents = { assistant: {}, secret: {} }
    const all = await served({ keys }, { agents })
    const { authorization: headers } = await mint(all)
    const response = await all.ask('POST', '/ag-ui/assistant', { body: run(), headers })
    expect(await response.text()).toContain('You said: hello')
    expect(await all.pool.sessions()).toMatchObject([{ tenant: 'acme', key: 'ada' }])
    expect((await all.ask('GET', '/sessions/ada/messages', { headers })).status).toBe(200)
    const refused: [string, string, object?][] = [
      ['POST', '/ag-ui/secret', run()],
      ['POST', '/ag-ui/assistant', run('bob')],
      ['POST', '/sessions/ada/messages', { prompt: 'hello' }],
      ['GET', '/sessions/bob/messages'],
      ['GET', '/v1/sessions'],
      ['GET', '/v1/sessions/bob/events'],
      ['GET', '/v1/sessions/bob/events/stream'],
      ['POST', '/v1/sessions/ada/events', { events: [] }],
      ['DELETE', '/v1/sessions/ada'],
      ['GET', '/v1/agents'],
      ['POST', '/browser-tokens', asked],
      ['DELETE', '/browser-tokens/btok_1'],
    ]
    for (const [method, path, body] of refused) {
      const { status } = await all.ask(method, path, { headers, ...(body === undefined ? {} : { body }) })
      expect([method, path, status]).toEqual([method, path, 403])
    }
    expect(await all.pool.sessions()).toHaveLength(1)
  })

  test('opens the events of its sessions under /v1', async () => {
    const all = await served({ keys })
    const key = { 'x-api-key': KEY }
    const environment = (await (
      await all.ask('POST', '/v1/environments', { body: { name: 'e' }, headers: key })
    ).json()) as { id: string }
    const listed = (await (await all.ask('GET', '/v1/agents', { headers: key })).json()) as { data: { id: string }[] }
    const session = (await (
      await all.ask('POST', '/v1/sessions', {
        body: { agent: listed.data[0]?.id, environment_id: environment.id },
        headers: key,
      })
    ).json()) as { id: string }
    const { authorization: headers } = await mint(all, { ...asked, sessions: [session.id] })
    expect((await all.ask('GET', `/v1/sessions/${session.id}/events`, { headers })).status).toBe(200)
    expect((await all.ask('GET', `/v1/sessions/${session.id}`, { headers })).status).toBe(403)
    const stream = await all.ask('GET', `/v1/sessions/${session.id}/events/stream`, { headers })
    expect(stream.status).toBe(200)
    const ended = stream.text().then(
      () => 'ended',
      () => 'cut',
    )
    await all.clock.advance(600_000)
    expect(await ended).toBe('cut')
  })

  test('lives ten minutes, or as long as was asked for', async () => {
    const all = await served({ keys })
    const usual = await mint(all)
    const short = await mint(all, { ...asked, expires_in: 60 })
    expect(Date.parse(usual.expires_at) - Date.parse(short.expires_at)).toBe(540_000)
    const status = async ({ authorization: headers }: Token): Promise<number> =>
      (await all.ask('GET', '/sessions/ada/messages', { headers })).status
    await all.clock.advance(59_999)
    expect(await status(short)).toBe(404)
    await all.clock.advance(1)
    expect(await status(short)).toBe(401)
    await all.clock.advance(539_999)
    expect(await status(usual)).toBe(404)
    await all.clock.advance(1)
    expect(await status(usual)).toBe(401)
  })

  test('lives as long whatever the machine’s clock is set to', async () => {
    const clock = new SettableClock()
    const all = await served({ keys }, { clock })
    const { authorization: headers } = await mint(all)
    const status = async (): Promise<number> => (await all.ask('GET', '/sessions/ada/messages', { headers })).status
    clock.shift = 86_400_000
    expect(await status()).toBe(404)
    clock.shift = -86_400_000
    await clock.advance(600_000)
    expect(await status()).toBe(401)
  })

  test('is revoked by its tenant alone, and its streams are cut', async () => {
    const all = await served({ keys })
    all.driver.onStart = (process) => (process.answersAtOnce = false)
    const token = await mint(all)
    const headers = token.authorization
    const response = await all.ask('POST', '/ag-ui/assistant', { body: run(), headers })
    const reading = response.text().then(
      () => 'ended',
      () => 'cut',
    )
    const revoke = async (key: string): Promise<number> =>
      (await all.ask('DELETE', `/browser-tokens/${token.id}`, { headers: { 'x-api-key': key } })).status
    expect(await revoke(OTHER)).toBe(404)
    expect((await all.ask('GET', '/sessions/ada/messages', { headers })).status).toBe(200)
    expect(await revoke(KEY)).toBe(204)
    expect(await reading).toBe('cut')
    expect((await all.ask('GET', '/sessions/ada/messages', { headers })).status).toBe(401)
    expect(await revoke(KEY)).toBe(404)
  })

  test('holds its page to what it names also where no key is asked for', async () => {
    const all = await served({ origins: [PAGE] })
    const { token } = (await (await all.ask('POST', '/browser-tokens', { body: asked })).json()) as Token
    const headers = { origin: PAGE, authorization: `Bearer ${token}` }
    expect((await all.ask('GET', '/v1/sessions', { headers })).status).toBe(403)
    const unknown = { origin: PAGE, authorization: `Bearer ${token}x` }
    expect((await all.ask('GET', '/v1/sessions', { headers: unknown })).status).toBe(401)
  })

  test('survives a restart of the server, and is in no file or log as it was given', async () => {
    const resourceFile = `${await temporaryFolder()}/api.sqlite`
    const first = await served({ keys, resourceFile })
    const { token, authorization: headers } = await mint(first)
    expect(JSON.stringify(first.log)).not.toContain(token)
    const second = await served({ keys, resourceFile })
    expect((await second.ask('GET', '/sessions/ada/messages', { headers })).status).toBe(404)
    await new Frames(await second.ask('POST', '/ag-ui/assistant', { body: run(), headers })).leave()
    expect(second.log.at(-1)?.facts['caller']).toMatch(/^btok_[0-9a-f]{24} of key /)
    expect(await readFile(resourceFile, 'latin1')).not.toContain(token)
  })

  test.each<[string, object, string]>([
    ['no agents', { agents: [], sessions: ['a'] }, 'agents: must name at least one of the agents'],
    ['no sessions', { agents: ['assistant'] }, 'sessions: must be a list of sessions'],
    ['an unknown agent', { ...asked, agents: ['nobody'] }, 'agents: there is no agent "nobody"'],
    ['more than an hour', { ...asked, expires_in: 3_601 }, 'expires_in: must be at most 3600 seconds'],
    ['a number for a session', { ...asked, sessions: [5] }, 'sessions.0: must be text, not a number'],
    ['no time', { ...asked, expires_in: 0 }, 'expires_in: must be at least 1 second'],
  ])('with %s is refused', async (_what, body, message) => {
    const { ask } = await served({ keys })
    const response = await ask('POST', '/browser-tokens', { body, headers: { 'x-api-key': KEY } })
    expect(response.status).toBe(400)
    expect(await response.json()).toMatchObject({ error: { message: expect.stringContaining(message) as string } })
  })
})

test.each(['*', 'https://app.example/', 'https://app.example/chat', 'app.example', 'null', 'HTTPS://APP.example'])(
  'server.origins refuses "%s", which no browser sends as an origin',
  (origin) => {
    expect(() => readServerConfig({ origins: [origin] })).toThrow('server.origins.0: is not an origin')
  },
)
