import { BadRequestError, NotFoundError } from '@anthropic-ai/sdk'
import { expect, test } from 'vitest'
import { fakes } from '../../../fixtures/fakes.ts'
import { official } from '../../../fixtures/official-client.ts'

async function serve() {
  const { pool, clock } = await fakes()
  const { client } = official(pool, { clock })
  return { clock, environments: client.beta.environments }
}

test('An environment is kept, changed, archived and deleted', async () => {
  const { environments } = await serve()
  const { id, config } = await environments.create({ name: 'Mine', metadata: { a: '1' } })
  expect(config).toMatchObject({ type: 'cloud', networking: { type: 'unrestricted' } })
  const changed = await environments.update(id, { description: 'For tests', metadata: { a: null, b: '2' } })
  expect(changed).toMatchObject({ name: 'Mine', description: 'For tests', metadata: { b: '2' } })
  expect((await environments.archive(id)).archived_at).not.toBeNull()
  await expect(environments.update(id, { name: 'x' })).rejects.toThrow('is archived')
  expect(await environments.delete(id)).toEqual({ type: 'environment_deleted', id })
  await expect(environments.retrieve(id)).rejects.toThrow(NotFoundError)
})

test('This machine is listed behind all others, on whatever page that is', async () => {
  const { environments, clock } = await serve()
  const made = []
  for (const name of ['one', 'two', 'three']) {
    made.push((await environments.create({ name })).id)
    await clock.advance(1)
  }
  const listed = []
  for await (const { id } of environments.list({ limit: 2 })) listed.push(id)
  expect(listed).toEqual([...made.toReversed(), 'env_local'])
})

test('This machine cannot be changed, archived or deleted', async () => {
  const { environments } = await serve()
  for (const change of [
    () => environments.update('env_local', { name: 'x' }),
    () => environments.archive('env_local'),
    () => environments.delete('env_local'),
  ])
    await expect(change()).rejects.toThrow('env_local is this machine')
})

test('The first name of the environments that the server runs is as good as their present one', async () => {
  const { environments } = await serve()
  const config = { type: 'anthropic_cloud', networking: { type: 'unrestricted' } }
  const { id, config: kept } = await environments.create({ name: 'Mine', config: config as never })
  expect(kept.type).toBe('cloud')
  expect((await environments.update(id, { config: config as never })).config.type).toBe('cloud')
})

test('An environment has a description that clients of all releases can read, also without one', async () => {
  const { environments } = await serve()
  const { id, description } = await environments.create({ name: 'Mine' })
  const cleared = async () => (await environments.update(id, { description: null })).description
  await environments.update(id, { description: 'For tests' })
  const listed = await environments.list()
  expect([description, await cleared(), listed.data.map((environment) => environment.description)]).toEqual([
    '',
    '',
    ['For tests', 'The machine that this server runs on'],
  ])
})

test('An environment is its tenant’s: a scope of one account is refused', async () => {
  const { environments } = await serve()
  await environments.create({ name: 'Mine', scope: 'organization' })
  await expect(environments.create({ name: 'Mine', scope: 'account' })).rejects.toThrow('scope: must be')
})

test.each([
  [{ type: 'cloud', colour: 'red' }, 'config.colour: is not supported'],
  [{ type: 'self_hosted' }, 'must be \\"cloud\\"'],
  [
    { type: 'cloud', networking: { type: 'limited', allowed_hosts: [] } },
    'cannot limit the network of agents: agents run without a sandbox',
  ],
  [{ type: 'cloud', networking: { type: 'limited', allowed_hosts: ['https://a.example'] } }, 'must be a host name'],
  [{ type: 'cloud', networking: { type: 'limited', allowed_hosts: ['127.0.0.1'] } }, 'must be a host name'],
  [{ type: 'cloud', networking: { type: 'none' } }, 'type must be unrestricted or limited'],
  [{ type: 'cloud', packages: { type: 'packages', pip: ['numpy'] } }, 'pip is not supported'],
])('%j is a promise that nobody would keep', async (config, problem) => {
  const { environments } = await serve()
  const refused = await environments.create({ name: 'x', config: config as never }).catch((error: Error) => error)
  expect(refused).toBeInstanceOf(BadRequestError)
  expect((refused as Error).message).toContain(problem)
})
