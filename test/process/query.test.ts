import { createSdkMcpServer, query as sdkQuery, tool } from '@anthropic-ai/claude-agent-sdk'
import { expect, test } from 'vitest'
import { z } from 'zod'
import type { Options, SDKMessage, SDKUserMessage } from '../../src/driver/driver.ts'
import {
  asked,
  event,
  MODEL,
  modelAsked,
  openSite,
  processesOf,
  say,
  transcripts,
  until,
} from '../fixtures/real-pool.ts'

const prompt = (content: string): SDKUserMessage => ({
  type: 'user',
  message: { role: 'user', content },
  parent_tool_use_id: null,
})

const resultsOf = (messages: readonly SDKMessage[]): string[] =>
  messages.flatMap((message) => (message.type === 'result' && message.subtype === 'success' ? [message.result] : []))

async function collect(messages: AsyncIterable<SDKMessage>): Promise<SDKMessage[]> {
  const all: SDKMessage[] = []
  for await (const message of messages) all.push(message)
  return all
}

test('A query is the stream that the SDK gives, and leaves nothing behind', async () => {
  const site = await openSite()
  const cwd = await site.directory('project')
  const pool = await site.pool()
  const messages = await collect(pool.query({ prompt: 'hello', options: { model: MODEL, cwd } }))
  expect(resultsOf(messages)).toEqual(['[turn 1] You said: hello'])
  const types = ({ type, ...rest }: SDKMessage): string =>
    'subtype' in rest ? `${type}/${String(rest.subtype)}` : type
  const plain = await collect(
    sdkQuery({
      prompt: 'hello',
      options: {
        model: MODEL,
        cwd,
        settingSources: [],
        env: {
          PATH: process.env['PATH'],
          HOME: site.root,
          CLAUDE_CONFIG_DIR: await site.directory('plain'),
          ANTHROPIC_BASE_URL: site.simulator.url,
          ANTHROPIC_API_KEY: 'simulated',
          CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
        },
      },
    }),
  )
  expect(messages.map(types)).toEqual(plain.map(types))
  expect(await pool.sessions()).toEqual([])
  expect((await transcripts(site.dataDir)).length).toBe(0)
  expect(pool.workers().filter(({ session }) => session !== undefined)).toEqual([])
})

test('Messages that come one by one are turns of one conversation', async () => {
  const site = await openSite()
  const cwd = await site.directory('project')
  const pool = await site.pool()
  async function* prompts(): AsyncGenerator<SDKUserMessage> {
    yield prompt('first')
    yield prompt('second')
    yield await Promise.resolve(prompt('third'))
  }
  const messages = await collect(pool.query({ prompt: prompts(), options: { model: MODEL, cwd } }))
  expect(resultsOf(messages)).toEqual(['first', 'second', 'third'].map((say, i) => `[turn ${i + 1}] You said: ${say}`))
  expect(
    pool.stats().totals.starts - (pool.stats().workers.spares + pool.stats().workers.starting),
  ).toBeLessThanOrEqual(2)
})

test('A query that resumes goes on with that session of the pool, which stays', async () => {
  const site = await openSite()
  const pool = await site.pool()
  const session = await pool.session('one', { agent: 'a' })
  await say(session, 'first')
  const { sdkSessionId = '' } = await session.info()
  const live = await collect(pool.query({ prompt: 'second', options: { resume: sdkSessionId } }))
  expect(resultsOf(live)).toEqual(['[turn 2] You said: second'])
  await session.hibernate()
  const resumed = await collect(pool.query({ prompt: 'third', options: { sessionId: sdkSessionId } }))
  expect(resultsOf(resumed)).toEqual(['[turn 3] You said: third'])
  expect(await session.info()).toMatchObject({ turns: 3, sdkSessionId })
})

test('An id that this pool does not know is refused, also if another pool has its transcript', async () => {
  const site = await openSite()
  const pool = await site.pool()
  const unknown = pool.query({ prompt: 'hi', options: { resume: '6f1d3c1e-6f0e-4b52-8b5b-3f0a4f0d9a11' } })
  await expect(unknown.next()).rejects.toMatchObject({
    name: 'ResumeError',
    code: 'resume_failed',
    message: expect.stringContaining('pool.session()'),
  })
  expect(pool.workers()).toEqual([])
})

