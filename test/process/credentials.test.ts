import { generateKeyPairSync, randomBytes, verify } from 'node:crypto'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { IncomingMessage, RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { BudgetError, StartError } from '../../src/index.ts'
import { identify, signal } from '../faults/procfs.ts'
import { findClaudeExecutable } from '../../src/driver/executable.ts'
import { askSocket, environOf, placesOf, proxiesOf, waysOf } from '../fixtures/credentials.ts'
import { bedrockFrames, messageEvents } from '../fixtures/model-stream.ts'
import { startHost } from '../fixtures/other-host.ts'
import {
  MODEL,
  agents,
  asked,
  event,
  modelAsked,
  openSite,
  processesOf,
  record,
  say,
  textOf,
  until,
  workerOf,
} from '../fixtures/real-pool.ts'
import type { Site } from '../fixtures/real-pool.ts'
import { temporaryFolder } from '../fixtures/temporary-folder.ts'
import { WHOLE } from '../fixtures/whole.ts'

const secret = (): string => `sk-secret-${randomBytes(16).toString('hex')}`

const keysAt = ({ simulator }: Site): unknown[] =>
  simulator.requests.map(({ headers }) => headers['x-api-key'] ?? headers['authorization'])

/** A pool whose real key is known to the model alone. */
async function secretSite(key = secret()) {
  const site = await openSite({ apiKey: key })
  return { site, key, api: { baseUrl: site.simulator.url, key } }
}

describe.runIf(process.platform === 'linux')('The key of the model', () => {
  test('is in no environment, argument, file or descriptor of any process, and turns run all the same', async () => {
    const { site, key, api } = await secretSite()
    const pool = await site.pool({ api, agents: agents({ allowedTools: ['Bash'] }) })
    const session = await pool.session('one', { agent: 'a' })
    expect((await say(session, 'hello')).text).toBe('[turn 1] You said: hello')
    const search = 'cat /proc/*/environ /proc/*/cmdline 2>/dev/null | grep -ao "sk-secret-[0-9a-f]\\{32\\}" | sort -u'
    const shown = await textOf(session.send(`@sim bash env | grep ANTHROPIC_API_KEY; ${search}`))
    expect(shown).toContain('ANTHROPIC_API_KEY=cap-')
    expect(shown).not.toContain(key)
    expect(await placesOf(key, [site.root])).toEqual([])
    expect(new Set(keysAt(site))).toEqual(new Set([key]))
    // What looks for it would find it.
    expect(await placesOf('ANTHROPIC_UNIX_SOCKET=', [])).not.toEqual([])
  })

  test('stays in the environment when the pool is told so', async () => {
    const { site, key, api } = await secretSite()
    const pool = await site.pool({ api, isolation: { credentials: 'environment' } })
    expect((await say(await pool.session('one', { agent: 'a' }), 'hello')).text).toBe('[turn 1] You said: hello')
    const { ANTHROPIC_API_KEY, ANTHROPIC_UNIX_SOCKET } = await environOf(pool.workers()[0]?.pid ?? 0)
    expect([ANTHROPIC_API_KEY, ANTHROPIC_UNIX_SOCKET]).toEqual([key, undefined])
    expect(await proxiesOf(site)).toEqual([])
  })

  test.runIf(WHOLE)('may be a token, or one of Foundry that an agent brings itself', async () => {
    const { site, key } = await secretSite()
    const baseUrl = site.simulator.url
    const env = { CLAUDE_CODE_USE_FOUNDRY: '1', ANTHROPIC_FOUNDRY_API_KEY: key, ANTHROPIC_FOUNDRY_BASE_URL: baseUrl }
    const tenants = { auth: { authToken: key }, oauth: { oauthToken: key } }
    const pool = await site.pool({
      api: { baseUrl, key: secret(), tenants },
      agents: { ...agents(), foundry: { ...agents().a, env } },
    })
    const keyOf = async (agent: string, tenant: string): Promise<unknown> => {
      const session = await pool.session(agent, { agent, tenant })
      expect((await say(session, `of ${agent} ${tenant}`)).text).toContain('You said: of')
      const { headers } = asked(site, `of ${agent} ${tenant}`)[0] ?? { headers: {} as Record<string, unknown> }
      return headers['x-api-key'] ?? headers['authorization'] ?? headers['api-key']
    }
    expect(await keyOf('a', 'auth')).toBe(`Bearer ${key}`)
    expect(await keyOf('a', 'oauth')).toBe(`Bearer ${key}`)
    expect(await keyOf('foundry', 'default')).toBe(key)
    const shown = await Promise.all(pool.workers().map(({ pid }) => environOf(pid ?? 0)))
    for (const variable of ['ANTHROPIC_AUTH_TOKEN', 'CLAUDE_CODE_OAUTH_TOKEN', 'ANTHROPIC_FOUNDRY_API_KEY'])
      expect(shown.map((environment) => environment[variable] ?? '').join('')).toMatch(/^cap-/)
    expect(await placesOf(key, [site.root])).toEqual([])
  })

  test('reaches a CLI that does not know the socket over loopback, also when an agent gets it later', async () => {
    const { site, key, api } = await secretSite()
    const own = join(site.root, 'own-claude')
    await writeFile(own, `#!/bin/sh\nunset ANTHROPIC_UNIX_SOCKET\nexec "${findClaudeExecutable()}" "$@"\n`, {
      mode: 0o700,
    })
    const pool = await site.pool({ api })
    pool.updateAgents(agents({ pathToClaudeCodeExecutable: own }))
    expect((await say(await pool.session('one', { agent: 'a' }), 'hello')).text).toBe('[turn 1] You said: hello')
    const { ANTHROPIC_BASE_URL = '' } = await environOf(pool.workers()[0]?.pid ?? 0)
    expect(ANTHROPIC_BASE_URL).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
    expect(ANTHROPIC_BASE_URL).not.toBe(site.simulator.url)
    const forged = await fetch(`${ANTHROPIC_BASE_URL}/v1/messages`, {
      method: 'POST',
      headers: { 'x-api-key': 'cap-x' },
    })
    expect(forged.status).toBe(401)
    expect(keysAt(site)).toEqual([key])
  })

  test('changes for processes that run, and their conversations stay live', async () => {
    const { site, key, api } = await secretSite()
    const pool = await site.pool({ api })
    const session = await pool.session('one', { agent: 'a' })
    await say(session, 'hello')
    const next = secret()
    pool.updateApi({ ...api, key: next })
    // The model knows the old one alone.
    await expect(textOf(session.send('again'))).rejects.toMatchObject({ code: 'api_authentication' })
    expect(keysAt(site).slice(0, 2)).toEqual([key, next])
    pool.updateApi(api)
    expect(await say(session, 'once more')).toMatchObject({ warmth: 'live' })
  })

  test('is read again from its file, for processes that run', async () => {
    const { site, key, api } = await secretSite()
    const file = join(site.root, 'key')
    await writeFile(file, `${key}\n`)
    const pool = await site.pool({ api: { baseUrl: api.baseUrl, refresh: { file, every: '1s' } } })
    const session = await pool.session('one', { agent: 'a' })
    await say(session, 'hello')
    const { pid } = workerOf(pool, 'one')
    const next = secret()
    await writeFile(file, next)
    // The model knows the old one alone.
    await until(async () =>
      expect(await textOf(session.send('again')).catch(({ code }: { code: string }) => code)).toBe(
        'api_authentication',
      ),
    )
    expect(keysAt(site)).toEqual(expect.arrayContaining([key, next]))
    expect(workerOf(pool, 'one').pid).toBe(pid)
  })

  test('is another one for each tenant that has one', async () => {
    const site = await openSite()
    const [shared, own] = [secret(), secret()]
    const api = { baseUrl: site.simulator.url, key: shared, tenants: { acme: { key: own } } }
    const pool = await site.pool({ api })
    await say(await pool.session('one', { agent: 'a', tenant: 'acme' }), 'of acme')
    await say(await pool.session('one', { agent: 'a' }), 'of all')
    const keyOf = (words: string): unknown => asked(site, words)[0]?.headers['x-api-key']
    expect([keyOf('of acme'), keyOf('of all')]).toEqual([own, shared])
  })
})

describe.runIf(process.platform === 'linux')('The credential proxy', () => {
  test('serves a worker on its own socket, with its own token, on paths of the model, while the worker lives', async () => {
    const { site, api } = await secretSite()
    const pool = await site.pool({ api })
    const [one, two] = await Promise.all(['one', 'two'].map((key) => pool.session(key, { agent: 'a' })))
    await say(one as never, 'hello')
    await say(two as never, 'hello')
    const [a, b] = [await waysOf(pool, 'one'), await waysOf(pool, 'two')]
    const ask = async (socket: string, token: string, more: object = {}): Promise<number> =>
      (await askSocket(socket, { headers: { 'x-api-key': token }, ...more })).status
    const list = { method: 'GET', path: '/v1/models' }
    expect(await ask(a.socket, a.token, list)).toBe(200)
    expect(await ask(b.socket, b.token, list)).toBe(200)
    expect(await ask(b.socket, a.token, list), 'the token of another worker').toBe(401)
    expect(await ask(a.socket, `cap-${'x'.repeat(43)}`, list), 'a forged token').toBe(401)
    expect((await askSocket(a.socket, list)).status, 'no token').toBe(401)
    for (const path of ['/v1/files', '/v1/messages/../files', '/v1/messages/batches', '/', '//v1/messages'])
      expect([path, await ask(a.socket, a.token, { path })]).toEqual([path, 404])
    expect(await ask(a.socket, a.token, { method: 'DELETE', path: '/v1/models' })).toBe(404)
    const left = event(pool, 'worker.closed', ({ worker }) => worker.pid === a.pid)
    process.kill(a.pid, 'SIGKILL')
    await left
    await until(() =>
      expect(ask(a.socket, a.token, list)).rejects.toMatchObject({
        code: expect.stringMatching(/ENOENT|ECONN/) as string,
      }),
    )
    expect(await ask(b.socket, b.token, list)).toBe(200)
  })

  test('refuses the call after the one that has used up the budget, with an error that says so', async () => {
    const site = await openSite()
    const pool = await site.pool({ budgets: { session: { tokens: 10 } } })
    const refusals = record(pool, 'budget.reached')
    const session = await pool.session('one', { agent: 'a' })
    await say(session, 'hello')
    const failure = await session.send('again').result.catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(BudgetError)
    expect((failure as Error).message).toMatch(/^the budget of session "one" is used up: [\d,]+ of 10 tokens$/)
    expect(refusals.map(({ account }) => account)).toEqual([{ scope: 'session', tenant: 'default', name: 'one' }])
    expect(asked(site, 'again')).toEqual([])
    expect((await say(await pool.session('two', { agent: 'a' }), 'hello')).text).toBe('[turn 1] You said: hello')
  })

  test('counts what an agent does behind the back of its process', async () => {
    const site = await openSite()
    const pool = await site.pool({ budgets: { tenant: { costUsd: 100 } } })
    await say(await pool.session('one', { agent: 'a' }), 'hello')
    const { spent } = await pool.budget()
    const { socket, token } = await waysOf(pool, 'one')
    const message = { model: MODEL, max_tokens: 10, messages: [{ role: 'user', content: 'x'.repeat(400_000) }] }
    const answer = await askSocket(socket, { headers: { 'x-api-key': token }, body: JSON.stringify(message) })
    expect(answer.status).toBe(200)
    await until(async () => expect((await pool.budget()).spent.tokens).toBeGreaterThan(spent.tokens + 10_000))
  })

  test.runIf(WHOLE)('keeps the budget of a tenant, and what was used of it, over hosts', async () => {
    const site = await openSite()
    const first = await site.pool()
    await first.setBudget('acme', { tokens: 10 })
    await say(await first.session('one', { agent: 'a', tenant: 'acme' }), 'hello')
    await first.close()
    const second = await site.pool()
    const acme = await second.budget('acme')
    expect(acme.budget).toEqual({ tokens: 10 })
    expect(acme.spent.tokens).toBeGreaterThan(10)
    const session = await second.session('two', { agent: 'a', tenant: 'acme' })
    await expect(textOf(session.send('hello'))).rejects.toThrow('the budget of tenant "acme" is used up')
    await second.setBudget('acme', { tokens: 1_000_000 })
    expect((await say(session, 'raised')).text).toContain('You said: raised')
    await expect(second.setBudget('acme', {})).rejects.toThrow('budget: needs costUsd, tokens or both')
  })

  test('refuses to start a process with a credential that it cannot hold, when there is a budget', async () => {
    const site = await openSite()
    const env = { CLAUDE_CODE_USE_BEDROCK: '1', AWS_PROFILE: 'work' }
    const pool = await site.pool({ agents: agents({ env }), budgets: { tenant: { costUsd: 1 } } })
    const failure = await textOf((await pool.session('one', { agent: 'a' })).send('hello')).catch(
      (error: unknown) => error,
    )
    expect(failure).toBeInstanceOf(StartError)
    expect((failure as Error).message).toContain(
      'budgets need the credential proxy, and it cannot hold this credential',
    )
    await expect(
      site.pool({ isolation: { credentials: 'environment' }, budgets: { tenant: { tokens: 1 } } }),
    ).rejects.toThrow('budgets: need the credential proxy')
  })

  test('that is killed is there again, and a turn under way goes on', async () => {
    const { site, api } = await secretSite()
    const pool = await site.pool({ api })
    const warnings = record(pool, 'warning')
    const session = await pool.session('one', { agent: 'a' })
    await say(session, 'hello')
    const turn = session.send('@sim delay 1000\n@sim say survived')
    await modelAsked(site, 'survived')
    const [proxy = 0] = await proxiesOf(site)
    process.kill(proxy, 'SIGKILL')
    expect(await textOf(turn)).toBe('survived')
    expect(warnings.map(({ message }) => message)).toEqual(['the credential proxy has ended; another one follows'])
    const [next] = await proxiesOf(site)
    expect(next).not.toBe(proxy)
    expect(await say(session, 'still here')).toMatchObject({ warmth: 'live' })
  })

  test('ends with its host, however that ends', async () => {
    const site = await openSite()
    const pool = await site.pool()
    await say(await pool.session('one', { agent: 'a' }), 'hello')
    expect(await proxiesOf(site)).toHaveLength(1)
    await pool.close()
    expect(await proxiesOf(site)).toEqual([])
    const host = startHost(site)
    await host.open()
    await host.ask({ do: 'say', key: 'two', text: 'hello' })
    expect(await proxiesOf(site)).toHaveLength(1)
    await host.kill()
    await until(async () => expect(await processesOf(site.root, { proxy: true })).toEqual([]))
  })

  test('that stands still when its host dies is ended by the sentinel', async () => {
    const site = await openSite()
    const host = startHost(site)
    await host.open()
    await host.ask({ do: 'say', key: 'one', text: 'hello' })
    const [proxy] = (await proxiesOf(site)).map(identify)
    if (proxy === undefined) throw new Error('the host has no credential proxy')
    onTestFinished(() => signal(proxy, 'SIGKILL'))
    signal(proxy, 'SIGSTOP')
    await host.kill()
    await until(async () => expect(await processesOf(site.root, { proxy: true })).toEqual([]))
  })
})

/** What stands in for a cloud; the requests that it has got. */
async function cloud(answer: RequestListener): Promise<{ url: string; requests: IncomingMessage[] }> {
  const requests: IncomingMessage[] = []
  const server = createServer((request, response) => {
    requests.push(request)
    answer(request, response)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests }
}

/** A service account with a key of its own, and who reads what it asserts. */
async function serviceAccount() {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 })
  const folder = await temporaryFolder()
  return {
    async accountFile(tokenUri: string): Promise<string> {
      const path = join(folder, 'account.json')
      const account = {
        type: 'service_account',
        client_email: 'pool@project-1.iam.gserviceaccount.com',
        private_key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
        project_id: 'project-1',
        token_uri: tokenUri,
      }
      await writeFile(path, JSON.stringify(account), { mode: 0o600 })
      return path
    },
    readsAssertion(assertion: string, audience: string): boolean {
      const [header = '', claims = '', signature = ''] = assertion.split('.')
      const { aud } = JSON.parse(Buffer.from(claims, 'base64url').toString()) as { aud: string }
      const signed = Buffer.from(`${header}.${claims}`)
      return aud === audience && verify('RSA-SHA256', signed, publicKey, Buffer.from(signature, 'base64url'))
    },
  }
}

