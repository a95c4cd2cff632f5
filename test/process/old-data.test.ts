import { createReadStream } from 'node:fs'
import { readlink, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { expect, onTestFinished, test, vi } from 'vitest'
import { run } from '../cli/command.ts'
import { official, readTurn, wordsOf } from '../fixtures/official-client.ts'
import { unpackOldData } from '../fixtures/old-data/unpack.ts'
import type { OldData, OldSession } from '../fixtures/old-data/unpack.ts'
import { MODEL, openSite, say } from '../fixtures/real-pool.ts'
import type { Site } from '../fixtures/real-pool.ts'
import { WHOLE } from '../fixtures/whole.ts'
import type { AgentOptions, Pool, PoolOptions } from '../../src/index.ts'
import { Questions } from '../../src/server/index.ts'

const none = { spares: { max: 0 }, unboundSpares: { max: 0 } }
const plain: AgentOptions = { model: MODEL, allowedTools: ['Bash'], ...none }

// A test starts up to twenty processes, one after the other.
vi.setConfig({ testTimeout: 300_000 })

/** The agents that the sessions were begun with. */
const agentsOf = (root: string): Record<string, AgentOptions> => ({
  plain,
  slashes: { ...plain, verbatimPrompts: false },
  asking: { ...plain, permissionMode: 'default', canUseTool: async () => ({ behavior: 'deny', message: 'no' }) },
  fixed: { ...plain, cwd: join(root, 'project') },
  trimmed: plain,
})

interface Old extends OldData {
  site: Site
  /** A pool of the present code on one of the old directories. */
  open: (part: 'local' | 'killed', options?: Partial<PoolOptions>) => Promise<Pool>
}

async function unpacked(): Promise<Old> {
  const data = unpackOldData()
  onTestFinished(() => rm(data.root, { recursive: true, force: true, maxRetries: 3 }))
  const site = await openSite()
  return {
    ...data,
    site,
    open: (part, options = {}) =>
      site.pool({ dataDir: join(data.root, part), agents: agentsOf(data.root), ...options }),
  }
}

/** What the pool says of its sessions, in the shape of what was said of them then. */
async function describe(pool: Pool): Promise<OldSession[]> {
  const described: OldSession[] = []
  for (const info of await pool.sessions({ limit: 1000 })) {
    const session = await pool.session(info.key, { tenant: info.tenant })
    const events = await session.history({ limit: 1000 })
    const said = events.flatMap(({ event }) => (event.type === 'agent.message' ? event.content : [])).at(-1)
    const last = said !== undefined && 'text' in said ? said.text : null
    described.push({ ...info, events: events.length, firstNumber: events[0]?.number, last })
  }
  return described
}

/** What the model says to the next prompt of a session: it counts those that it is told of. */
const nextAnswer = ({ last, turns }: OldSession, words: string): string =>
  `[turn ${Number(/^\[turn (\d+)\]/.exec(last ?? '')?.[1] ?? turns) + 1}] You said: ${words}`

const lines = (path: string): AsyncIterable<string> => createInterface({ input: createReadStream(path) })

const isOfApi = ({ key }: OldSession): boolean => key.startsWith('sesn_')

test('All sessions are listed with their turns, usage and events, and each goes on where it was', async () => {
  const { local, open, root } = await unpacked()
  const pool = await open('local')
  expect(await describe(pool)).toEqual(local)
  const own = local.filter((session) => !isOfApi(session))
  for (const old of own.filter((_, place) => WHOLE || place % 3 === 0)) {
    const session = await pool.session(old.key, { tenant: old.tenant })
    const { text, warmth } = await say(session, 'hello again')
    expect([old.tenant, old.key, text, warmth]).toEqual([
      old.tenant,
      old.key,
      nextAnswer(old, 'hello again'),
      old.turns === 0 ? 'cold' : 'resumed',
    ])
    expect(await session.info()).toMatchObject({ turns: old.turns + 1 })
    await session.hibernate()
  }
  const odd = local.find(({ tenant }) => tenant.startsWith('Über'))
  expect(await readlink(join(odd?.cwd ?? root, 'link'))).toBe('a/b/file')
})

test('What official clients made is there: agents, versions, environments, and sessions that go on', async () => {
  const { open, root, resources } = await unpacked()
  const questions = new Questions()
  const pool = await open('local', { agents: { ...agentsOf(root), remote: questions.for(plain) } })
  const { client } = official(pool, { questions, resourceFile: join(root, 'local', 'api.sqlite') })
  const { agent, retired, environment, talked, budgeted, archived } = resources.default
  expect(await client.beta.agents.retrieve(agent)).toMatchObject({
    name: 'Helper',
    version: 2,
    system: 'Be very brief.',
  })
  const versions = []
  for await (const { version, system } of client.beta.agents.versions.list(agent)) versions.push([version, system])
  expect(versions).toEqual([
    [2, 'Be very brief.'],
    [1, 'Be brief.'],
  ])
  expect((await client.beta.agents.retrieve(retired)).archived_at).not.toBeNull()
  expect(await client.beta.environments.retrieve(environment)).toMatchObject({
    name: 'staging',
    metadata: { of: 'acme' },
  })
  expect(await client.beta.sessions.retrieve(talked)).toMatchObject({ title: 'Talked', metadata: { ticket: '7' } })
  expect(await client.beta.sessions.retrieve(budgeted)).toMatchObject({ title: 'Budgeted' })
  expect((await client.beta.sessions.retrieve(archived)).archived_at).not.toBeNull()
  const before = []
  for await (const event of client.beta.sessions.events.list(talked)) before.push(event)
  expect(wordsOf(before)).toEqual(['[turn 1] You said: hello', '[turn 2] You said: again'])
  const stream = await client.beta.sessions.events.stream(talked)
  const words = { type: 'text' as const, text: 'once more' }
  await client.beta.sessions.events.send(talked, { events: [{ type: 'user.message', content: [words] }] })
  expect(wordsOf(await readTurn(stream))).toEqual(['[turn 3] You said: once more'])
})

test.runIf(WHOLE)(
  'After a kill with transcripts in the store, the open turn is closed and all go on, one of them from the store',
  async () => {
    const { open, killed } = await unpacked()
    const pool = await open('killed', { transcripts: 'store' })
    const cut = await (await pool.session('cut')).history({ limit: 1000 })
    expect(cut.slice(-2).map(({ event }) => event.type)).toEqual(['session.error', 'session.status_idle'])
    expect(cut.length).toBeGreaterThan(killed.find(({ key }) => key === 'cut')?.events ?? Infinity)
    for (const old of killed) {
      const { text } = await say(await pool.session(old.key), 'hello again')
      // The prompt that was cut is in its transcript.
      expect(text).toBe(nextAnswer(old.key === 'cut' ? { ...old, turns: 3 } : old, 'hello again'))
    }
  },
)

test.runIf(WHOLE)('Sessions go out and come in elsewhere; archives of that time do, too', async () => {
  const { open, root, site, local } = await unpacked()
  const pool = await open('local')
  const elsewhere = await site.pool({ agents: agentsOf(root) })
  const cwd = await site.directory('elsewhere')
  for (const old of local.filter((session) => !isOfApi(session) && session.turns > 0)) {
    const { key, tenant } = old
    const given = old.key === 'project' || old.key === 'fixed' ? { cwd } : {}
    const session = await elsewhere.importSession(pool.exportSession(key, { tenant }), given)
    expect(await session.info()).toMatchObject({ key, tenant, turns: old.turns, usage: old.usage })
  }
  await elsewhere.close()
  const third = await site.pool({ agents: agentsOf(root), dataDir: join(site.root, 'third') })
  for (const name of ['tools', 'cleared', 'project', 'odd']) {
    const session = await third.importSession(lines(join(root, `${name}.session`)), name === 'project' ? { cwd } : {})
    const old = local.find(({ key, tenant }) => key === session.key && tenant === session.tenant)
    expect((await say(session, 'arrived')).text).toBe(nextAnswer(old as OldSession, 'arrived'))
  }
})

test('A backup of that time takes the place of its data directory', async () => {
  const { open, root } = await unpacked()
  await rm(join(root, 'local'), { recursive: true })
  await rename(join(root, 'backup'), join(root, 'local'))
  const pool = await open('local')
  expect((await say(await pool.session('plain'), 'hello again')).text).toBe('[turn 5] You said: hello again')
})

test('Old sessions are pruned and erased with all that they left', async () => {
  const { open, local } = await unpacked()
  const pool = await open('local', { retention: { agents: { slashes: { maxAge: '1ms' } } } })
  const { sessions } = await pool.prune()
  expect(sessions.map(({ key }) => key).toSorted()).toEqual(['cleared', 'moved'])
  await pool.eraseTenant('acme')
  const left = await pool.sessions({ limit: 1000 })
  expect(left.length).toBe(local.filter(({ tenant, agent }) => tenant !== 'acme' && agent !== 'slashes').length)
})

test('The command reads the directory of another release beside no host', async () => {
  const { root, local } = await unpacked()
  const { code, stdout, stderr } = await run(['sessions', 'list', '--json', '--data-dir', join(root, 'local')], {
    cwd: root,
  })
  expect([code, stderr]).toEqual([0, ''])
  expect((JSON.parse(stdout) as OldSession[]).map(({ tenant, key, turns }) => [tenant, key, turns])).toEqual(
    local.map(({ tenant, key, turns }) => [tenant, key, turns]),
  )
})
