import { createServer as createHttpServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { SignJWT, exportJWK, generateKeyPair } from 'jose'
import { describe, expect, onTestFinished, test } from 'vitest'
import { hashKey, isLoopback } from '../../../src/server/auth.ts'
import { parseKeyList, readServerConfig } from '../../../src/server/options.ts'
import { Frames, served } from '../../fixtures/server.ts'

const KEY = 'cap_0123456789abcdef0123456789'
const OTHER = 'cap_fedcba9876543210fedcba9876'
const keys = [
  { tenant: 'acme', sha256: hashKey(KEY) },
  { tenant: 'other', sha256: hashKey(OTHER) },
]
const body = { prompt: 'hello' }

test.each<[string, Record<string, string>, number]>([
  ['x-api-key', { 'x-api-key': KEY }, 200],
  ['a bearer', { authorization: `Bearer ${KEY}` }, 200],
  ['no key', {}, 401],
  ['another key', { 'x-api-key': `${KEY}x` }, 401],
  ['the hash of the key', { 'x-api-key': hashKey(KEY) }, 401],
  ['a basic login', { authorization: `Basic ${KEY}` }, 401],
])('with %s', async (_what, headers, status) => {
  const { ask } = await served({ keys })
  const response = await ask('POST', '/sessions/s/messages', { body, headers })
  expect(response.status).toBe(status)
  expect(response.headers.get('request-id')).toMatch(/^req_[0-9a-f]{24}$/)
  if (status === 200) await new Frames(response).rest()
  else
    expect(await response.json()).toMatchObject({
      type: 'error',
      error: { type: 'authentication_error' },
      request_id: response.headers.get('request-id'),
    })
})

test('a tenant finds nothing of another: its session is one that does not exist', async () => {
  const { ask, pool } = await served({ keys })
  await new Frames(await ask('POST', '/sessions/s/messages', { body, headers: { 'x-api-key': KEY } })).rest()
  expect((await ask('GET', '/sessions/s/messages', { headers: { 'x-api-key': OTHER } })).status).toBe(404)
  await new Frames(await ask('POST', '/sessions/s/messages', { body, headers: { 'x-api-key': OTHER } })).rest()
  expect((await pool.sessions()).map(({ tenant, turns }) => [tenant, turns])).toEqual([
    ['acme', 1],
    ['other', 1],
  ])
})

test('keys change while the server works', async () => {
  const { ask, server } = await served({ keys })
  server.updateKeys({ keys: [{ tenant: 'acme', sha256: hashKey(OTHER) }] })
  expect((await ask('GET', '/sessions/s/messages', { headers: { 'x-api-key': KEY } })).status).toBe(401)
  expect((await ask('GET', '/sessions/s/messages', { headers: { 'x-api-key': OTHER } })).status).toBe(404)
})

test('the log names the caller and never the key', async () => {
  const { ask, log } = await served({ keys: [{ tenant: 'acme', sha256: hashKey(KEY), name: 'ci' }] })
  await ask('GET', '/sessions/s/messages', { headers: { 'x-api-key': KEY } })
  expect(log).toMatchObject([
    { message: 'request', facts: { tenant: 'acme', caller: 'ci', session: 's', status: 404 } },
  ])
  expect(JSON.stringify(log)).not.toContain(KEY)
})

describe('without keys', () => {
  test('programs of this machine are the default tenant', async () => {
    const { ask, pool } = await served()
    await new Frames(await ask('POST', '/sessions/s/messages', { body })).rest()
    expect(await pool.sessions()).toMatchObject([{ tenant: 'default' }])
  })

  test.each<[string, Record<string, string>]>([
    ['a page of another origin', { origin: 'https://evil.example' }],
    ['a page without origin', { origin: 'null' }],
    ['a name that was bent to loopback', { host: 'evil.example' }],
    ['a name that looks like loopback', { host: 'localhost.evil.example' }],
  ])('%s is refused', async (_what, headers) => {
    const { ask } = await served()
    expect((await ask('POST', '/sessions/s/messages', { body, headers })).status).toBe(403)
  })

  test('only loopback is loopback', () => {
    expect(['127.0.0.1', '::1', 'localhost', '127.9.9.9'].every(isLoopback)).toBe(true)
    expect(['0.0.0.0', '::', '10.0.0.1', 'example.com', '127.0.0.1.example.com'].some(isLoopback)).toBe(false)
  })
})

describe('tokens', () => {
  const site = async (): Promise<{
    jwt: { jwks: string; issuer: string; audience: string; tenantClaim: string }
    sign: (claims: Record<string, unknown>, times?: { expires?: string; audience?: string }) => Promise<string>
  }> => {
    const { privateKey, publicKey } = await generateKeyPair('ES256')
    const jwk = { ...(await exportJWK(publicKey)), kid: 'one', alg: 'ES256' }
    const issuer = createHttpServer((_request, response) => response.end(JSON.stringify({ keys: [jwk] })))
    issuer.listen(0, '127.0.0.1')
    await once(issuer, 'listening')
    onTestFinished(() => void issuer.close())
    const { port } = issuer.address() as AddressInfo
    return {
      jwt: { jwks: `http://127.0.0.1:${port}/`, issuer: 'https://issuer', audience: 'pool', tenantClaim: 'org' },
      sign: (claims, { expires = '5m', audience = 'pool' } = {}) =>
        new SignJWT(claims)
          .setProtectedHeader({ alg: 'ES256', kid: 'one' })
          .setIssuer('https://issuer')
          .setAudience(audience)
          .setExpirationTime(expires)
          .sign(privateKey),
    }
  }

  test('name the tenant by their claim', async () => {
    const { jwt, sign } = await site()
    const { ask, pool } = await served({ jwt })
    const authorization = `Bearer ${await sign({ org: 'acme', sub: 'ada' })}`
    await new Frames(await ask('POST', '/sessions/s/messages', { body, headers: { authorization } })).rest()
    expect(await pool.sessions()).toMatchObject([{ tenant: 'acme' }])
  })

  test('that are expired, for others, without tenant or without signature are refused', async () => {
    const { jwt, sign } = await site()
    const { ask } = await served({ jwt })
    const unsigned = [{ alg: 'none' }, { org: 'acme', iss: 'https://issuer', aud: 'pool', exp: 9e9 }]
      .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
      .join('.')
    const tokens = [
      await sign({ org: 'acme' }, { expires: '-5m' }),
      await sign({ org: 'acme' }, { audience: 'elsewhere' }),
      await sign({ sub: 'ada' }),
      `${unsigned}.`,
      'a.b.c',
    ]
    for (const token of tokens) {
      const response = await ask('GET', '/sessions/s/messages', { headers: { authorization: `Bearer ${token}` } })
      expect(response.status).toBe(401)
    }
  })
})

describe('options', () => {
  test.each<[string, unknown]>([
    ['server.keys.0.sha256: is not a SHA-256', { keys: [{ tenant: 'a', sha256: KEY }] }],
    ['server.prot: is not an option', { prot: 1 }],
    ['server.grace: "30" is not a number with a unit', { grace: '30' }],
    ['server.port: ', { port: 70_000 }],
  ])('%s', (message, options) => {
    expect(() => readServerConfig(options)).toThrow(message)
  })

  test('keys of the environment are hashed, and never shown', () => {
    expect(parseKeyList('KEYS', `a=${KEY}, b=${OTHER}`, hashKey)).toEqual([
      { tenant: 'a', sha256: hashKey(KEY) },
      { tenant: 'b', sha256: hashKey(OTHER) },
    ])
    expect(() => parseKeyList('KEYS', 'a=secret', hashKey)).toThrow(/^KEYS: the key of entry 1 has less than 24/)
    expect(() => parseKeyList('KEYS', KEY, hashKey)).toThrow('entry 1 is not of the form tenant=key')
  })
})