// Not run live: what AWS and Google themselves say to these signatures is not known here.
describe.runIf(process.platform === 'linux')('A stand-in for a cloud', () => {
  test('of Amazon gets requests that are signed by keys which the agent does not have', async () => {
    const bedrock = await cloud((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/vnd.amazon.eventstream' })
      response.end(bedrockFrames(messageEvents(MODEL, 'from Bedrock')))
    })
    const [id, key] = [`AKIA${secret()}`, secret()]
    const site = await openSite()
    const env = {
      CLAUDE_CODE_USE_BEDROCK: '1',
      AWS_REGION: 'eu-central-1',
      AWS_ACCESS_KEY_ID: id,
      AWS_SECRET_ACCESS_KEY: key,
      ANTHROPIC_BEDROCK_BASE_URL: bedrock.url,
    }
    const pool = await site.pool({ agents: agents({ env }), budgets: { tenant: { tokens: 1_000_000 } } })
    expect((await say(await pool.session('one', { agent: 'a' }), 'hello')).text).toBe('from Bedrock')
    // It also asks for inference profiles, past the proxy and without a key.
    const request = bedrock.requests.find(({ url }) => url?.includes('claude-sonnet-5'))
    expect(request?.url).toMatch(/^\/model\/[^/]*claude-sonnet-5[^/]*\/invoke-with-response-stream$/)
    expect(request?.headers['authorization']).toMatch(
      new RegExp(
        `^AWS4-HMAC-SHA256 Credential=${id}/\\d{8}/eu-central-1/bedrock/aws4_request, SignedHeaders=accept;content-type;host;x-amz-date, `,
      ),
    )
    for (const text of [id, key]) expect(await placesOf(text, [site.root])).toEqual([])
    await until(async () => expect((await pool.budget()).spent.tokens).toBeGreaterThanOrEqual(12))
  })

  test('of Google gets tokens of a service account that the agent does not have', async () => {
    const account = await serviceAccount()
    const tokens = await cloud((request, response) => {
      let body = ''
      request.on('data', (chunk: Buffer) => {
        body += chunk.toString()
      })
      request.on('end', () => {
        const ok = account.readsAssertion(new URLSearchParams(body).get('assertion') ?? '', tokens.url)
        response.writeHead(ok ? 200 : 400, { 'content-type': 'application/json' })
        response.end(
          JSON.stringify(ok ? { access_token: 'ya29-access', expires_in: 3_600 } : { error: 'invalid_grant' }),
        )
      })
    })
    const vertex = await cloud((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.end(
        messageEvents(MODEL, 'from Vertex')
          .map((data) => `event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`)
          .join(''),
      )
    })
    const site = await openSite()
    const env = {
      CLAUDE_CODE_USE_VERTEX: '1',
      CLOUD_ML_REGION: 'us-east5',
      GOOGLE_APPLICATION_CREDENTIALS: await account.accountFile(tokens.url),
      ANTHROPIC_VERTEX_BASE_URL: `${vertex.url}/v1`,
    }
    const pool = await site.pool({ agents: agents({ env }) })
    expect((await say(await pool.session('one', { agent: 'a' }), 'hello')).text).toBe('from Vertex')
    const [request] = vertex.requests
    expect(request?.url).toContain('/v1/projects/project-1/locations/us-east5/publishers/anthropic/models/')
    expect(request?.headers['authorization']).toBe('Bearer ya29-access')
    const own = await environOf(pool.workers()[0]?.pid ?? 0)
    expect(own['GOOGLE_APPLICATION_CREDENTIALS']).toBeUndefined()
    expect(own['ANTHROPIC_CUSTOM_HEADERS']).toMatch(/^authorization: Bearer cap-/)
  })
})
