import { createHash } from 'node:crypto'
import { mkdir, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import Anthropic, { APIError, NotFoundError } from '@anthropic-ai/sdk'
import type { BetaManagedAgentsMemoryVersion } from '@anthropic-ai/sdk/resources/beta/memory-stores/memory-versions'
import { describe, expect, onTestFinished, test } from 'vitest'
import { SqliteApiStore } from '../../../../src/server/api-store/sqlite.ts'
import { hashKey } from '../../../../src/server/auth/authenticator.ts'
import { Memories } from '../../../../src/server/managed-agents/memory/memories.ts'
import { MemoryStores } from '../../../../src/server/managed-agents/memory/memory-stores.ts'
import type { ServerOptions } from '../../../../src/server/options.ts'
import type { FakeProcess } from '../../../../src/testing/process.ts'
import { served } from '../../../fixtures/server.ts'
import type { ServedFakes } from '../../../fixtures/server.ts'

const [ACME, BETA] = ['a'.repeat(24), 'b'.repeat(24)]

interface Setting extends ServedFakes {
  client: Anthropic
  other: Anthropic
}

async function setting(options: ServerOptions = {}): Promise<Setting> {
  const keys = [
    { tenant: 'acme', sha256: hashKey(ACME), name: 'alice' },
    { tenant: 'beta', sha256: hashKey(BETA) },
  ]
  const all = await served({ keys, managedAgents: { define: true }, ...options })
  const as = (apiKey: string): Anthropic =>
    new Anthropic({
      apiKey,
      baseURL: 'http://localhost',
      maxRetries: 0,
      fetch: async (url, init) => all.server.fetch(new Request(url as string, init as RequestInit)),
    })
  return { ...all, client: as(ACME), other: as(BETA) }
}

const DAY_MS = 24 * 3_600_000

const shaOf = (text: string): string => createHash('sha256').update(text).digest('hex')

const storeIn = async ({ client }: Pick<Setting, 'client'>, name = 'User Preferences') =>
  client.beta.memoryStores.create({ name })

async function listed<T>(pages: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = []
  for await (const item of pages) items.push(item)
  return items
}

describe('A memory store', () => {
  test('is created, read, changed, listed, archived and deleted', async () => {
    const all = await setting()
    const { memoryStores } = all.client.beta
    const made = await memoryStores.create({ name: 'Prefs', description: 'What users like', metadata: { user: '7' } })
    expect(made).toEqual({
      type: 'memory_store',
      id: expect.stringMatching(/^memstore_\w{24}$/) as string,
      name: 'Prefs',
      description: 'What users like',
      metadata: { user: '7' },
      created_at: expect.any(String) as string,
      updated_at: made.created_at,
      archived_at: null,
    })
    await all.clock.advance(1)
    const changed = await memoryStores.update(made.id, { description: '', metadata: { user: null, a: 'b' } })
    expect(changed).toMatchObject({ name: 'Prefs', description: '', metadata: { a: 'b' } })
    expect(changed.updated_at).not.toBe(made.updated_at)
    expect(await memoryStores.retrieve(made.id)).toEqual(changed)
    const memory = await memoryStores.memories.create(made.id, { path: '/a', content: 'x' })
    await all.clock.advance(1)
    const archived = await memoryStores.archive(made.id)
    expect(archived.archived_at).not.toBeNull()
    expect(await listed(memoryStores.list())).toEqual([])
    expect(await listed(memoryStores.list({ include_archived: true }))).toEqual([archived])
    const at = { memory_store_id: made.id }
    for (const attempt of [
      () => memoryStores.update(made.id, { name: 'x' }),
      () => memoryStores.memories.create(made.id, { path: '/b', content: '' }),
      () => memoryStores.memories.update(memory.id, { ...at, content: 'y' }),
    ])
      await expect(attempt()).rejects.toThrow('is archived')
    expect(await memoryStores.memories.delete(memory.id, at)).toEqual({ type: 'memory_deleted', id: memory.id })
    expect(await memoryStores.delete(made.id)).toEqual({ type: 'memory_store_deleted', id: made.id })
    await expect(memoryStores.retrieve(made.id)).rejects.toThrow(NotFoundError)
    await expect(memoryStores.memoryVersions.list(made.id)).rejects.toThrow(NotFoundError)
  })

  test('is another tenant’s alone, and goes with its tenant', async () => {
    const all = await setting()
    const { id } = await storeIn(all)
    const { memories: mine } = all.client.beta.memoryStores
    const memory = await mine.create(id, { path: '/a', content: 'secret' })
    const own = await all.other.beta.memoryStores.create({ name: 'x' })
    const { memoryStores, sessions } = all.other.beta
    for (const memory_store_id of [id, own.id])
      for (const attempt of [
        () => memoryStores.memories.retrieve(memory.id, { memory_store_id }),
        () => memoryStores.memories.update(memory.id, { memory_store_id, content: 'y' }),
        () => memoryStores.memories.delete(memory.id, { memory_store_id }),
        () => memoryStores.memoryVersions.retrieve(memory.memory_version_id, { memory_store_id }),
        () => memoryStores.memoryVersions.redact(memory.memory_version_id, { memory_store_id }),
      ])
        await expect(attempt()).rejects.toThrow(NotFoundError)
    for (const attempt of [
      () => memoryStores.retrieve(id),
      () => memoryStores.update(id, { name: 'x' }),
      () => memoryStores.archive(id),
      () => memoryStores.delete(id),
      () => memoryStores.memories.list(id),
      () => memoryStores.memories.create(id, { path: '/b', content: '' }),
      () => memoryStores.memoryVersions.list(id),
    ])
      await expect(attempt()).rejects.toThrow(NotFoundError)
    const attached = sessions.create({
      agent: 'agent_assistant',
      environment_id: 'env_local',
      resources: [{ type: 'memory_store', memory_store_id: id }],
    })
    await expect(attached).rejects.toThrow(`resources: memory store ${id} was not found`)
    // A memory is found in its own store alone.
    const { id: second } = await storeIn(all)
    const at = { memory_store_id: second }
    await expect(mine.retrieve(memory.id, at)).rejects.toThrow(NotFoundError)
    const versions = all.client.beta.memoryStores.memoryVersions
    await expect(versions.retrieve(memory.memory_version_id, at)).rejects.toThrow(NotFoundError)
    await all.pool.eraseTenant('acme')
    await expect.poll(async () => (await all.client.beta.memoryStores.list()).data).toEqual([])
    await expect(mine.list(id)).rejects.toThrow(NotFoundError)
    expect(await listed(memoryStores.list())).toEqual([own])
  })

  test('is refused beyond the limit of its tenant', async () => {
    const all = await setting({ tenantLimits: { memoryStores: 1 } })
    await storeIn(all)
    await expect(storeIn(all)).rejects.toThrow('its 1 memory stores; delete some')
    await expect(all.other.beta.memoryStores.create({ name: '\u0000' })).rejects.toThrow('control characters')
  })
})

describe('A memory', () => {
  test('is created, read, changed, moved and deleted, with a version for each', async () => {
    const all = await setting()
    const { id: memory_store_id } = await storeIn(all)
    const { memories, memoryVersions } = all.client.beta.memoryStores
    const made = await memories.create(memory_store_id, { path: '/notes/a.md', content: 'Grüße' })
    expect(made).toEqual({
      type: 'memory',
      id: expect.stringMatching(/^mem_\w{24}$/) as string,
      memory_store_id,
      path: '/notes/a.md',
      content: null,
      content_sha256: shaOf('Grüße'),
      content_size_bytes: 7,
      memory_version_id: expect.stringMatching(/^memver_\w{24}$/) as string,
      created_at: expect.any(String) as string,
      updated_at: made.created_at,
    })
    const at = { memory_store_id }
    expect(await memories.retrieve(made.id, at)).toEqual({ ...made, content: 'Grüße' })
    await all.clock.advance(1)
    const same = await memories.update(made.id, { ...at, content: 'Grüße', path: '/notes/a.md' })
    expect(same).toEqual(made)
    const changed = await memories.update(made.id, { ...at, content: 'Neu', view: 'full' })
    expect(changed).toMatchObject({ content: 'Neu', created_at: made.created_at })
    await all.clock.advance(1)
    const moved = await memories.update(made.id, { ...at, path: '/b' })
    expect(moved).toMatchObject({ path: '/b', content_sha256: shaOf('Neu') })
    await all.clock.advance(1)
    await memories.delete(made.id, at)
    await expect(memories.retrieve(made.id, at)).rejects.toThrow(NotFoundError)
    const versions = await listed(memoryVersions.list(memory_store_id, { memory_id: made.id, view: 'full', limit: 1 }))
    const shown = ({ operation, path, content }: BetaManagedAgentsMemoryVersion) => [operation, path, content]
    expect(versions.map(shown)).toEqual([
      ['deleted', '/b', null],
      ['modified', '/b', 'Neu'],
      ['modified', '/notes/a.md', 'Neu'],
      ['created', '/notes/a.md', 'Grüße'],
    ])
    expect(versions[0]).toMatchObject({ content_sha256: null, created_by: { type: 'api_actor', api_key_id: 'alice' } })
    const only = await listed(memoryVersions.list(memory_store_id, { operation: 'modified', api_key_id: 'alice' }))
    expect(only.map(({ id }) => id)).toEqual(versions.slice(1, 3).map(({ id }) => id))
    expect(only[0]?.content).toBeNull()
    for (const filter of [{ session_id: 'sesn_1' }, { api_key_id: 'bob' }, { service_account_id: 'svac_1' }])
      expect(await listed(memoryVersions.list(memory_store_id, filter))).toEqual([])
  })

  test('is changed and deleted only as its client has seen it, if that says so', async () => {
    const all = await setting()
    const { id: memory_store_id } = await storeIn(all)
    const { memories } = all.client.beta.memoryStores
    const { id } = await memories.create(memory_store_id, { path: '/a', content: 'one' })
    const at = { memory_store_id }
    const seen = (text: string) => ({ type: 'content_sha256' as const, content_sha256: shaOf(text) })
    const stale = memories.update(id, { ...at, content: 'two', precondition: seen('zero') })
    await expect(stale).rejects.toMatchObject({
      status: 409,
      error: { error: { type: 'memory_precondition_failed_error' } },
    })
    await memories.update(id, { ...at, content: 'two', precondition: seen('one') })
    const racing = ['three', 'four'].map((content) =>
      memories.update(id, { ...at, content, precondition: seen('two') }),
    )
    const settled = await Promise.allSettled(racing)
    expect(settled.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
    await memories.update(id, { ...at, content: 'two' })
    // It is as it was asked for already.
    await memories.update(id, { ...at, content: 'two', precondition: seen('one') })
    const early = memories.delete(id, { ...at, expected_content_sha256: shaOf('one') })
    await expect(early).rejects.toMatchObject({ status: 409 })
    await expect(memories.delete(id, { ...at, expected_content_sha256: 'x' })).rejects.toThrow('hexadecimal')
    await memories.delete(id, { ...at, expected_content_sha256: shaOf('two') })
  })

  test('has its path alone, and of several at once one gets it', async () => {
    const all = await setting()
    const { id: memory_store_id } = await storeIn(all)
    const { memories, memoryVersions } = all.client.beta.memoryStores
    const first = await memories.create(memory_store_id, { path: '/notes/todo', content: 'x' })
    for (const path of ['/notes/todo', '/notes', '/notes/todo/a']) {
      const refused = await memories.create(memory_store_id, { path, content: 'y' }).catch((error: unknown) => error)
      expect(refused).toBeInstanceOf(APIError)
      expect(refused).toMatchObject({
        status: 409,
        error: {
          error: {
            type: 'memory_path_conflict_error',
            conflicting_memory_id: first.id,
            conflicting_path: '/notes/todo',
          },
        },
      })
    }
    await memories.create(memory_store_id, { path: '/notes-archive', content: 'y' })
    const other = await memories.create(memory_store_id, { path: '/c', content: 'y' })
    const moved = memories.update(other.id, { memory_store_id, path: '/notes' })
    await expect(moved).rejects.toMatchObject({ status: 409 })
    const many = Array.from({ length: 5 }, () => memories.create(memory_store_id, { path: '/d', content: 'z' }))
    const settled = await Promise.allSettled(many)
    expect(settled.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    const both = Array.from({ length: 5 }, (_, index) =>
      memories.update(other.id, { memory_store_id, content: `v${index}` }),
    )
    await Promise.all(both)
    // What was refused has left no version.
    const versions = await listed(memoryVersions.list(memory_store_id))
    expect(versions).toHaveLength(3 + 1 + 5)
  })

  test.each([
    ['a', 'must begin with'],
    ['/', 'must begin with'],
    ['/a//b', 'must begin with'],
    ['/a/../b', 'must begin with'],
    [`/${'a/'.repeat(20)}a`, 'more than 20 parts'],
    [`/${'ü'.repeat(128)}`, 'more than 1024 bytes'],
    ['/a\u202eb', 'do not belong'],
    ['/a\\b', 'do not belong'],
    ['/u\u0308', 'normalization form C'],
  ])('cannot be at %j', async (path, problem) => {
    const all = await setting()
    const { id } = await storeIn(all)
    const made = all.client.beta.memoryStores.memories.create(id, { path, content: '' })
    await expect(made).rejects.toThrow(`path: `)
    await expect(made).rejects.toThrow(problem)
  })

  test('has 100 kB at most, and its store so many', async () => {
    const all = await setting()
    const { id } = await storeIn(all)
    const { memories } = all.client.beta.memoryStores
    await expect(memories.create(id, { path: '/a', content: 'ü'.repeat(51_201) })).rejects.toThrow('102400 bytes')
    expect((await memories.create(id, { path: '/a', content: 'ü'.repeat(51_200) })).content_size_bytes).toBe(102_400)
    expect((await memories.create(id, { path: '/b', content: null })).content_size_bytes).toBe(0)
    await expect(memories.create(id, { path: '/c', content: '\ud800' })).rejects.toThrow('well-formed')
  })

  test('is listed by path, below a prefix, by folders, and in pages', async () => {
    const all = await setting()
    const { id } = await storeIn(all)
    const { memories } = all.client.beta.memoryStores
    for (const path of ['/z', '/a/1', '/a/b/2', '/a.txt', '/a/b/3', '/ab/4'])
      await memories.create(id, { path, content: path })
    const paths = async (params: object) => (await listed(memories.list(id, params))).map((item) => item.path)
    const whole = ['/a.txt', '/a/1', '/a/b/2', '/a/b/3', '/ab/4', '/z']
    expect(await paths({})).toEqual(whole)
    for (const limit of [1, 2, 3, 6]) expect(await paths({ limit })).toEqual(whole)
    expect(await paths({ path_prefix: '/a/' })).toEqual(['/a/1', '/a/b/2', '/a/b/3'])
    expect(await paths({ path_prefix: '/a/', depth: 1 })).toEqual(['/a/1', '/a/b/'])
    for (const limit of [1, 2, 10]) expect(await paths({ depth: 1, limit })).toEqual(['/a.txt', '/a/', '/ab/', '/z'])
    expect((await memories.list(id, { depth: 1 })).data[1]).toEqual({ type: 'memory_prefix', path: '/a/' })
    expect((await memories.list(id, { view: 'full' })).data[0]).toMatchObject({ content: '/a.txt' })
    for (const params of [{ path_prefix: 'a/' }, { path_prefix: '/a' }, { depth: 2 }, { page: 'x' }])
      await expect(memories.list(id, params)).rejects.toThrow(Object.keys(params)[0])
  })

  test('loses what a version says once that is redacted, unless it is the current one', async () => {
    const all = await setting()
    const { id: memory_store_id } = await storeIn(all)
    const { memories, memoryVersions } = all.client.beta.memoryStores
    const { id, memory_version_id: secret } = await memories.create(memory_store_id, { path: '/a', content: 'secret' })
    const at = { memory_store_id }
    await expect(memoryVersions.redact(secret, at)).rejects.toThrow('is the content of a memory now')
    await memories.update(id, { ...at, content: 'public' })
    const redacted = await memoryVersions.redact(secret, at)
    expect(redacted).toMatchObject({
      id: secret,
      path: null,
      content: null,
      content_sha256: null,
      content_size_bytes: null,
      redacted_by: { type: 'api_actor', api_key_id: 'alice' },
      created_by: { type: 'api_actor', api_key_id: 'alice' },
    })
    expect(await memoryVersions.retrieve(secret, at)).toEqual(redacted)
    expect(await memoryVersions.redact(secret, at)).toEqual(redacted)
    expect((await memories.retrieve(id, at)).content).toBe('public')
  })

  test('keeps old versions for 30 days, and the current one', async () => {
    const store = new SqliteApiStore(':memory:')
    onTestFinished(() => store.close())
    let now = Date.UTC(2026, 0, 1)
    const stores = new MemoryStores(store.resources, () => now)
    const memories = new Memories(store.resources, stores, () => now)
    const { id: storeId } = await stores.create('t', { name: 'x' })
    const [request, by] = [{ tenant: 't', storeId }, { type: 'api_actor', api_key_id: 'a' } as const]
    const { id } = await memories.create(request, { path: '/a', content: 'one' }, by)
    const two = await memories.update(request, id, { content: 'two' }, by)
    const versions = () => store.resources.count('memory_version', 't')
    now += 30 * DAY_MS - 1
    const other = await memories.create(request, { path: '/b', content: 'x' }, by)
    expect(await versions()).toBe(3)
    now += 1
    await memories.update(request, other.id, { content: 'y' }, by)
    expect(await versions()).toBe(3)
    expect(await memories.contentOf('t', two)).toBe('two')
  })

  test('has 1,999 beside it', async () => {
    const store = new SqliteApiStore(':memory:')
    onTestFinished(() => store.close())
    const stores = new MemoryStores(store.resources, () => 0)
    const memories = new Memories(store.resources, stores, () => 0)
    const { id: storeId } = await stores.create('t', { name: 'x' })
    const [request, by] = [{ tenant: 't', storeId }, { type: 'api_actor', api_key_id: 'a' } as const]
    await memories.create(request, { path: '/a', content: '' }, by)
    const row = await store.resources.get('memory_index', 't', storeId)
    const index = JSON.parse(row?.body ?? '') as { memories: { path: string }[] }
    const [first] = index.memories
    const full = Array.from({ length: 2_000 }, (_, at) => ({ ...first, path: `/${at}` }))
    if (row) await store.resources.replace(row, { ...row, body: JSON.stringify({ ...index, memories: full }) })
    await expect(memories.create(request, { path: '/b', content: '' }, by)).rejects.toThrow('at most 2000 memories')
    expect(await store.resources.count('memory_version', 't')).toBe(1)
  })
})

describe('A session with memory stores', () => {
  interface Begun {
    id: string
    /** The folder of the first store. */
    folder: string
    write: (path: string, text: string) => Promise<void>
    read: (path: string) => Promise<string>
    /** What the agent gets, and does before it answers. */
    turn: (work?: () => Promise<unknown>) => Promise<string>
  }

  async function begun(
    all: Setting,
    stores: { memory_store_id: string; access?: 'read_only' | 'read_write'; instructions?: string }[],
    agent = 'agent_assistant',
  ): Promise<Begun> {
    const session = await all.client.beta.sessions.create({
      agent,
      environment_id: 'env_local',
      resources: stores.map((store) => ({ type: 'memory_store', ...store })),
    })
    const [first] = session.resources
    const path = first?.type === 'memory_store' ? (first.mount_path ?? '') : ''
    const handle = await all.pool.session(session.id, { tenant: 'acme' })
    let process: FakeProcess | undefined
    const folder = async (): Promise<string> => join((await handle.info()).cwd ?? '', path)
    return {
      id: session.id,
      folder: path,
      async write(name, text) {
        const at = join(await folder(), name)
        await mkdir(dirname(at), { recursive: true })
        await writeFile(at, text)
      },
      read: async (name) => readFile(join(await folder(), name), 'utf8'),
      async turn(work) {
        const before = process?.prompts.length ?? 0
        const count = all.driver.processes.length
        all.driver.onStart = (started) => {
          started.answersAtOnce = false
        }
        await all.client.beta.sessions.events.send(session.id, {
          events: [{ type: 'user.message', content: [{ type: 'text', text: 'Go' }] }],
        })
        process ??= await all.driver.process(count)
        const running = process
        await all.driver.until(() => running.prompts.length > before)
        await work?.()
        running.finish()
        await expect
          .poll(async () => (await all.client.beta.sessions.retrieve(session.id)).status, { timeout: 5_000 })
          .toBe('idle')
        return JSON.stringify(running.prompts.at(-1))
      },
    }
  }

  const contentsOf = async ({ client }: Setting, id: string): Promise<Record<string, string>> => {
    const found = await listed(client.beta.memoryStores.memories.list(id, { view: 'full' }))
    return Object.fromEntries(
      found.map((item) => [item.path, item.type === 'memory' ? (item.content ?? '') : '(prefix)']),
    )
  }

  test('has their memories as files, and its agent is told of them', async () => {
    const all = await setting()
    const store = await all.client.beta.memoryStores.create({ name: 'User: Prefs!', description: 'What users like' })
    const twin = await all.client.beta.memoryStores.create({ name: 'user prefs' })
    const { memories } = all.client.beta.memoryStores
    await memories.create(store.id, { path: '/a/b.md', content: 'Likes tea' })
    const agent = await all.client.beta.agents.create({
      name: 'x',
      model: 'claude-sonnet-5',
      system: 'Be kind.',
      tools: [{ type: 'agent_toolset_20260401' }],
    })
    const session = await begun(
      all,
      [
        { memory_store_id: store.id, instructions: 'Look first.' },
        { memory_store_id: twin.id, access: 'read_only' },
      ],
      agent.id,
    )
    const shown = await all.client.beta.sessions.retrieve(session.id)
    expect(shown.resources).toEqual([
      {
        type: 'memory_store',
        memory_store_id: store.id,
        access: 'read_write',
        instructions: 'Look first.',
        name: 'User: Prefs!',
        description: 'What users like',
        mount_path: 'memory/user-prefs',
      },
      expect.objectContaining({ access: 'read_only', mount_path: '.agent-memory/user-prefs-2' }),
    ])
    const resources = all.client.beta.sessions.resources
    expect(await listed(resources.list(session.id, { limit: 1 }))).toEqual(shown.resources)
    await session.turn(async () => expect(await session.read('a/b.md')).toBe('Likes tea'))
    const { spec } = await all.driver.process(0)
    const prompt = spec.options.systemPrompt as string
    expect(prompt).toMatch(/^Be kind\.\n\n# Memory/)
    expect(prompt).toContain(
      '- memory/user-prefs ("User: Prefs!", you may change it)\n  What users like\n  Look first.',
    )
    expect(prompt).toContain('- .agent-memory/user-prefs-2 ("user prefs", read-only)')
    const [hook] = spec.options.hooks?.PreToolUse?.[0]?.hooks ?? []
    const decide = async (file_path: string): Promise<unknown> =>
      hook?.(
        { hook_event_name: 'PreToolUse', tool_name: 'Write', tool_input: { file_path }, cwd: '/w' } as never,
        'call',
        { signal: new AbortController().signal },
      )
    expect(await decide('.agent-memory/user-prefs-2/a')).toMatchObject({
      hookSpecificOutput: { permissionDecision: 'deny' },
    })
    expect(await decide('memory/user-prefs/a')).toMatchObject({ hookSpecificOutput: { permissionDecision: 'allow' } })
    // Lists find it by its stores.
    const found = async (memory_store_id: string) =>
      (await listed(all.client.beta.sessions.list({ memory_store_id }))).map(({ id }) => id)
    await all.client.beta.sessions.create({ agent: 'agent_assistant', environment_id: 'env_local' })
    expect(await found(twin.id)).toEqual([session.id])
    expect(await found('memstore_none')).toEqual([])
  })

  test('gives what its agent changes to the store as versions of its own, before its client can look', async () => {
    const all = await setting()
    const { id } = await storeIn(all)
    const { memories, memoryVersions } = all.client.beta.memoryStores
    for (const path of ['/keep', '/change', '/drop', '/folder']) await memories.create(id, { path, content: 'old' })
    const session = await begun(all, [{ memory_store_id: id }])
    await session.turn(async () => {
      await session.write('change', 'new')
      await session.write('sub/made', 'made')
      const cwd = (await (await all.pool.session(session.id, { tenant: 'acme' })).info()).cwd ?? ''
      await rm(join(cwd, session.folder, 'drop'))
      // What was a memory is a folder now.
      await rm(join(cwd, session.folder, 'folder'))
      await session.write('folder/in', 'x')
    })
    expect(await contentsOf(all, id)).toEqual({
      '/keep': 'old',
      '/change': 'new',
      '/sub/made': 'made',
      '/folder/in': 'x',
    })
    const written = await listed(memoryVersions.list(id, { session_id: session.id }))
    expect(written.map(({ operation, path }) => `${operation} ${path ?? ''}`).toSorted()).toEqual([
      'created /folder/in',
      'created /sub/made',
      'deleted /drop',
      'deleted /folder',
      'modified /change',
    ])
    await session.turn()
    expect(await listed(memoryVersions.list(id, { session_id: session.id }))).toHaveLength(5)
  })

  test('gets what others change before each turn, also in another session', async () => {
    const all = await setting()
    const { id: memory_store_id } = await storeIn(all)
    const { memories } = all.client.beta.memoryStores
    const one = await begun(all, [{ memory_store_id }])
    const two = await begun(all, [{ memory_store_id }])
    await one.turn(() => one.write('a', 'from one'))
    await two.turn(async () => {
      expect(await two.read('a')).toBe('from one')
      await two.write('a', 'from two')
    })
    const [memory] = await listed(memories.list(memory_store_id))
    const made = await memories.create(memory_store_id, { path: '/b', content: 'from the client' })
    await one.turn(async () => {
      expect(await one.read('a')).toBe('from two')
      expect(await one.read('b')).toBe('from the client')
    })
    await memories.delete(made.id, { memory_store_id })
    await one.turn(async () => expect(one.read('b')).rejects.toThrow('ENOENT'))
    expect(memory).toMatchObject({ path: '/a', content_size_bytes: 8 })
  })

  test('keeps both contents when others change a memory during a turn, and tells its agent', async () => {
    const all = await setting()
    const { id: memory_store_id } = await storeIn(all)
    const { memories, memoryVersions } = all.client.beta.memoryStores
    const a = await memories.create(memory_store_id, { path: '/a', content: 'old' })
    const b = await memories.create(memory_store_id, { path: '/b', content: 'old' })
    const session = await begun(all, [{ memory_store_id }])
    const { version } = await (async () => {
      let theirs = ''
      await session.turn(async () => {
        await session.write('a', 'mine')
        const { cwd } = await (await all.pool.session(session.id, { tenant: 'acme' })).info()
        await rm(join(cwd ?? '', session.folder, 'b'))
        const changed = await memories.update(a.id, { memory_store_id, content: 'theirs' })
        theirs = changed.memory_version_id
        await memories.update(b.id, { memory_store_id, content: 'theirs' })
      })
      return { version: theirs }
    })()
    expect(await contentsOf(all, memory_store_id)).toEqual({ '/a': 'mine', '/b': 'theirs' })
    expect((await memoryVersions.retrieve(version, { memory_store_id })).content).toBe('theirs')
    const told = await session.turn(async () => expect(await session.read('b')).toBe('theirs'))
    expect(told).toContain(`/a was changed by others, too: your content has replaced theirs (${version})`)
    expect(told).toContain('/b was changed by others while you deleted it, and is back')
    expect(await session.turn()).not.toContain('by others')
  })

  test('takes no file that is no memory, follows no link, and tells its agent', async () => {
    const all = await setting()
    const { id: memory_store_id } = await storeIn(all)
    await all.client.beta.memoryStores.memories.create(memory_store_id, { path: '/kept', content: 'old' })
    const session = await begun(all, [{ memory_store_id }])
    await session.turn(async () => {
      await session.write('large', 'x'.repeat(102_401))
      await session.write('kept', 'x'.repeat(102_401))
      await session.write('u\u0308', 'x')
      const { cwd = '' } = await (await all.pool.session(session.id, { tenant: 'acme' })).info()
      await writeFile(join(cwd, session.folder, 'binary'), Buffer.from([0xff, 0xfe]))
      await writeFile(join(cwd, 'secret'), 'secret')
      await symlink(join(cwd, 'secret'), join(cwd, session.folder, 'link'))
    })
    expect(await contentsOf(all, memory_store_id)).toEqual({ '/kept': 'old' })
    const told = await session.turn()
    for (const name of ['/large', '/kept', '/binary']) expect(told).toContain(`${name} is not kept: it is no text`)
    expect(told).toContain('is not kept: it must be in Unicode')
    // They stay where the agent has put them.
    expect(await session.read('large')).toHaveLength(102_401)
    expect(await session.read('kept')).toHaveLength(102_401)
    await session.turn(() => session.write('kept', 'short'))
    expect(await contentsOf(all, memory_store_id)).toEqual({ '/kept': 'short' })
  })

  test('that may only read has its changes undone, and so has one of an archived store', async () => {
    const all = await setting()
    const { id: memory_store_id } = await storeIn(all)
    const { memories } = all.client.beta.memoryStores
    await memories.create(memory_store_id, { path: '/a', content: 'old' })
    const reading = await begun(all, [{ memory_store_id, access: 'read_only' }])
    const writing = await begun(all, [{ memory_store_id }])
    await reading.turn(async () => {
      await reading.write('a', 'forged')
      await reading.write('b', 'forged')
    })
    await reading.turn(async () => {
      expect(await reading.read('a')).toBe('old')
      await expect(reading.read('b')).rejects.toThrow('ENOENT')
    })
    await writing.turn()
    await all.client.beta.memoryStores.archive(memory_store_id)
    await writing.turn(() => writing.write('a', 'late'))
    await writing.turn(async () => expect(await writing.read('a')).toBe('old'))
    expect(await contentsOf(all, memory_store_id)).toEqual({ '/a': 'old' })
    const attached = begun(all, [{ memory_store_id }])
    await expect(attached).rejects.toThrow('is archived')
    await all.client.beta.memoryStores.delete(memory_store_id)
    await writing.turn()
    expect(await writing.turn()).toContain('this memory store was deleted')
  })

  test('that lost its workspace deletes nothing, and starts from the store', async () => {
    const all = await setting()
    const { id: memory_store_id } = await storeIn(all)
    await all.client.beta.memoryStores.memories.create(memory_store_id, { path: '/a', content: 'old' })
    const session = await begun(all, [{ memory_store_id }])
    await session.turn()
    expect(await contentsOf(all, memory_store_id)).toEqual({ '/a': 'old' })
    const { cwd = '' } = await (await all.pool.session(session.id, { tenant: 'acme' })).info()
    for (const name of await readdir(cwd)) await rm(join(cwd, name), { recursive: true })
    await mkdir(join(cwd, session.folder), { recursive: true })
    await writeFile(join(cwd, session.folder, 'stale'), 'stale')
    await session.turn(async () => expect(await session.read('a')).toBe('old'))
    expect(await contentsOf(all, memory_store_id)).toEqual({ '/a': 'old' })
  })

  test('refuses stores twice, too many, and resources that it does not know, by name', async () => {
    const all = await setting()
    const { id: memory_store_id } = await storeIn(all)
    await expect(begun(all, [{ memory_store_id }, { memory_store_id }])).rejects.toThrow('is there twice')
    const nine = Array.from({ length: 9 }, () => ({ memory_store_id }))
    await expect(begun(all, nine)).rejects.toThrow('at most 8 memory stores')
    await expect(begun(all, [{ memory_store_id, instructions: 'x'.repeat(4_097) }])).rejects.toThrow('instructions')
    const body = (resource: object): object => ({
      agent: 'agent_assistant',
      environment_id: 'env_local',
      resources: [resource],
    })
    const headers = { 'x-api-key': ACME }
    for (const [resource, problem] of [
      [{ type: 'github_repository', url: 'x' }, 'resources.0.type: must be file or memory_store'],
      [{ type: 'memory_store', memory_store_id, mount_path: '/x' }, 'resources.0.mount_path'],
    ] as const) {
      const answer = await all.ask('POST', '/v1/sessions', { body: body(resource), headers })
      expect([answer.status, await answer.text()]).toEqual([400, expect.stringContaining(problem)])
    }
    const { id } = await begun(all, [{ memory_store_id }])
    const added = await all.ask('POST', `/v1/sessions/${id}/resources`, {
      body: { type: 'memory_store', memory_store_id },
      headers,
    })
    expect(await added.text()).toContain('attached when a session begins')
  })

  test('comes back from an archive with its stores, whose memories hold against the archive’s', async () => {
    const all = await setting()
    const { id: memory_store_id } = await storeIn(all)
    await all.client.beta.memoryStores.memories.create(memory_store_id, { path: '/a', content: 'old' })
    const session = await begun(all, [{ memory_store_id }])
    await session.turn()
    expect(await contentsOf(all, memory_store_id)).toEqual({ '/a': 'old' })
    const lines: string[] = []
    for await (const line of all.pool.exportSession(session.id, { tenant: 'acme' })) lines.push(line)
    const before = await all.client.beta.sessions.retrieve(session.id)
    await all.client.beta.sessions.delete(session.id)
    const [memory] = await listed(all.client.beta.memoryStores.memories.list(memory_store_id))
    await all.client.beta.memoryStores.memories.update(memory?.type === 'memory' ? memory.id : '', {
      memory_store_id,
      content: 'newer',
    })
    await all.pool.importSession(
      (async function* () {
        yield* lines
      })(),
      { tenant: 'acme' },
    )
    const after = await all.client.beta.sessions.retrieve(session.id)
    expect(after.resources).toEqual(before.resources)
    await all.client.beta.sessions.events.send(session.id, {
      events: [{ type: 'user.message', content: [{ type: 'text', text: 'Go' }] }],
    })
    const { cwd = '' } = await (await all.pool.session(session.id, { tenant: 'acme' })).info()
    await expect.poll(() => readFile(join(cwd, session.folder, 'a'), 'utf8')).toBe('newer')
    expect(await contentsOf(all, memory_store_id)).toEqual({ '/a': 'newer' })
  })
})
