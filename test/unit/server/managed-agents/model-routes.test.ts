import { Readable } from 'node:stream'
import Anthropic from '@anthropic-ai/sdk'
import { describe, expect, test, vi } from 'vitest'
import type { ModelRequest, Pool } from '../../../../src/index.ts'
import { hashKey } from '../../../../src/server/auth/authenticator.ts'
import { official } from '../../../fixtures/official-client.ts'
import { served } from '../../../fixtures/server.ts'
import type { ServedFakes } from '../../../fixtures/server.ts'

const CALL = { model: 'claude-sonnet-5', max_tokens: 10, messages: [{ role: 'user' as const, content: 'hello' }] }

const KEYS = [{ tenant: 'acme', sha256: hashKey('k'.repeat(24)) }]

/** What the API would answer. */
function answering(pool: Pool, status: number, body: string, headers: Record<string, string> = {}) {
  const asked: [string, ModelRequest][] = []
  vi.spyOn(pool, 'callModel').mockImplementation(async (tenant, request) => {
    asked.push([tenant, request])
    return {
      status,
      headers: { 'content-type': 'application/json', 'anthropic-organization-id': 'org', ...headers },
      body: Readable.from([Buffer.from(body)]),
    }
  })
  return asked
}

const clientOf = ({ server }: ServedFakes, apiKey = 'k'.repeat(24)): Anthropic =>
  new Anthropic({
    apiKey,
    baseURL: 'http://localhost',
    maxRetries: 0,
    fetch: async (url, init) => server.fetch(new Request(url as string, init as RequestInit)),
  })

const problemOf = (asked: PromiseLike<unknown>): Promise<unknown> =>
  Promise.resolve(asked).catch((error: unknown) => error)

describe('A call of the model', () => {
  test('is refused by name once there are keys, unless the operator allows it', async () => {
    const all = await served({ keys: KEYS })
    const asked = answering(all.pool, 200, '{}')
    for (const call of [
      clientOf(all).messages.create(CALL),
      clientOf(all).messages.countTokens(CALL),
      clientOf(all).models.list(),
      clientOf(all).models.retrieve('claude-sonnet-5'),
    ])
      expect(await problemOf(call)).toMatchObject({
        status: 403,
        message: expect.stringContaining('server.managedAgents.messages') as string,
      })
    expect(asked).toEqual([])
  })

  test('reaches only the models that the tenant may use, and lists only those', async () => {
    const all = await served({
      keys: [...KEYS, { tenant: 'beta', sha256: hashKey('b'.repeat(24)) }],
      managedAgents: { messages: { models: ['claude-sonnet-5'] }, tenants: { beta: { messages: false } } },
    })
    const asked = answering(
      all.pool,
      200,
      JSON.stringify({ data: [{ id: 'claude-sonnet-5' }, { id: 'claude-opus-5' }], has_more: false }),
    )
    expect((await clientOf(all).models.list()).data.map(({ id }) => id)).toEqual(['claude-sonnet-5'])
    expect(await problemOf(clientOf(all).messages.create({ ...CALL, model: 'claude-opus-5' }))).toMatchObject({
      status: 403,
    })
    expect(await problemOf(clientOf(all).models.retrieve('claude-opus-5'))).toMatchObject({ status: 403 })
    expect(await problemOf(clientOf(all, 'b'.repeat(24)).messages.create(CALL))).toMatchObject({ status: 403 })
    expect(asked.map(([tenant, { path }]) => `${tenant} ${path}`)).toEqual(['acme /v1/models'])
  })

  test('is passed on with its unknown fields and beta headers, and without the key of the caller', async () => {
    const all = await served()
    const asked = answering(all.pool, 200, '{"id":"msg_1"}')
    const body = { ...CALL, new_field: { b: 1, a: 2 } }
    const options = { headers: { 'anthropic-beta': 'one,two' }, query: { beta: 'true' } }
    const { data, response } = await clientOf(all).messages.create(body, options).withResponse()
    expect(data).toMatchObject({ id: 'msg_1' })
    expect(response.headers.get('anthropic-organization-id')).toBeNull()
    const [[tenant, request] = []] = asked
    expect([tenant, request?.path, request?.body]).toEqual(['default', '/v1/messages?beta=true', JSON.stringify(body)])
    expect(request?.headers).toEqual({
      'anthropic-version': expect.stringMatching(/^\d{4}-/) as string,
      'anthropic-beta': 'one,two',
    })
  })

  test('gets the errors of the API, but for those about the operator’s credential', async () => {
    const all = await served()
    const error = JSON.stringify({ type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } })
    answering(all.pool, 529, error, { 'retry-after': '7' })
    const overloaded = (await problemOf(clientOf(all).messages.create(CALL))) as InstanceType<typeof Anthropic.APIError>
    expect([overloaded.status, overloaded.headers?.get('retry-after')]).toEqual([529, '7'])
    answering(all.pool, 401, '{}')
    expect(await problemOf(clientOf(all).messages.create(CALL))).toMatchObject({
      status: 500,
      message: expect.stringContaining('no valid credential') as string,
    })
  })

  test('is refused by name without a credential proxy, with an idempotency key, and for batches', async () => {
    const all = await served()
    expect(await problemOf(clientOf(all).messages.create(CALL))).toMatchObject({
      status: 403,
      message: expect.stringContaining('no credential proxy') as string,
    })
    const keyed = clientOf(all).messages.create(CALL, { headers: { 'Idempotency-Key': 'k' } })
    expect(await problemOf(keyed)).toMatchObject({
      status: 400,
      message: expect.stringContaining('Idempotency-Key') as string,
    })
    expect(await problemOf(clientOf(all).messages.batches.list())).toMatchObject({
      status: 404,
      message: expect.stringContaining('does not run batches') as string,
    })
    const { client } = official(all.pool)
    expect(await problemOf(client.messages.create({ ...CALL, model: 7 as unknown as string }))).toMatchObject({
      status: 400,
    })
  })
})
