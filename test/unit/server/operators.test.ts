import { createServer as createSocket } from 'node:net'
import type { AddressInfo } from 'node:net'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { ConfigError } from '../../../src/errors.ts'
import { createServer } from '../../../src/server/app.ts'
import { hashKey } from '../../../src/server/auth/authenticator.ts'
import { listen } from '../../../src/server/listen.ts'
import type { ListenOptions, Listening } from '../../../src/server/listen.ts'
import { parseOperatorKeys, readServerConfig } from '../../../src/server/options.ts'
import type { ServerOptions } from '../../../src/server/options.ts'
import { fakes } from '../../fixtures/fakes.ts'
import { served } from '../../fixtures/server.ts'
import type { ServedFakes } from '../../fixtures/server.ts'

const KEY = 'tenant-key-of-24-characters'
const OPERATOR = 'operator-key-of-24-characters'
const keys = [{ tenant: 'acme', sha256: hashKey(KEY) }]
const operators = [{ name: 'ann', sha256: hashKey(OPERATOR) }]

/** A server after one turn of the tenant `acme` that has cost 0.5 USD. */
async function used(options: ServerOptions): Promise<ServedFakes> {
  const all = await served(options)
  all.driver.onStart = (process) => (process.answersAtOnce = false)
  const turn = (await all.pool.session('one', { tenant: 'acme', agent: 'assistant' })).send('go')
  const process = await all.driver.process(0)
  await all.driver.until(() => process.unanswered === 1)
  process.finish({ costUsd: 0.5 })
  await turn.result
  return all
}

const metricsFor = async ({ ask }: ServedFakes, key?: string): Promise<string> =>
  (await ask('GET', '/metrics', key === undefined ? {} : { headers: { 'x-api-key': key } })).text()

const COST = 'claude_agent_pool_cost_usd_total{tenant="acme",agent="assistant"} 0.5'
const TOKENS = 'claude_agent_pool_tokens_total{tenant="acme",agent="assistant",kind="cache_read"} 0'

const DISK = /^claude_agent_pool_disk_used_bytes\{tenant="acme"\} (\d+)$/m

