import { describe, expect, test } from 'vitest'
import { aroundProxies, reached, remoteVariables, remotesOf } from '../../../src/agents/remotes.ts'
import { readRemotes } from '../../../src/options/remotes.ts'
import type { RemoteOptions } from '../../../src/options/remotes.ts'

const AT = {
  base: 'http://127.0.0.1:4000',
  tokens: { 'mcp:shop': 't1', 'mcp:feed': 't2', 'remote:app': 't3', 'remote:all': 't4' },
}

describe('An MCP server', () => {
  const headers = { Authorization: 'Bearer secret', 'X-Key': 'k' }

  test('with headers or a query is reached at a local address, and the process gets a token in their place', () => {
    const servers = {
      shop: { type: 'http' as const, url: 'https://mcp.example.com/v1/mcp/?key=secret', headers, alwaysLoad: true },
      feed: { type: 'sse' as const, url: 'https://mcp.example.com/sse', headers },
      open: { type: 'http' as const, url: 'https://mcp.example.com/open' },
      own: { command: 'node' },
    }
    const remotes = remotesOf(servers)
    expect([...remotes.values()]).toMatchObject([
      { mount: '/shop', prefix: '/v1/mcp', headers: { authorization: 'Bearer secret', 'x-key': 'k' } },
      { mount: '', prefix: '', url: 'https://mcp.example.com/sse' },
    ])
    expect(reached(servers, remotes, AT)).toEqual({
      shop: {
        type: 'http',
        url: 'http://127.0.0.1:4000/shop/',
        headers: { authorization: 'Bearer t1' },
        alwaysLoad: true,
      },
      feed: { type: 'sse', url: 'http://127.0.0.1:4000/sse', headers: { authorization: 'Bearer t2' } },
      open: servers.open,
      own: servers.own,
    })
  })

  test('whose headers the CLI fills in from the environment stays as it is', () => {
    expect(remotesOf({ shop: { type: 'http', url: 'https://a.example', headers: { a: '${TOKEN}' } } }).size).toBe(0)
  })
})

describe('The variables of remotes', () => {
  const remotes = readRemotes('remotes', {
    app: { url: 'https://github.com/acme/app.git', basic: { username: 'x', password: 'secret' } },
    all: { url: 'https://git.example.com/', bearer: 'secret' },
    'my-api': { url: 'https://api.example.com/v2', headers: { 'X-Api-Key': 'secret' } },
  })

  test('hold addresses with tokens, and tell git where its remotes are, beside its other settings', () => {
    const before = { GIT_CONFIG_COUNT: '1', GIT_CONFIG_KEY_0: 'user.name', GIT_CONFIG_VALUE_0: 'A' }
    const tokens = { ...AT.tokens, 'remote:my-api': 't5' }
    expect(remoteVariables(remotes, { ...AT, tokens }, before)).toEqual({
      REMOTE_URL_APP: 'http://agent:t3@127.0.0.1:4000/app.git',
      REMOTE_URL_ALL: 'http://agent:t4@127.0.0.1:4000/all',
      REMOTE_URL_MY_API: 'http://agent:t5@127.0.0.1:4000/my-api',
      GIT_CONFIG_COUNT: '5',
      GIT_CONFIG_KEY_1: 'url.http://127.0.0.1:4000/app.git.insteadOf',
      GIT_CONFIG_VALUE_1: 'https://github.com/acme/app.git',
      GIT_CONFIG_KEY_2: 'http.http://127.0.0.1:4000/app.git.extraHeader',
      GIT_CONFIG_VALUE_2: 'Authorization: Bearer t3',
      GIT_CONFIG_KEY_3: 'url.http://127.0.0.1:4000/all/.insteadOf',
      GIT_CONFIG_VALUE_3: 'https://git.example.com/',
      GIT_CONFIG_KEY_4: 'http.http://127.0.0.1:4000/all/.extraHeader',
      GIT_CONFIG_VALUE_4: 'Authorization: Bearer t4',
    })
    expect(JSON.stringify(remoteVariables(remotes, AT, {}))).not.toContain('secret')
  })

  test('keep loopback away from the proxy of the environment', () => {
    expect(aroundProxies({ NO_PROXY: 'a.example' })).toEqual({ NO_PROXY: 'a.example,127.0.0.1', no_proxy: '127.0.0.1' })
  })
})

describe('The option remotes', () => {
  test('turns bearer, basic and headers into what is added', () => {
    const read = (remote: RemoteOptions): unknown => readRemotes('remotes', { app: remote })[0]?.headers
    expect(read({ url: 'https://a.example', bearer: 's' })).toEqual({ authorization: 'Bearer s' })
    expect(read({ url: 'https://a.example', basic: { username: 'u', password: 'p' } })).toEqual({
      authorization: 'Basic dTpw',
    })
    expect(read({ url: 'https://a.example', headers: { 'X-Key': 's' } })).toEqual({ 'x-key': 's' })
  })

  test.each<[string, RemoteOptions, string]>([
    ['a b', { url: 'https://a.example', bearer: 's' }, 'a name is'],
    ['a', { url: 'ftp://a.example', bearer: 's' }, 'must be an http(s) URL'],
    ['a', { url: 'https://u:p@a.example', bearer: 's' }, 'must have no user'],
    ['a', { url: 'https://a.example?k=s', bearer: 's' }, 'must have no user, query'],
    ['a', { url: 'https://a.example' }, 'has no credential'],
    ['a', { url: 'https://a.example', bearer: 's', headers: { Authorization: 's' } }, 'more than one'],
    ['a', { url: 'https://a.example', headers: { Host: 's' } }, 'belongs to the connection'],
    ['a', { url: 'https://a.example', headers: { 'a b': 's' } }, 'not the name of a header'],
    ['a', { url: 'https://a.example', bearer: 'a\r\nb: c' }, 'text of one line'],
  ])('refuses %s: %o', (name, remote, problem) => {
    expect(() => readRemotes('agents.x.remotes', { [name]: remote })).toThrow(problem)
  })

  test('refuses two names that differ in case alone, whose variables would be one', () => {
    const remote = { url: 'https://a.example', bearer: 's' }
    expect(() => readRemotes('remotes', { App: remote, app: remote })).toThrow('there twice')
  })
})
