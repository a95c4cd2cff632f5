import { randomUUID } from 'node:crypto'
import { AbortError, createSdkMcpServer, query as sdkQuery, tool } from '@anthropic-ai/claude-agent-sdk'
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
  record,
  say,
  transcripts,
  until,
} from '../fixtures/real-pool.ts'
import { WHOLE } from '../fixtures/whole.ts'

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

test('A query is the stream that the SDK gives, and leaves no process behind', async () => {
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
  expect(pool.workers().filter(({ session }) => session !== undefined)).toEqual([])
})

test('A query that is not to be kept leaves nothing behind', async () => {
  const site = await openSite()
  const cwd = await site.directory('project')
  const pool = await site.pool()
  const options = { model: MODEL, cwd, persistSession: false }
  expect(resultsOf(await collect(pool.query({ prompt: 'hello', options })))).toEqual(['[turn 1] You said: hello'])
  expect(await pool.sessions()).toEqual([])
  expect((await transcripts(site.dataDir)).length).toBe(0)
})

test('A session is captured and resumed, also by another host, and the process of the second query serves the third', async () => {
  const site = await openSite()
  const cwd = await site.directory('project')
  const options = { model: MODEL, cwd }
  const before = await site.pool()
  const [first] = await collect(before.query({ prompt: 'first', options }))
  const resume = first?.session_id ?? ''
  await before.close()
  const pool = await site.pool()
  const started = record(pool, 'worker.started')
  const say = async (prompt: string): Promise<string[]> =>
    resultsOf(await collect(pool.query({ prompt, options: { ...options, resume } })))
  expect(await say('second')).toEqual(['[turn 2] You said: second'])
  expect(await say('third')).toEqual(['[turn 3] You said: third'])
  expect(started.filter(({ worker }) => worker.session !== undefined)).toHaveLength(1)
})

test.runIf(WHOLE)('A session is forked, and goes on from an earlier message', async () => {
  const site = await openSite()
  const cwd = await site.directory('project')
  const pool = await site.pool()
  const ask = (prompt: string, rest: Options): Promise<SDKMessage[]> =>
    collect(pool.query({ prompt, options: { model: MODEL, cwd, ...rest } }))
  const first = await ask('first', {})
  const resume = first[0]?.session_id ?? ''
  const at = first.find(({ type }) => type === 'assistant')?.uuid ?? ''
  const second = await ask('second', { resume })
  expect(resultsOf(second)).toEqual(['[turn 2] You said: second'])
  const fork = await ask('fork', { resume, forkSession: true })
  expect(resultsOf(fork)).toEqual(['[turn 3] You said: fork'])
  expect(fork[0]?.session_id).not.toBe(resume)
  expect(resultsOf(await ask('instead', { resume, resumeSessionAt: at }))).toEqual(['[turn 2] You said: instead'])
  const [ofFork] = (await pool.sessions()).filter(({ sdkSessionId }) => sdkSessionId === fork[0]?.session_id)
  expect(ofFork).toMatchObject({ turns: 1, usage: { estimated: false } })
  await expect(ask('nowhere', { resume, resumeSessionAt: randomUUID() })).rejects.toMatchObject({
    name: 'ResumeError',
    message: expect.stringContaining('No message found with message.uuid'),
  })
})

test.runIf(WHOLE)('What a query told its process holds for the one that takes over', async () => {
  const site = await openSite()
  const cwd = await site.directory('project')
  const pool = await site.pool()
  const told = Promise.withResolvers<void>()
  const more = Promise.withResolvers<void>()
  async function* prompts(): AsyncGenerator<SDKUserMessage> {
    await told.promise
    yield prompt('first')
    await more.promise
    yield prompt('second')
  }
  const query = pool.query({ prompt: prompts(), options: { model: MODEL, cwd } })
  await query.setModel('claude-haiku-4-5')
  expect(await query.setPermissionMode('acceptEdits')).toEqual({ mode: 'acceptEdits' })
  told.resolve()
  const results: string[] = []
  const modes: string[] = []
  for await (const message of query) {
    if (message.type === 'system' && message.subtype === 'init') modes.push(message.permissionMode)
    if (message.type !== 'result') continue
    results.push(...resultsOf([message]))
    const worker = pool.workers().find(({ session }) => session !== undefined)
    if (results.length > 1 || worker?.pid === undefined) continue
    const left = event(pool, 'worker.closed', ({ worker: { id } }) => id === worker.id)
    process.kill(worker.pid, 'SIGKILL')
    await left
    more.resolve()
  }
  expect(results).toEqual(['[turn 1] You said: first', '[turn 2] You said: second'])
  expect(modes).toEqual(['acceptEdits', 'acceptEdits'])
  const models = ['first', 'second'].flatMap((words) =>
    asked(site, words).map(({ body }) => (body as { model: string }).model),
  )
  expect(new Set(models)).toEqual(new Set(['claude-haiku-4-5']))
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
  const resumed = await collect(pool.query({ prompt: 'third', options: { resume: sdkSessionId } }))
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
    message: expect.stringContaining('begun elsewhere'),
  })
  expect(pool.workers()).toEqual([])
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
  expect(await query.mcpServerStatus()).toMatchObject([{ name: 'host' }])
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
  expect(await query.interrupt()).toEqual({ still_queued: [] })
  await expect(reading).rejects.toMatchObject({ name: 'ErrorResultError', subtype: 'error_during_execution' })
  const abortController = new AbortController()
  const second = pool.query({ prompt: 'second\n@sim silence', options: { model: MODEL, cwd, abortController } })
  const rest = collect(second)
  await modelAsked(site, 'second')
  abortController.abort()
  await expect(rest).rejects.toBeInstanceOf(AbortError)
  await until(() => expect(pool.stats().activeSessions).toBe(0))
})

test.each(['leaving the loop', 'close'])('A query that is ended by %s leaves no process', async (how) => {
  const site = await openSite()
  const cwd = await site.directory('project')
  const pool = await site.pool({ limits: { workers: 1 } })
  const left = event(pool, 'worker.closed', ({ worker }) => worker.session !== undefined)
  const query = pool.query({ prompt: 'first\n@sim silence', options: { model: MODEL, cwd } })
  for await (const message of query) {
    if (message.type !== 'system') continue
    if (how === 'leaving the loop') break
    query.close()
  }
  await left
  await pool.close()
  expect(await processesOf(site.root)).toEqual([])
})