describe('Figures by tenant', () => {
  test('have what the files of each take on the disk, from the second look on', async () => {
    const all = await used({ keys, operators })
    const { cwd = '' } = await (await all.pool.session('one', { tenant: 'acme' })).info()
    await writeFile(join(cwd, 'large'), 'x'.repeat(100_000))
    await metricsFor(all, OPERATOR)
    await all.clock.settle()
    expect(Number(DISK.exec(await metricsFor(all, OPERATOR))?.[1])).toBeGreaterThanOrEqual(100_000)
    expect(await metricsFor(all, KEY)).not.toMatch(DISK)
  })

  test('are in /metrics for the key of an operator, and for no other caller', async () => {
    const all = await used({ keys, operators })
    expect((await metricsFor(all, OPERATOR)).split('\n')).toEqual(expect.arrayContaining([COST, TOKENS]))
    for (const key of [undefined, KEY, `${OPERATOR}x`]) {
      const text = await metricsFor(all, key)
      expect(text).toContain('claude_agent_pool_turns_running 0')
      expect(text).not.toMatch(/acme|_tokens_total\{|_cost_usd_total\{/)
    }
    const { headers } = { headers: { authorization: `Bearer ${OPERATOR}` } }
    expect(await (await all.ask('GET', '/metrics', { headers })).text()).toContain(COST)
  })

  test('of a server without keys are those of its callers, who are all one tenant', async () => {
    const all = await used({})
    await (await all.session('two')).send('go').interrupt()
    expect(await metricsFor(all)).not.toContain('acme')
    all.driver.onStart = undefined
    await (await all.session('three')).send('go').result
    expect(await metricsFor(all)).toMatch(/cost_usd_total\{tenant="default",agent="assistant"\} 0/)
  })

  test('are for the operators of the last update alone', async () => {
    const all = await used({ keys, operators })
    const next = 'another-key-of-24-characters'
    all.server.update({ keys, operators: [{ name: 'bob', sha256: hashKey(next) }] })
    expect(await metricsFor(all, OPERATOR)).not.toContain('acme')
    expect(await metricsFor(all, next)).toContain(COST)
  })
})

test('The key of an operator opens nothing that tenants use', async () => {
  const { ask } = await served({ keys, operators })
  const headers = { 'x-api-key': OPERATOR }
  expect((await ask('POST', '/sessions/one/messages', { headers, body: { prompt: 'hi' } })).status).toBe(401)
  expect((await ask('GET', '/v1/sessions', { headers })).status).toBe(401)
})

test('A key that is both a tenant and an operator is refused, and so is one that cannot be read', () => {
  const both = { keys, operators: [{ name: 'ann', sha256: hashKey(KEY).toUpperCase() }] }
  expect(() => readServerConfig(both)).toThrow(/^server\.operators: the key of "ann" is also one of server\.keys/)
  expect(() => readServerConfig({ operators: [{ name: 'ann', sha256: 'x' }] })).toThrow(/^server\.operators/)
  expect(() => readServerConfig({ operations: { host: '127.0.0.1' } })).toThrow(/^server\.operations\.port/)
  expect(parseOperatorKeys('KEYS', `ann=${OPERATOR}`, hashKey)).toEqual(operators)
  expect(() => parseOperatorKeys('KEYS', OPERATOR, hashKey)).toThrow('entry 1 is not of the form name=key')
})

describe('The operations port', () => {
  async function listening(options: ServerOptions, operations: ListenOptions['operations']): Promise<Listening> {
    const { pool } = await fakes()
    const made = await listen(createServer(pool, options), { port: 0, ...(operations && { operations }) })
    onTestFinished(() => made.drain())
    return made
  }

  const ask = (made: Listening, path: string, headers: Record<string, string> = {}): Promise<Response> =>
    fetch(`${made.operations?.url}${path}`, { headers })

  test('answers probes, /metrics and /pressure, and nothing else; on loopback without a key', async () => {
    const made = await listening({ keys }, { port: 0 })
    expect(made.operations?.port).not.toBe(made.port)
    await made.ready
    for (const path of ['/health', '/livez', '/readyz', '/pressure', '/metrics'])
      expect([path, (await ask(made, path)).status]).toEqual([path, 200])
    const other = await ask(made, '/v1/agents', { 'x-api-key': KEY })
    expect([other.status, await other.json()]).toMatchObject([404, { error: { type: 'not_found_error' } }])
    // A page in a browser of this machine reaches loopback, too.
    expect((await ask(made, '/metrics', { origin: 'https://evil.example' })).status).toBe(403)
  })

  test('asks for the key of an operator where others reach it, except for probes', async () => {
    const { server } = await served({ keys, operators })
    const answer = server.operations({ exposed: true })
    const status = async (path: string, key?: string): Promise<number> => {
      const headers: Record<string, string> = key === undefined ? {} : { 'x-api-key': key }
      return (await answer(new Request(`http://pool.example${path}`, { headers }))).status
    }
    for (const path of ['/metrics', '/pressure'])
      expect([await status(path), await status(path, KEY), await status(path, OPERATOR)]).toEqual([401, 401, 200])
    expect([await status('/livez'), await status('/health'), await status('/readyz')]).toEqual([200, 200, 200])
  })

  test('is refused without operators on an address that others reach', async () => {
    const { pool } = await fakes()
    const server = createServer(pool, { keys })
    await expect(listen(server, { port: 0, operations: { host: '0.0.0.0', port: 0 } })).rejects.toThrow(
      /^server\.operators: there are none, and others can reach 0\.0\.0\.0/,
    )
    server.close()
  })

  test('that is in use ends the start with its own name, and leaves no port open', async () => {
    const taken = createSocket().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    onTestFinished(() => void taken.close())
    const { port } = taken.address() as AddressInfo
    const { pool } = await fakes()
    const server = createServer(pool)
    const failure = await listen(server, { port: 0, operations: { port } }).catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(ConfigError)
    expect((failure as ConfigError).message).toMatch(/^server\.operations\.port: \d+ is in use/)
    server.close()
  })
})
