import { describe, expect, test } from 'vitest'
import { onLoopback, takeCredential } from '../../../src/credentials/take-credential.ts'

const ACCOUNT = { type: 'service_account', client_email: 'a@p', private_key: 'SECRET-KEY', project_id: 'p' }

const FILES: Record<string, string> = {
  '/account.json': JSON.stringify(ACCOUNT),
  '/user.json': JSON.stringify({ type: 'authorized_user', refresh_token: 'SECRET-REFRESH' }),
  '/broken.json': 'SECRET {',
}

const take = (env: Record<string, string>): ReturnType<typeof takeCredential> =>
  takeCredential(env, {
    token: 'TOKEN',
    readFile: (path) => {
      const text = FILES[path]
      if (text === undefined) throw new Error('ENOENT: no such file')
      return text
    },
  })

/** Environments that the proxy can hold the credential of; each value with SECRET in it is one. */
const HELD: [name: string, env: Record<string, string>, base: string, dialect: string][] = [
  ['a key', { ANTHROPIC_API_KEY: 'SECRET' }, 'https://api.anthropic.com', 'messages'],
  ['an auth token', { ANTHROPIC_AUTH_TOKEN: 'SECRET' }, 'https://api.anthropic.com', 'messages'],
  ['an OAuth token', { CLAUDE_CODE_OAUTH_TOKEN: 'SECRET' }, 'https://api.anthropic.com', 'messages'],
  [
    'several of them',
    { ANTHROPIC_API_KEY: 'SECRET1', ANTHROPIC_AUTH_TOKEN: 'SECRET2', CLAUDE_CODE_OAUTH_TOKEN: 'SECRET3' },
    'https://api.anthropic.com',
    'messages',
  ],
  [
    'a key of a gateway',
    { ANTHROPIC_API_KEY: 'SECRET', ANTHROPIC_BASE_URL: 'https://gateway.example/llm/' },
    'https://gateway.example/llm',
    'messages',
  ],
  [
    'a key of Foundry',
    { CLAUDE_CODE_USE_FOUNDRY: '1', ANTHROPIC_FOUNDRY_API_KEY: 'SECRET', ANTHROPIC_FOUNDRY_RESOURCE: 'r' },
    'https://r.services.ai.azure.com/anthropic',
    'messages',
  ],
  [
    'keys of AWS',
    {
      CLAUDE_CODE_USE_BEDROCK: '1',
      AWS_REGION: 'eu-west-1',
      AWS_ACCESS_KEY_ID: 'SECRET-ID',
      AWS_SECRET_ACCESS_KEY: 'SECRET',
      AWS_SESSION_TOKEN: 'SECRET-SESSION',
    },
    'https://bedrock-runtime.eu-west-1.amazonaws.com',
    'bedrock',
  ],
  [
    'a bearer token of Bedrock',
    { CLAUDE_CODE_USE_BEDROCK: 'true', AWS_BEARER_TOKEN_BEDROCK: 'SECRET' },
    'https://bedrock-runtime.us-east-1.amazonaws.com',
    'bedrock',
  ],
  [
    'a service account of Google Cloud',
    { CLAUDE_CODE_USE_VERTEX: '1', CLOUD_ML_REGION: 'global', GOOGLE_APPLICATION_CREDENTIALS: '/account.json' },
    'https://aiplatform.googleapis.com/v1',
    'vertex',
  ],
]

/** Environments whose credential stays, and a word of why. */
const KEPT: [name: string, env: Record<string, string>, why: string][] = [
  ['Foundry with Entra ID', { CLAUDE_CODE_USE_FOUNDRY: '1', AZURE_CLIENT_SECRET: 's' }, 'Entra ID'],
  ['a profile of AWS', { CLAUDE_CODE_USE_BEDROCK: '1', AWS_PROFILE: 'work' }, 'a profile, a role or the machine'],
  ['the credential of gcloud', { CLAUDE_CODE_USE_VERTEX: '1' }, 'gcloud'],
  [
    'a user of Google Cloud',
    { CLAUDE_CODE_USE_VERTEX: '1', GOOGLE_APPLICATION_CREDENTIALS: '/user.json' },
    'of type "authorized_user"',
  ],
  [
    'a file that is no JSON',
    { CLAUDE_CODE_USE_VERTEX: '1', GOOGLE_APPLICATION_CREDENTIALS: '/broken.json' },
    '/broken.json is not JSON',
  ],
  [
    'a file that is not there',
    { CLAUDE_CODE_USE_VERTEX: '1', GOOGLE_APPLICATION_CREDENTIALS: '/none.json' },
    'cannot be read: ENOENT',
  ],
]

describe('The environment of an agent', () => {
  test.each(HELD)('with %s holds a token in its place', (_name, env, base, dialect) => {
    const taken = take({ PATH: '/bin', ...env })
    if (taken.kind !== 'taken') throw new Error(taken.kind)
    const shown = JSON.stringify(taken.env)
    expect(shown).not.toContain('SECRET')
    expect(shown).not.toContain('/account.json')
    expect(shown).toContain('TOKEN')
    expect(taken.env['PATH']).toBe('/bin')
    expect(taken.upstream).toMatchObject({ baseUrl: base, dialect })
    expect(JSON.stringify(taken.upstream.auth)).toContain('SECRET')
    // The CLI keeps to the host, and leaves TLS to the proxy.
    expect(Object.values(taken.env)).toContainEqual(
      expect.stringMatching(new RegExp(`^${base.replace('https', 'http')}/?$`)),
    )
  })

  test.each(KEPT)('with %s keeps it, and says why', (_name, env, why) => {
    const taken = take(env)
    expect(taken).toEqual({ kind: 'kept', because: expect.stringContaining(why) as string })
    expect(JSON.stringify(taken)).not.toMatch(/SECRET(?:-REFRESH| \{)/)
  })

  test('of a cloud holds no credential of Anthropic beside the cloud’s', () => {
    const taken = take({
      ANTHROPIC_API_KEY: 'SECRET',
      CLAUDE_CODE_USE_BEDROCK: '1',
      AWS_BEARER_TOKEN_BEDROCK: 'SECRET',
    })
    expect(taken).toMatchObject({ kind: 'taken', env: { AWS_BEARER_TOKEN_BEDROCK: 'TOKEN' } })
    expect(JSON.stringify((taken as { env: object }).env)).not.toContain('SECRET')
  })

  test('without a credential stays as it is', () => {
    expect(take({ PATH: '/bin' })).toEqual({ kind: 'none' })
  })

  test('of another CLI has the API on loopback, past every proxy, with what the API can do', () => {
    const taken = take({ ANTHROPIC_API_KEY: 'SECRET', NO_PROXY: 'intranet' })
    if (taken.kind !== 'taken') throw new Error(taken.kind)
    expect(onLoopback(taken.env, 4_711, taken.upstream)).toEqual({
      ANTHROPIC_API_KEY: 'TOKEN',
      ANTHROPIC_BASE_URL: 'http://127.0.0.1:4711',
      NO_PROXY: 'intranet,127.0.0.1',
      no_proxy: '127.0.0.1',
      ENABLE_TOOL_SEARCH: 'true',
      CLAUDE_CODE_ENABLE_FINE_GRAINED_TOOL_STREAMING: '1',
    })
  })
})
