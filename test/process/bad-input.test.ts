import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test, vi } from 'vitest'
import { findClaudeExecutable } from '../../src/driver/executable.ts'
import { createPool } from '../../src/index.ts'
import type { AgentOptions, PoolOptions } from '../../src/index.ts'
import { agents, asked, MODEL, openSite, record, say, textOf, until } from '../fixtures/real-pool.ts'

describe('A session is refused by name', () => {
  test.each<[string, string, { agent?: string; tenant?: string; cwd?: string }, object]>([
    ['for an agent that is unknown', 'one', { agent: 'b' }, { path: 'agent', message: /"b"; known are: a$/ }],
    ['for an empty key', '', { agent: 'a' }, { path: 'key', message: /at least one character/ }],
    ['for a key that is too long', 'é'.repeat(129), { agent: 'a' }, { path: 'key', message: /258 bytes; at most 256/ }],
    ['for a key with control characters', 'a\nb', { agent: 'a' }, { path: 'key', message: /control characters/ }],
    ['for an empty tenant', 'one', { agent: 'a', tenant: '' }, { path: 'tenant', message: /at least one/ }],
    [
      'for a directory that is not there',
      'one',
      { agent: 'a', cwd: '/not/there' },
      { path: 'cwd', message: /make it/ },
    ],
    ['for a directory that is a file', 'one', { agent: 'a', cwd: '/etc/hosts' }, { path: 'cwd', message: /not a dir/ }],
  ])('%s', async (_, key, options, error) => {
    const site = await openSite()
    const pool = await site.pool()
    const problem = await pool.session(key, options).catch((reason: unknown) => reason)
    const { message, ...facts } = error as { message: RegExp }
    expect(problem).toMatchObject({ name: 'ConfigError', code: 'invalid_config', ...facts })
    expect((problem as Error).message).toMatch(message)
    expect(await pool.sessions()).toEqual([])
  })

  test('for a key of 256 bytes that is odd but whole it is not', async () => {
    const site = await openSite()
    const pool = await site.pool()
    const key = `../../${'é'.repeat(125)}`
    expect(Buffer.byteLength(key)).toBe(256)
    const session = await pool.session(key, { agent: 'a', tenant: '../Other Tenant/..' })
    expect((await say(session, 'first')).text).toBe('[turn 1] You said: first')
    expect((await session.info()).cwd?.startsWith(join(site.dataDir, 'tenants'))).toBe(true)
  })

  test('that exists with another agent or directory', async () => {
    const site = await openSite()
    const cwd = await site.directory('project')
    const pool = await site.pool({ agents: { ...agents(), b: {} } })
    await pool.session('one', { agent: 'a' })
    const conflict = { name: 'SessionConflictError', code: 'session_conflict' }
    await expect(pool.session('one', { agent: 'b' })).rejects.toMatchObject({
      ...conflict,
      message: expect.stringContaining('leave agent out, or use another key'),
    })
    await expect(pool.session('one', { agent: 'a', cwd })).rejects.toMatchObject({
      ...conflict,
      message: expect.stringContaining('leave cwd out, or use another key'),
    })
    await expect(pool.session('one')).resolves.toMatchObject({ agent: 'a' })
    await expect(pool.session('one', { agent: 'b', tenant: 'other' })).resolves.toMatchObject({ agent: 'b' })
  })
})

test.each<[string, unknown]>([
  ['nothing', ''],
  ['blanks', ' \n '],
  ['no blocks', []],
  ['a number', 42],
  ['an assistant message', { type: 'assistant' }],
])('A prompt of %s is refused, and the turn does not start', async (_, input) => {
  const site = await openSite()
  const pool = await site.pool()
  const session = await pool.session('one', { agent: 'a' })
  await expect(session.send(input as string).result).rejects.toMatchObject({ name: 'ConfigError', path: 'input' })
  expect(pool.workers()).toEqual([])
})

