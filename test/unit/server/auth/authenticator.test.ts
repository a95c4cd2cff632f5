import { createServer as createHttpServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { SignJWT, exportJWK, generateKeyPair } from 'jose'
import type { JWK, JWTPayload } from 'jose'
import { describe, expect, onTestFinished, test } from 'vitest'
import { isLoopback } from '../../../../src/addresses.ts'
import { hashKey } from '../../../../src/server/auth/authenticator.ts'
import { parseKeyList, readServerConfig } from '../../../../src/server/options.ts'
import { FakeClock } from '../../../../src/testing/clock.ts'
import { Frames, served } from '../../../fixtures/server.ts'
import type { ServedFakes } from '../../../fixtures/server.ts'

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
  server.update({ keys: [{ tenant: 'acme', sha256: hashKey(OTHER) }] })
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

/** An issuer of tokens, which may be down. */
async function issuer(): Promise<{
  jwt: { jwks: string; issuer: string; audience: string; tenantClaim: string }
  /** Signs for five minutes from `at` on, unless the claims say otherwise. */
  sign: (claims: JWTPayload, header?: { alg?: string; kid?: string; jwk?: JWK }) => Promise<string>
  /** What its public key looks like as a secret. */
  publicText: string
  state: { asked: number; down: boolean; keys: JWK[] }
  /** From now on it signs with another key. */
  rotate: () => Promise<void>
}> {
  let { privateKey, publicKey } = await generateKeyPair('ES256')
  const jwkOf = async (kid: string): Promise<JWK> => ({ ...(await exportJWK(publicKey)), kid, alg: 'ES256' })
  const state = { asked: 0, down: false, keys: [await jwkOf('one')] }
  let current = 'one'
  const http = createHttpServer((_request, response) => {
    state.asked += 1
    if (state.down) response.destroy()
    else response.end(JSON.stringify({ keys: state.keys }))
  })
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  onTestFinished(() => void http.close())
  const { port } = http.address() as AddressInfo
  return {
    jwt: { jwks: `http://127.0.0.1:${port}/`, issuer: 'https://issuer', audience: 'pool', tenantClaim: 'org' },
    publicText: JSON.stringify(state.keys[0]),
    state,
    sign: (claims, header = {}) =>
      new SignJWT({ iss: 'https://issuer', aud: 'pool', exp: NOW + 300, ...claims })
        .setProtectedHeader({ alg: 'ES256', kid: current, ...header })
        .sign(privateKey),
    async rotate() {
      ;({ privateKey, publicKey } = await generateKeyPair('ES256'))
      current = 'two'
      state.keys = [await jwkOf('two')]
    },
  }
}

/** When tests begin, in seconds. */
const NOW = new FakeClock().wall() / 1_000

describe('tokens', () => {
  const statusOf = async ({ ask }: ServedFakes, token: string): Promise<number> =>
    (await ask('GET', '/sessions/s/messages', { headers: { authorization: `Bearer ${token}` } })).status

  test('name the tenant by their claim, apart from all tenants of keys', async () => {
    const { jwt, sign } = await issuer()
    const { ask, pool } = await served({ jwt, keys })
    const authorization = `Bearer ${await sign({ org: 'acme', sub: 'ada' })}`
    await new Frames(await ask('POST', '/sessions/s/messages', { body, headers: { authorization } })).rest()
    expect(await pool.sessions()).toMatchObject([{ tenant: 'jwt:acme' }])
    expect((await ask('GET', '/sessions/s/messages', { headers: { 'x-api-key': KEY } })).status).toBe(404)
  })

  test('may name tenants as they are where no key does', async () => {
    const { jwt, sign } = await issuer()
    const { ask, pool } = await served({ jwt: { ...jwt, tenantPrefix: '' } })
    const authorization = `Bearer ${await sign({ org: 'acme' })}`
    await new Frames(await ask('POST', '/sessions/s/messages', { body, headers: { authorization } })).rest()
    expect(await pool.sessions()).toMatchObject([{ tenant: 'acme' }])
    expect(() => readServerConfig({ keys, jwt: { ...jwt, tenantPrefix: '' } })).toThrow(
      'server.jwt.tenantPrefix: "" lets the issuer name the tenant "acme"',
    )
    expect(() => readServerConfig({ keys: [{ ...keys[0], tenant: 'jwt:x' }], jwt })).toThrow('the tenant "jwt:x"')
  })

  test.each<[string, JWTPayload]>([
    ['is expired', { org: 'acme', exp: NOW - 300 }],
    ['is good for a hundred years', { org: 'acme', exp: NOW + 100 * 365 * 86_400 }],
    ['never ends', { org: 'acme', exp: undefined } as unknown as JWTPayload],
    ['is not good yet', { org: 'acme', nbf: NOW + 60 }],
    ['is for others', { org: 'acme', aud: 'elsewhere' }],
    ['is of another issuer', { org: 'acme', iss: 'https://elsewhere' }],
    ['has no tenant', { sub: 'ada' }],
    ['has a tenant that is no name', { org: ['acme'] }],
    ['has an empty tenant', { org: '' }],
    ['has a tenant with a line feed', { org: 'acme\nlevel=error' }],
    ['has a tenant without end', { org: 'x'.repeat(300) }],
  ])('one that %s is refused', async (_what, claims) => {
    const { jwt, sign } = await issuer()
    const all = await served({ jwt: { ...jwt, tenantPrefix: 'a:' } })
    expect(await statusOf(all, await sign({ org: 'acme' }))).toBe(404)
    expect(await statusOf(all, await sign(claims))).toBe(401)
  })

  test('for as long as the config allows are taken', async () => {
    const { jwt, sign } = await issuer()
    const all = await served({ jwt: { ...jwt, maxLifetime: '30d' } })
    expect(await statusOf(all, await sign({ org: 'acme', exp: NOW + 29 * 86_400 }))).toBe(404)
    expect(await statusOf(all, await sign({ org: 'acme', exp: NOW + 31 * 86_400 }))).toBe(401)
  })

  test('whose signature is none, or is made with what everybody knows, are refused', async () => {
    const { jwt, publicText, sign } = await issuer()
    const all = await served({ jwt })
    const claims = { org: 'acme', iss: 'https://issuer', aud: 'pool', exp: NOW + 300 }
    const encode = (part: object): string => Buffer.from(JSON.stringify(part)).toString('base64url')
    const own = await generateKeyPair('ES256', { extractable: true })
    const jwk = await exportJWK(own.publicKey)
    const forged = (header: object): Promise<string> =>
      new SignJWT(claims).setProtectedHeader({ alg: 'ES256', ...header }).sign(own.privateKey)
    const [head = '', , signature = ''] = (await sign({ org: 'acme' })).split('.')
    const tokens = [
      `${encode({ alg: 'none' })}.${encode(claims)}.`,
      await new SignJWT(claims).setProtectedHeader({ alg: 'HS256', kid: 'one' }).sign(Buffer.from(publicText)),
      await forged({ kid: 'one' }),
      await forged({ kid: 'one', jwk }),
      await forged({ kid: '../../one' }),
      await forged({}),
      `${head}.${encode({ ...claims, org: 'other' })}.${signature}`,
      'a.b.c',
      '..',
    ]
    for (const token of tokens) expect(await statusOf(all, token)).toBe(401)
  })

  test('of an issuer that is down: its last keys hold, and keys of the config are not concerned', async () => {
    const { jwt, sign, state } = await issuer()
    const all = await served({ jwt, keys })
    state.down = true
    const unknown = await all.ask('GET', '/sessions/s/messages', {
      headers: { authorization: `Bearer ${await sign({ org: 'acme' })}` },
    })
    expect([unknown.status, Number(unknown.headers.get('retry-after'))]).toEqual([503, expect.any(Number)])
    expect((await all.ask('GET', '/sessions/s/messages', { headers: { 'x-api-key': KEY } })).status).toBe(404)
    state.down = false
    await all.clock.advance(60_000)
    const later = { exp: NOW + 4 * 3_600 }
    expect(await statusOf(all, await sign({ org: 'acme', ...later }))).toBe(404)
    state.down = true
    await all.clock.advance(20 * 60_000)
    expect(await statusOf(all, await sign({ org: 'acme', ...later }))).toBe(404)
  })

  test('with a key that is not known yet bring the new keys, and made-up ones cost the issuer nothing', async () => {
    const { jwt, sign, state, rotate } = await issuer()
    const all = await served({ jwt })
    expect(await statusOf(all, await sign({ org: 'acme' }))).toBe(404)
    for (let number = 0; number < 20; number += 1)
      expect(await statusOf(all, await sign({ org: 'acme' }, { kid: `made up ${number}` }))).toBe(401)
    expect(state.asked).toBe(1)
    await rotate()
    await all.clock.advance(60_000)
    expect(await statusOf(all, await sign({ org: 'acme' }))).toBe(404)
    expect(state.asked).toBe(2)
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
