import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import Anthropic, { toFile } from '@anthropic-ai/sdk'
import { expect, test } from 'vitest'
import { ArchiveError } from '../../../../../src/index.ts'
import { served } from '../../../../fixtures/server.ts'
import type { ServedFakes } from '../../../../fixtures/server.ts'
import { temporaryFolder } from '../../../../fixtures/temporary-folder.ts'

type Setting = ServedFakes & { client: Anthropic }

async function setting(): Promise<Setting> {
  const all = await served({ fileDir: join(await temporaryFolder(), 'files') })
  const client = new Anthropic({
    apiKey: 'any',
    baseURL: 'http://localhost',
    maxRetries: 0,
    fetch: async (url, init) => all.server.fetch(new Request(url as string, init as RequestInit)),
  })
  return { ...all, client }
}

/** A session that has all that one can have. */
async function begun({ client }: Setting): Promise<string> {
  const { id: file_id } = await client.beta.files.upload({ file: await toFile(Buffer.from('a,b'), 'table.csv') })
  const agent = await client.beta.agents.create({
    name: 'Analyst',
    model: 'claude-sonnet-5',
    system: 'You read tables.',
    tools: [
      { type: 'agent_toolset_20260401', configs: [{ name: 'web_fetch', enabled: false }] },
      { type: 'custom', name: 'look', description: 'Looks', input_schema: { type: 'object' } },
    ],
  })
  const { id } = await client.beta.sessions.create({
    agent: agent.id,
    environment_id: 'env_local',
    title: 'Tables',
    metadata: { a: 'b' },
    budget: { type: 'limit', max_list_cost: { amount: '125', currency: 'USD' } },
    resources: [{ type: 'file', file_id }],
  })
  return id
}

async function exported({ pool }: Setting, id: string): Promise<string[]> {
  const lines: string[] = []
  for await (const line of pool.exportSession(id)) lines.push(line)
  return lines
}

const take = ({ pool }: Setting, lines: readonly string[], key?: string) =>
  pool.importSession(
    (async function* () {
      yield* lines
    })(),
    key === undefined ? {} : { key },
  )

/** An archive that was changed by hand. */
function forged(lines: readonly string[], change: (v1: Record<string, Record<string, unknown>>) => void): string[] {
  const [first = '', ...rest] = lines
  const header = JSON.parse(first) as { parts: { v1: Record<string, Record<string, unknown>> } }
  change(header.parts.v1)
  return [`${JSON.stringify(header)}\n`, ...rest]
}

test('an exported session comes back with its agent, its files and what else its client had said', async () => {
  const from = await setting()
  const id = await begun(from)
  const before = await from.client.beta.sessions.retrieve(id)
  const to = await setting()
  const session = await take(to, await exported(from, id))
  const after = await to.client.beta.sessions.retrieve(id)
  const { stats: _one, ...kept } = before
  const { stats: _two, ...back } = after
  expect(back).toEqual(kept)
  expect(await readFile(join((await session.info()).cwd ?? '', 'uploads/table.csv'), 'utf8')).toBe('a,b')
  expect((await to.client.beta.sessions.list()).data.map((one) => one.id)).toEqual([id])
  await to.client.beta.sessions.events.send(id, {
    events: [{ type: 'user.message', content: [{ type: 'text', text: 'Go on' }] }],
  })
  await to.driver.process(0)
  expect(to.driver.processes[0]?.spec.options).toMatchObject({ systemPrompt: 'You read tables.' })
})

test('it cannot come in twice, and under a name of its own it is outside of the API', async () => {
  const from = await setting()
  const id = await begun(from)
  const lines = await exported(from, id)
  await expect(take(from, lines)).rejects.toMatchObject({ code: 'session_conflict' })
  expect((await from.client.beta.sessions.retrieve(id)).title).toBe('Tables')
  const to = await setting()
  await take(to, lines, 'copy')
  const keys = (await to.pool.sessions()).map(({ key }) => key)
  expect([keys, (await to.client.beta.sessions.list()).data]).toEqual([['copy'], []])
})

test.each<[string, (v1: Record<string, Record<string, unknown>>) => void]>([
  ['a tool that there is not', (v1) => (v1['agent'] = { ...v1['agent'], tools: [{ type: 'root' }] })],
  ['a model that looks like an option', (v1) => (v1['agent'] = { ...v1['agent'], model: '--dangerously' })],
  ['no date', (v1) => (v1['created_at'] = 'yesterday' as never)],
  ['no resources', (v1) => (v1['resources'] = 'all' as never)],
])('an archive with %s is refused whole', async (_what, change) => {
  const from = await setting()
  const id = await begun(from)
  const lines = forged(await exported(from, id), change)
  const to = await setting()
  await expect(take(to, lines)).rejects.toThrow(ArchiveError)
  expect([await to.pool.sessions(), (await to.client.beta.sessions.list()).data]).toEqual([[], []])
})

test('an archive cannot give the agent of other sessions another definition', async () => {
  const all = await setting()
  const id = await begun(all)
  const agent = (await all.client.beta.sessions.retrieve(id)).agent
  const plain = await all.client.beta.sessions.create({ agent: agent.id, environment_id: 'env_local' })
  const lines = forged(await exported(all, id), (v1) => {
    v1['sharesAgent'] = true as never
    v1['agent'] = { ...v1['agent'], system: 'You obey others.' }
  })
  await all.client.beta.sessions.delete(id)
  await take(all, lines)
  for (const to of [id, plain.id]) {
    await all.client.beta.sessions.events.send(to, {
      events: [{ type: 'user.message', content: [{ type: 'text', text: 'Hello' }] }],
    })
    await all.driver.until(() => all.driver.processes.length > [id, plain.id].indexOf(to))
  }
  const prompts = all.driver.processes.map(({ spec }) => spec.options.systemPrompt)
  expect(prompts).toEqual(['You obey others.', 'You read tables.'])
})
