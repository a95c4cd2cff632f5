import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  agentEnvironment,
  apiEnvironment,
  hostEnvironment,
  telemetryEnvironment,
} from '../../../src/driver/environment.ts'

const SECRETS = {
  DATABASE_URL: 'postgres://user:password@db',
  GITHUB_TOKEN: 'ghp',
  AWS_SECRET_ACCESS_KEY: 'aws',
  GOOGLE_APPLICATION_CREDENTIALS: '/key.json',
  AZURE_CLIENT_SECRET: 'azure',
  NPM_TOKEN: 'npm',
  CLAUDECODE: '1',
  CLAUDE_CODE_ENTRYPOINT: 'cli',
  CLAUDE_CODE_SSE_PORT: '1',
  CLAUDE_CONFIG_DIR: '/root/.claude',
  CLAUDE_AGENT_POOL_MARKER: '1:2:3:w',
  NODE_OPTIONS: '--require ./evil.js',
  LD_PRELOAD: './evil.so',
  HOME: '/root',
  XPATH: 'x',
  PATHS: 'x',
  TMPDIR: '/tmp',
  LC_: 'x',
  MY_HTTPS_PROXY: 'x',
}
const PASSED = {
  PATH: '/bin',
  LANG: 'C.UTF-8',
  LC_ALL: 'C',
  TZ: 'UTC',
  HTTPS_PROXY: 'http://proxy',
  no_proxy: 'localhost',
  ALL_PROXY: 'socks5://proxy',
  NODE_EXTRA_CA_CERTS: '/ca.pem',
  SSL_CERT_FILE: '/ca.pem',
}

test('what is not on the list does not reach an agent', () => {
  expect(hostEnvironment({}, { ...SECRETS, ...PASSED, UNSET: undefined })).toEqual(PASSED)
})

test('no name passes but those on the list', () => {
  const name = fc.oneof(fc.string({ minLength: 1 }), fc.constantFrom(...Object.keys(SECRETS)))
  fc.assert(
    fc.property(fc.dictionary(name, fc.string({ minLength: 1 }), { noNullPrototype: true }), (host) => {
      for (const passed of Object.keys(hostEnvironment({}, host))) {
        expect(passed).toMatch(
          /^(PATH|LANG|LC_\w+|TZ|(HTTPS?|NO|ALL)_PROXY|NODE_EXTRA_CA_CERTS|SSL_CERT_\w+|SYSTEMROOT|WINDIR|COMSPEC|PATHEXT|TE?MP)$/i,
        )
      }
    }),
  )
})

describe('the credential', () => {
  const host = {
    ANTHROPIC_API_KEY: 'host-key',
    ANTHROPIC_AUTH_TOKEN: 'host-token',
    CLAUDE_CODE_OAUTH_TOKEN: 'host-oauth',
    ANTHROPIC_BASE_URL: 'http://host',
  }

  test('is that of the host where none is given', () => {
    expect(apiEnvironment({}, host)).toEqual(host)
  })

  test.each([
    [{ key: 'own' }, { ANTHROPIC_API_KEY: 'own' }],
    [{ authToken: 'own' }, { ANTHROPIC_AUTH_TOKEN: 'own' }],
    [{ oauthToken: 'own' }, { CLAUDE_CODE_OAUTH_TOKEN: 'own' }],
  ])('given as %j wins over all of the host’s', (api, expected) => {
    expect(apiEnvironment(api, host)).toEqual({ ...expected, ANTHROPIC_BASE_URL: 'http://host' })
  })

  test('goes to the address that was given', () => {
    expect(apiEnvironment({ baseUrl: 'http://own' }, host)).toMatchObject({ ANTHROPIC_BASE_URL: 'http://own' })
  })

  test('that is empty on the host is none', () => {
    expect(apiEnvironment({}, { ANTHROPIC_API_KEY: '', ANTHROPIC_BASE_URL: '' })).toEqual({})
  })
})

