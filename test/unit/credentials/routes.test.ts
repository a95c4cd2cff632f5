import { describe, expect, test } from 'vitest'
import { passedBack, sentOn } from '../../../src/credentials/headers.ts'
import { routeOf } from '../../../src/credentials/routes.ts'
import { takesSocket } from '../../../src/credentials/tested.ts'
import { targetOf } from '../../../src/credentials/upstream.ts'
import type { Upstream } from '../../../src/credentials/upstream.ts'

const upstream = (dialect: Upstream['dialect'], more: Partial<Upstream> = {}): Upstream => ({
  dialect,
  baseUrl: 'https://api.example/base',
  auth: { kind: 'headers' },
  ...more,
})

const MODEL = '/projects/p/locations/us-east5/publishers/anthropic/models/claude-sonnet-5'

const PASSED: [dialect: Upstream['dialect'], method: string, path: string, counts: boolean][] = [
  ['messages', 'POST', '/v1/messages', true],
  ['messages', 'POST', '/v1/messages?beta=true', true],
  ['messages', 'POST', '/v1/messages/count_tokens?beta=true', false],
  ['messages', 'GET', '/v1/models?limit=100', false],
  ['messages', 'GET', '/v1/models/claude-sonnet-5', false],
  ['bedrock', 'POST', '/model/us.anthropic.claude-sonnet-5-v1%3A0/invoke-with-response-stream', true],
  ['bedrock', 'POST', '/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fx/invoke', true],
  ['vertex', 'POST', `${MODEL}:streamRawPredict`, true],
  ['vertex', 'POST', `${MODEL.replace('claude-sonnet-5', 'count-tokens')}:rawPredict`, false],
]

const REFUSED: [dialect: Upstream['dialect'], method: string, path: string][] = [
  ['messages', 'GET', '/v1/messages'],
  ['messages', 'DELETE', '/v1/models/claude-sonnet-5'],
  ['messages', 'POST', '/v1/messages/'],
  ['messages', 'POST', '/v1//messages'],
  ['messages', 'POST', '/v1/messages/batches'],
  ['messages', 'POST', '/v1/files'],
  ['messages', 'POST', '/v1/x/../messages'],
  ['messages', 'POST', '/v1/%6dessages'],
  ['messages', 'POST', '/v1/messages#x'],
  ['messages', 'POST', '/v1/messages?next=http://evil'],
  ['messages', 'GET', '/v1/models/..'],
  ['messages', 'GET', '/v1/organizations/me'],
  ['messages', 'POST', '/model/x/invoke'],
  ['bedrock', 'POST', '/v1/messages'],
  ['bedrock', 'POST', '/model/../../x/invoke'],
  ['bedrock', 'POST', '/model/x%2e%2e/invoke'],
  ['bedrock', 'GET', '/foundation-models'],
  ['vertex', 'POST', `${MODEL}:predict`],
  ['vertex', 'POST', `${MODEL.replace('anthropic', 'google')}:rawPredict`],
]

describe('The proxy', () => {
  test.each(PASSED)('passes on %s %s %s', (dialect, method, path, counts) => {
    expect(routeOf(method, `/base${path}`, '/base', upstream(dialect))).toEqual({ path, counts })
  })

  test.each(REFUSED)('refuses %s %s %s', (dialect, method, path) => {
    expect(routeOf(method, `/base${path}`, '/base', upstream(dialect))).toBeUndefined()
  })

  test('refuses what is not below the address that the agent was given, or names a whole URL', () => {
    for (const target of ['/v1/messages', '/basement/v1/messages', 'http://api.example/base/v1/messages', '*', ''])
      expect(routeOf('POST', target, '/base', upstream('messages'))).toBeUndefined()
  })

  test('refuses another project than its own', () => {
    const target = `${MODEL.replace('/p/', '/other/')}:rawPredict`
    expect(routeOf('POST', target, '', upstream('vertex', { project: 'p' }))).toBeUndefined()
    expect(routeOf('POST', `${MODEL}:rawPredict`, '', upstream('vertex', { project: 'p' }))).toBeDefined()
  })

  test('asks the host of the location that a call names', () => {
    const target = targetOf(upstream('vertex', { byLocation: true }), `${MODEL}:rawPredict`)
    expect(target.href).toBe(`https://us-east5-aiplatform.googleapis.com/v1${MODEL}:rawPredict`)
    expect(targetOf(upstream('vertex'), `${MODEL}:rawPredict`).href).toBe(`https://api.example/base${MODEL}:rawPredict`)
  })

  test('passes on what is said to the API, without the credential, the connection and the host', () => {
    const sent = sentOn({
      host: 'x',
      connection: 'keep-alive',
      'x-api-key': 'token',
      authorization: 'Bearer token',
      cookie: 'a=b',
      'x-forwarded-for': '10.0.0.1',
      'accept-encoding': 'gzip',
      'content-type': 'application/json',
      'anthropic-beta': 'a,b',
      'anthropic-version': '2023-06-01',
      'x-claude-code-session-id': 's',
      'x-stainless-lang': 'js',
    })
    expect(sent).toEqual({
      'accept-encoding': 'identity',
      'content-type': 'application/json',
      'anthropic-beta': 'a,b',
      'anthropic-version': '2023-06-01',
      'x-claude-code-session-id': 's',
      'x-stainless-lang': 'js',
    })
  })

  test('passes back what the CLI reads of an answer', () => {
    const headers = {
      'request-id': 'r',
      'retry-after': '3',
      'x-should-retry': 'true',
      'set-cookie': ['a'],
      connection: 'x',
    }
    expect(passedBack(headers)).toEqual({ 'request-id': 'r', 'retry-after': '3', 'x-should-retry': 'true' })
  })

  test('gives a socket to versions of the CLI that are known to take it, and to no other ones', () => {
    for (const version of ['2.1.329', '2.1.332']) expect(takesSocket(version)).toBe(true)
    for (const version of [undefined, '', '2.1.328', '2.1.333', '2.2.0', '3.0.0', '2.1', '2.1.330-beta'])
      expect(takesSocket(version)).toBe(false)
  })
})