test.each<[string, Options]>([
  ['continue', { continue: true }],
  ['spawnClaudeCodeProcess', { spawnClaudeCodeProcess: () => expect.unreachable() }],
  ['persistSession', { persistSession: false }],
  ['forkSession', { forkSession: true }],
  ['env.CLAUDE_CONFIG_DIR', { env: { CLAUDE_CONFIG_DIR: '/tmp' } }],
])('%s is refused, since it is the pool that sets it', async (name, options) => {
  const site = await openSite()
  const pool = await site.pool()
  await expect(pool.query({ prompt: 'hi', options }).next()).rejects.toMatchObject({
    name: 'ConfigError',
    path: expect.stringMatching(new RegExp(`${name.replace('.', '\\.')}$`)),
    message: expect.stringContaining('leave it out'),
  })
})

test('Other options beside resume, and a directory that is not there, are refused by name', async () => {
  const site = await openSite()
  const pool = await site.pool()
  const session = await pool.session('one', { agent: 'a' })
  await say(session, 'first')
  const { sdkSessionId: resume = '' } = await session.info()
  await expect(pool.query({ prompt: 'hi', options: { resume, model: MODEL } }).next()).rejects.toMatchObject({
    name: 'ConfigError',
    path: 'options.model',
  })
  await expect(pool.query({ prompt: 'hi', options: { cwd: '/not/there' } }).next()).rejects.toMatchObject({
    name: 'ConfigError',
    path: 'cwd',
  })
})

test('Control methods reach the process that runs the query', async () => {
  const site = await openSite()
  const cwd = await site.directory('project')
  const pool = await site.pool()
  const server = createSdkMcpServer({
    name: 'host',
    tools: [
      tool('echo', 'Echoes', { word: z.string() }, ({ word }) =>
        Promise.resolve({ content: [{ type: 'text', text: word }] }),
      ),
    ],
  })
  const more = Promise.withResolvers<void>()
  async function* prompts(): AsyncGenerator<SDKUserMessage> {
    yield prompt('@sim tool mcp__host__echo {"word":"from the host"}')
    await more.promise
    yield prompt('second')
  }
  const query = pool.query({
    prompt: prompts(),
    options: { model: MODEL, cwd, mcpServers: { host: server }, allowedTools: ['mcp__host__echo'] },
  })
  await expect(query.mcpServerStatus()).rejects.toMatchObject({ name: 'ConfigError' })
  const results: string[] = []
  for await (const message of query) {
    if (message.type !== 'result') continue
    results.push(...resultsOf([message]))
    if (results.length > 1) continue
    expect(await query.mcpServerStatus()).toMatchObject([{ name: 'host', status: 'connected' }])
    await query.setModel('claude-haiku-4-5')
    expect((await query.supportedModels()).length).toBeGreaterThan(0)
    more.resolve()
  }
  expect(results).toEqual(['[turn 1] tool said: from the host', '[turn 2] You said: second'])
  expect(asked(site, 'second').map(({ body }) => (body as { model: string }).model)).toEqual(['claude-haiku-4-5'])
})

test('A query is interrupted by its method and by its abort controller', async () => {
  const site = await openSite()
  const cwd = await site.directory('project')
  const pool = await site.pool()
  const query = pool.query({ prompt: 'first\n@sim silence', options: { model: MODEL, cwd } })
  const reading = collect(query)
  await modelAsked(site, 'first')
  await query.interrupt()
  expect((await reading).at(-1)).toMatchObject({ type: 'result', subtype: 'error_during_execution' })
  const abortController = new AbortController()
  const second = pool.query({ prompt: 'second\n@sim silence', options: { model: MODEL, cwd, abortController } })
  const rest = collect(second)
  await modelAsked(site, 'second')
  abortController.abort()
  expect((await rest).at(-1)).toMatchObject({ type: 'result' })
  await until(() => expect(pool.stats().activeSessions).toBe(0))
})

test.each(['leaving the loop', 'close'])('A query that is ended by %s leaves nothing', async (how) => {
  const site = await openSite()
  const cwd = await site.directory('project')
  const pool = await site.pool({ limits: { workers: 1 } })
  const deleted = event(pool, 'session.deleted')
  const query = pool.query({ prompt: 'first\n@sim silence', options: { model: MODEL, cwd } })
  for await (const message of query) {
    if (message.type !== 'system') continue
    if (how === 'leaving the loop') break
    query.close()
  }
  await deleted
  await pool.close()
  expect(await processesOf(site.root)).toEqual([])
})
