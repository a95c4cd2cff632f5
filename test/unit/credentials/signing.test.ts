import { createPrivateKey, createPublicKey, verify } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { AccessTokens, assertionOf, signRs256 } from '../../../src/credentials/signing/service-account.ts'
import { signV4 } from '../../../src/credentials/signing/sigv4.ts'
import { FakeClock } from '../../../src/testing/clock.ts'
import { RFC_7515_KEY } from './rsa-key.ts'

const EXAMPLE = {
  region: 'us-east-1',
  service: 'service',
  accessKeyId: 'AKIDEXAMPLE',
  secretAccessKey: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY',
}
const AT = Date.UTC(2015, 7, 30, 12, 36)
const HOST = 'https://example.amazonaws.com'

/** Of the test suite that AWS has published for Signature Version 4. */
const AWS_SUITE: [
  name: string,
  method: string,
  url: string,
  body: string,
  headers: Record<string, string>,
  by: string,
][] = [
  ['get-vanilla', 'GET', '/', '', {}, '5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31'],
  [
    'get-vanilla-query-order-key-case',
    'GET',
    '/?Param2=value2&Param1=value1',
    '',
    {},
    'b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500',
  ],
  [
    'get-vanilla-query-order-value',
    'GET',
    '/?Param1=value2&Param1=value1',
    '',
    {},
    '5772eed61e12b33fae39ee5e7012498b51d56abc0abb7c60486157bd471c4694',
  ],
  [
    'get-vanilla-query-unreserved',
    'GET',
    '/?-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz',
    '',
    {},
    '9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197',
  ],
  ['post-vanilla', 'POST', '/', '', {}, '5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b'],
  [
    'post-x-www-form-urlencoded',
    'POST',
    '/',
    'Param1=value1',
    { 'content-type': 'application/x-www-form-urlencoded' },
    'ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a',
  ],
]

describe('AWS Signature Version 4', () => {
  test.each(AWS_SUITE)('signs %s as the published suite says', (_name, method, path, body, headers, signature) => {
    const signed = signV4({ method, url: new URL(HOST + path), headers, body }, EXAMPLE, AT)
    const names = ['content-type', 'host', 'x-amz-date'].filter((name) => name in headers || name !== 'content-type')
    expect(signed).toEqual({
      'x-amz-date': '20150830T123600Z',
      authorization: `AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=${names.join(';')}, Signature=${signature}`,
    })
  })

  test('signs a session token, and escapes the id of a model once more than the wire does', () => {
    const url = new URL(
      'https://bedrock-runtime.us-east-1.amazonaws.com/model/us.anthropic.claude-sonnet-5-v1%3A0/invoke',
    )
    const request = { method: 'POST', url, headers: {}, body: '{}' }
    const temporary = { ...EXAMPLE, service: 'bedrock', sessionToken: 'TOKEN' }
    const signed = signV4(request, temporary, AT)
    expect(signed['x-amz-security-token']).toBe('TOKEN')
    expect(signed['authorization']).toContain('SignedHeaders=host;x-amz-date;x-amz-security-token, ')
    expect(signed['authorization']).toMatch(/Signature=[0-9a-f]{64}$/)
    const plain = signV4({ ...request, url: new URL(url.href.replace('%3A', '-')) }, temporary, AT)
    expect(plain['authorization']).not.toBe(signed['authorization'])
  })
})

test('What a query or path says is signed in the one way that AWS has of it', () => {
  const signed = (path: string): string =>
    signV4({ method: 'GET', url: new URL(HOST + path), headers: {}, body: '' }, EXAMPLE, AT)['authorization'] ?? ''
  expect(signed("/?a=!'()*")).toBe(signed('/?a=%21%27%28%29%2A'))
  expect(signed('/?a=%21')).not.toBe(signed('/?a=%22'))
  expect(signed('/?b=2&a=1&a=0')).toBe(signed('/?a=0&a=1&b=2'))
})

const ACCOUNT = {
  kind: 'service-account' as const,
  email: 'pool@project.iam.gserviceaccount.com',
  privateKey: createPrivateKey({ key: RFC_7515_KEY, format: 'jwk' }).export({ type: 'pkcs8', format: 'pem' }) as string,
  keyId: 'key-1',
  tokenUrl: 'https://oauth2.googleapis.com/token',
}

describe('A service account', () => {
  test('signs by RS256 as RFC 7515, A.2, says', () => {
    const payload = '{"iss":"joe",\r\n "exp":1300819380,\r\n "http://example.com/is_root":true}'
    expect(signRs256('{"alg":"RS256"}', payload, ACCOUNT.privateKey)).toBe(
      'eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw',
    )
  })

  test('asserts who it is for an hour, with claims that Google wants', () => {
    const [header = '', claims = '', signature = ''] = assertionOf(ACCOUNT, AT).split('.')
    const read = (part: string): unknown => JSON.parse(Buffer.from(part, 'base64url').toString('utf8'))
    expect(read(header)).toEqual({ alg: 'RS256', typ: 'JWT', kid: 'key-1' })
    expect(read(claims)).toEqual({
      iss: ACCOUNT.email,
      scope: 'https://www.googleapis.com/auth/cloud-platform',
      aud: ACCOUNT.tokenUrl,
      iat: AT / 1_000,
      exp: AT / 1_000 + 3_600,
    })
    const key = createPublicKey(createPrivateKey(ACCOUNT.privateKey))
    expect(verify('RSA-SHA256', Buffer.from(`${header}.${claims}`), key, Buffer.from(signature, 'base64url'))).toBe(
      true,
    )
  })

  test('asks for a token once, and again a minute before it ends', async () => {
    const clock = new FakeClock()
    let asked = 0
    const post: typeof fetch = async () => {
      asked += 1
      return Response.json({ access_token: `t${asked}`, expires_in: 3_600 })
    }
    const tokens = new AccessTokens(clock, post)
    expect(await Promise.all([tokens.get(ACCOUNT), tokens.get(ACCOUNT)])).toEqual(['t1', 't1'])
    await clock.advance(3_539_000)
    expect(await tokens.get(ACCOUNT)).toBe('t1')
    await clock.advance(2_000)
    expect(await tokens.get(ACCOUNT)).toBe('t2')
  })

  test('that is refused says so, and the next call asks again', async () => {
    const answers = [
      Response.json({ error: 'invalid_grant' }, { status: 400 }),
      Response.json({ access_token: 't', expires_in: 60 }),
    ]
    const tokens = new AccessTokens(new FakeClock(), async () => answers.shift() as Response)
    await expect(tokens.get(ACCOUNT)).rejects.toThrow('gave no token: 400 invalid_grant')
    expect(await tokens.get(ACCOUNT)).toBe('t')
  })
})