test('A prompt of content blocks is sent as it is', async () => {
  const site = await openSite()
  const pool = await site.pool()
  const session = await pool.session('one', { agent: 'a' })
  const turn = session.send([{ type: 'text', text: 'in a block' }])
  expect(await textOf(turn)).toBe('[turn 1] You said: in a block')
})

describe('A `claude` that cannot run fails the turn before anything was sent, and holds back the third try', () => {
  test('since it is not there', async () => {
    const site = await openSite()
    const pool = await site.pool({ agents: agents({ pathToClaudeCodeExecutable: '/not/there/claude' }) })
    const session = await pool.session('one', { agent: 'a' })
    await expect(session.send('first').result).rejects.toMatchObject({
      name: 'StartError',
      code: 'start_failed',
      message: expect.stringContaining('/not/there/claude'),
    })
  })

  test('since it may not be executed', async () => {
    const site = await openSite()
    const claude = join(site.root, 'claude')
    await writeFile(claude, '#!/bin/sh\n', { mode: 0o600 })
    const pool = await site.pool({ agents: agents({ pathToClaudeCodeExecutable: claude }) })
    const session = await pool.session('one', { agent: 'a' })
    await expect(session.send('first').result).rejects.toMatchObject({
      name: 'StartError',
      phase: 'spawn',
      message: expect.stringMatching(/EACCES|not executable/),
    })
  })

  test('since it ends at once: its stderr is in the error', async () => {
    const site = await openSite()
    const claude = join(site.root, 'claude')
    await writeFile(claude, '#!/bin/sh\necho "no such flag" >&2\nexit 7\n', { mode: 0o700 })
    const pool = await site.pool({ agents: agents({ pathToClaudeCodeExecutable: claude }) })
    const session = await pool.session('one', { agent: 'a' })
    for (let attempt = 0; attempt < 3; attempt += 1) {
      await expect(session.send('first').result).rejects.toMatchObject({
        name: 'StartError',
        phase: 'initialize',
        exit: { exitCode: 7 },
        message: expect.stringMatching(/code 7; stderr: no such flag/),
      })
    }
    await expect(session.send('first').result).rejects.toMatchObject({
      name: 'StartError',
      phase: 'backoff',
      message: expect.stringMatching(/keep failing to start; the next try is in .*no such flag/s),
    })
    expect(pool.stats().totals.starts).toBe(3)
    expect(pool.workers()).toEqual([])
  })

  test('in one session alone, and others of its agent and tenant begin as ever', async () => {
    const site = await openSite()
    const claude = join(site.root, 'claude')
    const real = findClaudeExecutable() ?? ''
    await writeFile(claude, `#!/bin/sh\n[ -e broken ] && echo "broken here" >&2 && exit 7\nexec '${real}' "$@"\n`, {
      mode: 0o700,
    })
    const pool = await site.pool({ agents: agents({ pathToClaudeCodeExecutable: claude }) })
    const cwd = await site.directory('project')
    await writeFile(join(cwd, 'broken'), '')
    const broken = await pool.session('broken', { agent: 'a', cwd })
    for (let attempt = 0; attempt < 3; attempt += 1) {
      await expect(broken.send('first').result).rejects.toMatchObject({ phase: 'initialize' })
    }
    await expect(broken.send('first').result).rejects.toMatchObject({
      phase: 'backoff',
      message: expect.stringMatching(/^processes of session "broken" keep failing to start.*broken here/s),
    })
    const sound = await pool.session('sound', { agent: 'a' })
    expect((await say(sound, 'first')).text).toBe('[turn 1] You said: first')
  })

  test('since it never becomes ready', async () => {
    const site = await openSite()
    const claude = join(site.root, 'claude')
    await writeFile(claude, '#!/bin/sh\necho waiting >&2\nexec cat > /dev/null\n', { mode: 0o700 })
    const pool = await site.pool({
      agents: agents({ pathToClaudeCodeExecutable: claude }),
      starts: { timeout: '500ms', sigtermGraceMs: 500 },
    })
    const session = await pool.session('one', { agent: 'a' })
    await expect(session.send('first').result).rejects.toMatchObject({
      name: 'StartError',
      phase: 'initialize',
      message: expect.stringContaining('not ready within 500ms'),
    })
    expect(pool.workers()).toEqual([])
  })
})

