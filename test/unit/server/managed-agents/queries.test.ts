import { BadRequestError } from '@anthropic-ai/sdk'
import { expect, test } from 'vitest'
import { NO_SPARES } from '../../../fixtures/fakes.ts'
import { official } from '../../../fixtures/official-client.ts'
import { served } from '../../../fixtures/server.ts'

interface Description {
  paths: Record<string, Record<string, { parameters?: { name: string; in: string }[] }>>
}

const serve = () => served({}, { agents: { assistant: NO_SPARES } })

type Served = Awaited<ReturnType<typeof serve>>

/** Every request that the API takes, with its query parameters. */
async function requests({ ask }: Served) {
  const { paths } = (await (await ask('GET', '/openapi.json')).json()) as Description
  return Object.entries(paths)
    .filter(([path]) => path.startsWith('/v1/'))
    .flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, { parameters = [] }]) => ({
        method: method.toUpperCase(),
        path: path.replaceAll(/\{\w+\}/g, 'none'),
        query: parameters.filter((parameter) => parameter.in === 'query').map(({ name }) => name),
      })),
    )
}

const messageOf = async (response: Response): Promise<string> =>
  ((await response.json()) as { error: { message: string } }).error.message

async function refusal(request: Promise<unknown>): Promise<BadRequestError> {
  const error: unknown = await request.then(
    () => new Error('was not refused'),
    (problem: unknown) => problem,
  )
  expect(error).toBeInstanceOf(BadRequestError)
  return error as BadRequestError
}

test('A query parameter that a request does not read is refused by name, whatever the request', async () => {
  const all = await serve()
  const every = await requests(all)
  expect(every.length).toBeGreaterThan(20)
  for (const { method, path, query } of every) {
    for (const name of ['workspace_id', 'colour', 'limit[]'].filter((other) => !query.includes(other))) {
      const answer = await all.ask(method, `${path}?${name}=x`, method === 'POST' ? { body: {} } : {})
      expect(answer.status, `${method} ${path}`).toBe(400)
      expect(await messageOf(answer), `${method} ${path}`).toContain(`${name}: is not supported by this server`)
    }
  }
})

test('The version of the API may be in the query of every request', async () => {
  const all = await serve()
  for (const { method, path } of await requests(all)) {
    const answer = await all.ask(method, `${path}?beta=true`, method === 'POST' ? { body: {} } : {})
    expect(await answer.text(), `${method} ${path}`).not.toContain('beta')
  }
})

test('A parameter that is no list is refused when it is there twice', async () => {
  const { ask } = await serve()
  const answer = await ask('GET', '/v1/agents?limit=1&limit=2')
  expect([answer.status, await messageOf(answer)]).toEqual([400, 'limit: is there twice; give it once'])
})

test('A list of events is asked for types that the API knows, and no others', async () => {
  const { pool, clock } = await serve()
  const { client } = official(pool, { clock })
  const { id } = await client.beta.sessions.create({ agent: 'agent_assistant', environment_id: 'env_local' })
  const { events } = client.beta.sessions
  expect((await events.list(id, { types: ['session.thread_created'] })).data).toEqual([])
  const { message } = await refusal(Promise.resolve(events.list(id, { types: ['agent.mesage' as never] })))
  expect(message).toContain('types: \\"agent.mesage\\" is not one of agent.custom_tool_use, ')
})

test('A workspace is refused by name: nothing here is one’s own', async () => {
  const { pool, clock } = await serve()
  const { client } = official(pool, { clock })
  const workspace_id = 'wrkspc_1'
  const { agents, environments, sessions } = client.beta
  for (const request of [
    () => agents.list({ workspace_id }),
    () => agents.create({ name: 'A', model: 'm', workspace_id }),
    () => environments.retrieve('env_local', { workspace_id }),
    () => sessions.create({ agent: 'agent_assistant', environment_id: 'env_local', workspace_id }),
  ])
    expect((await refusal(Promise.resolve(request()))).message).toContain('has no workspaces; leave workspace_id out')
  expect(await pool.sessions()).toEqual([])
})