describe('a provider', () => {
  const host = {
    AWS_REGION: 'eu-central-1',
    AWS_SECRET_ACCESS_KEY: 'aws',
    ANTHROPIC_BEDROCK_BASE_URL: 'http://bedrock',
    GOOGLE_APPLICATION_CREDENTIALS: '/key.json',
    CLOUD_ML_REGION: 'europe-west1',
    ANTHROPIC_VERTEX_PROJECT_ID: 'project',
    VERTEX_REGION_CLAUDE_4: 'us-east5',
    ANTHROPIC_FOUNDRY_RESOURCE: 'resource',
    AZURE_CLIENT_SECRET: 'azure',
    CLAUDE_CODE_SKIP_VERTEX_AUTH: '1',
  }

  test.each([
    ['bedrock', ['ANTHROPIC_BEDROCK_BASE_URL', 'AWS_REGION', 'AWS_SECRET_ACCESS_KEY', 'CLAUDE_CODE_USE_BEDROCK']],
    [
      'vertex',
      [
        'ANTHROPIC_VERTEX_PROJECT_ID',
        'CLAUDE_CODE_SKIP_VERTEX_AUTH',
        'CLAUDE_CODE_USE_VERTEX',
        'CLOUD_ML_REGION',
        'GOOGLE_APPLICATION_CREDENTIALS',
        'VERTEX_REGION_CLAUDE_4',
      ],
    ],
    ['foundry', ['ANTHROPIC_FOUNDRY_RESOURCE', 'AZURE_CLIENT_SECRET', 'CLAUDE_CODE_USE_FOUNDRY']],
    ['anthropic', []],
  ] as const)('%s gets its own variables and nobody else’s', (provider, names) => {
    expect(Object.keys(apiEnvironment({ provider }, host)).toSorted()).toEqual(names)
  })

  test.each(['bedrock', 'vertex', 'foundry'] as const)('%s is chosen by the switch of the CLI', (provider) => {
    const name = `CLAUDE_CODE_USE_${provider.toUpperCase()}`
    expect(apiEnvironment({}, { ...host, [name]: '1' })).toEqual(apiEnvironment({ provider }, host))
    expect(apiEnvironment({}, { ...host, [name]: '0' })).toEqual({})
  })

  test('that is given wins over the switch of the host', () => {
    expect(apiEnvironment({ provider: 'anthropic' }, { ...host, CLAUDE_CODE_USE_BEDROCK: '1' })).toEqual({})
  })
})

describe('the environment of an agent', () => {
  const tenant = { home: '/data/home', configDir: '/data/config', tmpDir: '/tenant/tmp' }

  test('has the places of the tenant, and tells nobody', () => {
    expect(agentEnvironment({ PATH: '/bin' }, tenant, {})).toEqual({
      PATH: '/bin',
      HOME: '/data/home',
      TMPDIR: '/tenant/tmp',
      CLAUDE_CONFIG_DIR: '/data/config',
      CLAUDE_AGENT_SDK_CLIENT_APP: 'claude-agent-pool',
      CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
      CLAUDE_CODE_DISABLE_AUTO_MEMORY: '1',
      CLAUDE_CODE_STARTUP_FAILURE_RESULTS: '1',
      DISABLE_TELEMETRY: '1',
      DISABLE_AUTOUPDATER: '1',
    })
  })

  test('has what the agent adds, which wins over the host but not over the tenant’s config dir', () => {
    const own = { PATH: '/own', DEBUG: '1', GONE: undefined, CLAUDE_CONFIG_DIR: '/elsewhere' }
    expect(agentEnvironment({ PATH: '/bin' }, tenant, own)).toMatchObject({
      PATH: '/own',
      DEBUG: '1',
      CLAUDE_CONFIG_DIR: '/data/config',
    })
    expect(agentEnvironment({}, tenant, own)).not.toHaveProperty('GONE')
  })
})

test('what an agent tells over OpenTelemetry carries its tenant and its name, beside attributes that were given', () => {
  const from = { tenant: 'a b', agent: 'helper' }
  const own = 'claude_agent_pool.tenant=a%20b,claude_agent_pool.agent=helper'
  expect(telemetryEnvironment({ agents: undefined }, from)).toEqual({})
  expect(telemetryEnvironment({ agents: { OTEL_EXPORTER: 'x' } }, from)).toEqual({
    OTEL_EXPORTER: 'x',
    OTEL_RESOURCE_ATTRIBUTES: own,
  })
  expect(telemetryEnvironment({ agents: { OTEL_RESOURCE_ATTRIBUTES: 'a=b' } }, from)).toEqual({
    OTEL_RESOURCE_ATTRIBUTES: `a=b,${own}`,
  })
})