test('A `claude` that managed settings keep from starting says so in its error, also as a spare', async () => {
  const site = await openSite()
  const refused: AgentOptions = {
    managedSettings: { disableSideloadFlags: true },
    mcpServers: { shop: { command: 'true' } },
  }
  const refusal = {
    name: 'StartRefusedError',
    code: 'start_refused',
    phase: 'initialize',
    reason: 'sideload_flags_disabled',
    message: expect.stringMatching(/refused to start .*disableSideloadFlags.*leave mcpServers/s),
  }
  const pool = await site.pool({
    agents: { ...agents(refused), b: { ...refused, spares: { max: 0 }, unboundSpares: { min: 1, max: 1 } } },
  })
  const warnings = record(pool, 'warning')
  const session = await pool.session('one', { agent: 'a' })
  await expect(session.send('first').result).rejects.toMatchObject(refusal)
  await until(() =>
    expect(warnings).toContainEqual(expect.objectContaining({ error: expect.objectContaining(refusal) })),
  )
})

test('What is too much for a process only with all that the host adds is told by its name, before anything was sent', async () => {
  const site = await openSite()
  const env = Object.fromEntries(Array.from({ length: 19 }, (_, at) => [`PART${at}`, 'x'.repeat(110_350)]))
  const pool = await site.pool({ agents: agents({ env }) })
  const session = await pool.session('one', { agent: 'a' })
  await expect(session.send('first').result).rejects.toMatchObject({
    name: 'ConfigError',
    path: expect.stringMatching(/^env\.PART/),
    message: expect.stringMatching(/together, and have .*write it to a file/),
  })
  expect(pool.workers()).toEqual([])
})

test('Options that the SDK itself refuses are a ConfigError', async () => {
  const site = await openSite()
  const pool = await site.pool({ agents: agents({ fallbackModel: MODEL }) })
  const session = await pool.session('one', { agent: 'a' })
  await expect(session.send('first').result).rejects.toMatchObject({
    name: 'ConfigError',
    message: expect.stringContaining('Fallback model cannot be the same as the main model'),
  })
})

test('Spares that cannot start are a warning, and cost no turn anything but a cold start', async () => {
  const site = await openSite()
  const claude = join(site.root, 'claude')
  await writeFile(claude, '#!/bin/sh\nexit 1\n', { mode: 0o700 })
  const pool = await site.pool({
    agents: { ...agents(), b: { pathToClaudeCodeExecutable: claude, spares: { min: 1, max: 1 } } },
  })
  const warnings = record(pool, 'warning')
  await vi.waitFor(() => expect(warnings.length).toBeGreaterThan(0), 20_000)
  expect(warnings[0]).toMatchObject({ message: 'a spare of agent "b" did not start', error: { name: 'StartError' } })
  expect((await say(await pool.session('one', { agent: 'a' }), 'first')).warmth).toBe('cold')
})

test('A wrong API key is an error by name after two refusals, not after the ten of the CLI, and the session goes on', async () => {
  const site = await openSite({ apiKey: 'right' })
  const pool = await site.pool()
  const session = await pool.session('one', { agent: 'a' })
  const refused = {
    name: 'AuthenticationError',
    code: 'api_authentication',
    message: expect.stringContaining('api.key'),
  }
  await expect(session.send('first').result).rejects.toMatchObject(refused)
  expect(site.simulator.requests.filter(({ status }) => status === 401).length).toBeLessThanOrEqual(3)
  await expect(session.send('second').result).rejects.toMatchObject(refused)
})

test('No API key at all is an error by name', async () => {
  const site = await openSite()
  const variables = ['ANTHROPIC_API_KEY', 'ANTHROPIC_AUTH_TOKEN', 'CLAUDE_CODE_OAUTH_TOKEN']
  for (const name of variables) vi.stubEnv(name, undefined)
  try {
    const pool = await site.pool({ api: { baseUrl: site.simulator.url } })
    const session = await pool.session('one', { agent: 'a' })
    await expect(session.send('first').result).rejects.toMatchObject({
      name: 'AuthenticationError',
      code: 'api_authentication',
      message: expect.stringContaining('ANTHROPIC_API_KEY'),
    })
    expect(asked(site, 'first')).toEqual([])
  } finally {
    vi.unstubAllEnvs()
  }
})

describe('A pool is refused by name', () => {
  test.each<[string, object, object]>([
    ['without agents', { agents: {} }, { path: 'agents' }],
    ['for an option that it does not know', { agent: {} }, { path: 'agent' }],
    ['for an option that it sets itself', { agents: { a: { resume: 'x' } } }, { path: 'agents.a.resume' }],
    [
      'for a variable that it sets itself',
      { agents: { a: { env: { CLAUDECODE: '1' } } } },
      { path: 'agents.a.env.CLAUDECODE' },
    ],
    [
      'for a misspelled option',
      { agents: { a: { modle: 'x' } } },
      { path: 'agents.a.modle', message: /did you mean model/ },
    ],
    ['for a negative time', { residency: { idleTtlMs: -1 } }, { path: 'residency.idleTtlMs' }],
    ['for a time without a unit', { residency: { idleTtl: '30' } }, { path: 'residency.idleTtl' }],
    ['for a time that is not a number', { limits: { turnTimeoutMs: Number.NaN } }, { path: 'limits.turnTimeoutMs' }],
    ['for no turns at all', { limits: { turns: 0 } }, { path: 'limits.turns' }],
    [
      'for fewer spares at most than at least',
      { agents: { a: { spares: { min: 2, max: 1 } } } },
      { path: 'agents.a.spares.max' },
    ],
    ['for a key with a newline, which it does not show', { api: { key: 'sk-secret\n' } }, { path: 'api.key' }],
  ])('%s', async (_, options, error) => {
    const site = await openSite()
    const { message = /./, ...facts } = error as { message?: RegExp }
    const problem = await site.pool(options as PoolOptions).catch((reason: unknown) => reason)
    expect(problem).toMatchObject({ name: 'ConfigError', code: 'invalid_config', ...facts })
    expect((problem as Error).message).toMatch(message)
    expect((problem as Error).message).not.toContain('sk-secret')
  })

  test('for a data directory that cannot be made or written', async () => {
    const site = await openSite()
    await writeFile(join(site.root, 'file'), '')
    const unusable = { name: 'StoreError', code: 'store_failed' }
    const path = join(site.root, 'file', 'data')
    await expect(createPool({ agents: agents(), dataDir: path })).rejects.toMatchObject({
      ...unusable,
      message: expect.stringContaining(path),
    })
    await mkdir(join(site.dataDir, 'host.lock'), { recursive: true })
    await expect(createPool({ agents: agents(), dataDir: site.dataDir })).rejects.toMatchObject(unusable)
  })
})

test('After close, whatever is asked is refused by name', async () => {
  const site = await openSite()
  const pool = await site.pool()
  const session = await pool.session('one', { agent: 'a' })
  await say(session, 'first')
  await pool.close()
  const closed = { name: 'PoolClosedError', code: 'pool_closed', message: expect.stringContaining('createPool()') }
  await expect(session.send('second').result).rejects.toMatchObject(closed)
  for (const refused of [
    pool.session('one'),
    pool.sessions(),
    pool.warm('one'),
    session.warm(),
    session.info(),
    session.fork('fork'),
    session.delete(),
    session.hibernate(),
    pool.query({ prompt: 'hi', options: { cwd: site.root } }).next(),
  ])
    await expect(refused).rejects.toMatchObject(closed)
  expect(() => pool.resume()).toThrow(expect.objectContaining(closed))
})
