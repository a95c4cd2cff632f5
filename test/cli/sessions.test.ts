import { spawnSync } from 'node:child_process'
import { existsSync, statSync } from 'node:fs'
import { chmod, mkdir, readFile, readdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, test } from 'vitest'
import { createTestPool } from '../../src/testing/index.ts'
import type { TestPool } from '../../src/testing/index.ts'
import { SqliteApiStore } from '../../src/server/api-store/sqlite.ts'
import { SqliteStore } from '../../src/store/sqlite.ts'
import { main, run } from './command.ts'
import { Terminal, hasTerminal } from './terminal.ts'
import { temporaryFolder } from '../fixtures/temporary-folder.ts'

/** A host without processes, on a real store in `dataDir`. */
const host = (dataDir: string): Promise<TestPool> =>
  createTestPool({ dataDir, store: new SqliteStore(join(dataDir, 'pool.sqlite')) })

/** Two sessions that had a turn; what is written into a workspace stays there. */
async function prepared(cwd: string): Promise<string> {
  const dataDir = join(cwd, 'data')
  await mkdir(dataDir)
  await using made = await host(dataDir)
  for (const key of ['one', 'two']) {
    const session = await made.pool.session(key, { agent: 'assistant', tenant: key === 'two' ? 'acme' : 'default' })
    await session.send('Hello').result
    await writeFile(join((await session.info()).cwd ?? '', 'file'), `of ${key}`)
  }
  return dataDir
}

const parsed = (text: string): unknown => JSON.parse(text)

describe.each(['beside a running host', 'where no host runs'])('sessions, %s,', (where) => {
  const beside = where === 'beside a running host'

  /** Runs the command on a prepared data directory. */
  async function on(
    test: (
      sessions: (...args: string[]) => ReturnType<typeof run>,
      dataDir: string,
      running: TestPool | undefined,
    ) => Promise<void>,
  ): Promise<void> {
    const cwd = await temporaryFolder()
    const dataDir = await prepared(cwd)
    const running = beside ? await host(dataDir) : undefined
    try {
      await test((...args) => run([...args, '--data-dir', dataDir], { cwd }), dataDir, running)
    } finally {
      await running?.[Symbol.asyncDispose]()
    }
  }

  test('list and show what there is', () =>
    on(async (command) => {
      const list = await command('sessions', 'list', '--json')
      expect(list).toMatchObject({ code: 0, stderr: '', left: 0 })
      expect(parsed(list.stdout)).toMatchObject([
        { tenant: 'acme', key: 'two', turns: 1 },
        { tenant: 'default', key: 'one', turns: 1, usage: { costUsd: 0 } },
      ])
      expect((await command('sessions', 'list', '--tenant', 'acme')).stdout).toMatch(/acme.*two.*assistant.*hibernated/)
      const { stdout, code } = await command('sessions', 'show', 'one')
      expect(code).toBe(0)
      expect(stdout).toMatch(/^turns +1$/m)
      expect(await command('sessions', 'show', 'three')).toMatchObject({
        code: 1,
        stdout: '',
        stderr: expect.stringMatching(/^claude-agent-pool: there is no session "three".*\(session_not_found\)\n$/),
      })
    }))

  test('go out into a file and come back', () =>
    on(async (command, dataDir) => {
      const file = join(dataDir, '..', 'one.session')
      expect(await command('sessions', 'export', 'one', file)).toMatchObject({ code: 0, stderr: '' })
      expect(statSync(file).mode & 0o777).toBe(0o600)
      expect(existsSync(`${file}.partial`)).toBe(false)
      expect(await command('sessions', 'import', file)).toMatchObject({
        code: 1,
        stderr: expect.stringContaining('(session_conflict)'),
      })
      expect(await command('sessions', 'delete', 'one')).toMatchObject({
        code: 0,
        stdout: expect.stringMatching(/^Deleted one of tenant default, 1 turn, /),
      })
      const back = await command('sessions', 'import', file, '--key', 'again', '--json')
      expect(back).toMatchObject({ code: 0, stderr: '' })
      const { key, turns, cwd } = parsed(back.stdout) as { key: string; turns: number; cwd: string }
      expect([key, turns, await readFile(join(cwd, 'file'), 'utf8')]).toEqual(['again', 1, 'of one'])
      await writeFile(file, 'hello\n')
      expect(await command('sessions', 'import', file)).toMatchObject({
        code: 1,
        stderr: expect.stringContaining('(bad_archive)'),
      })
      expect(await command('sessions', 'import', `${file}.none`)).toMatchObject({
        code: 2,
        stderr: expect.stringContaining('cannot be read'),
      })
    }))

  test('are deleted with all of their tenant, when it is named and that was confirmed', () =>
    on(async (command, dataDir) => {
      const erase = (...args: string[]): ReturnType<typeof run> => command('sessions', 'delete', '--all', ...args)
      const acme = join(dataDir, 'tenants', 'acme')
      expect(await command('sessions', 'delete')).toMatchObject({ code: 2, stderr: expect.stringContaining('--all') })
      expect(await erase('--yes')).toMatchObject({ code: 2, stderr: expect.stringContaining('--all: needs --tenant') })
      const unsure = await erase('--tenant', 'acme')
      expect(unsure).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining('--all: needs --yes') })
      const dry = await erase('--tenant', 'acme', '--dry-run')
      expect(dry).toMatchObject({ code: 0, stdout: '' })
      expect(dry.stderr).toMatch(/^All of tenant acme: 1 session with 1 turn, and \d+ KiB in .*tenants\/acme\n$/)
      expect(parsed((await erase('--tenant', 'acme', '--dry-run', '--json')).stdout)).toMatchObject({
        tenant: 'acme',
        sessions: 1,
        turns: 1,
        running: [],
        path: acme,
        bytes: expect.any(Number),
      })
      expect(parsed((await command('sessions', 'list', '--json')).stdout)).toHaveLength(2)
      expect(await erase('--tenant', 'acme', '--yes')).toMatchObject({ code: 0, stdout: 'Erased tenant acme\n' })
      expect(existsSync(acme)).toBe(false)
      expect(await erase('--tenant', 'acme', '--yes')).toMatchObject({
        code: 0,
        stderr: 'Nothing is kept of tenant acme\n',
      })
      expect(parsed((await command('sessions', 'list', '--json')).stdout)).toMatchObject([{ key: 'one' }])
    }))

  test('leave what /v1 keeps of their tenant behind, until the tenant is erased', () =>
    on(async (command, dataDir) => {
      const file = {
        kind: 'file',
        id: 'file_1',
        version: 1,
        createdAt: 1,
        archivedAt: null,
        parent: null,
        body: '{}',
      } as const
      const opened = async <T>(work: (api: SqliteApiStore) => Promise<T>): Promise<T> => {
        const api = new SqliteApiStore(join(dataDir, 'api.sqlite'))
        return await work(api).finally(() => api.close())
      }
      await opened(async ({ resources }) => {
        for (const tenant of ['acme', 'files only']) await resources.create({ ...file, tenant })
      })
      const erase = (...args: string[]): ReturnType<typeof run> => command('sessions', 'delete', '--all', ...args)
      const dry = await erase('--tenant', 'files only', '--dry-run')
      expect(dry.stderr).toMatch(
        /^All of tenant files only: 0 sessions with 0 turns, 1 resource of \/v1, and 0 KiB in /,
      )
      expect(await erase('--tenant', 'files only', '--yes')).toMatchObject({
        code: 0,
        stdout: 'Erased tenant files only\n',
      })
      const left = await opened(({ resources }) =>
        Promise.all(['acme', 'files only'].map((tenant) => resources.count('file', tenant))),
      )
      expect(left).toEqual([1, 0])
    }))

  test('are deleted one by one, and one that is not there keeps none of the others', () =>
    on(async (command) => {
      const dry = await command('sessions', 'delete', 'one', '--dry-run')
      expect(dry).toMatchObject({
        code: 0,
        stdout: expect.stringMatching(/^Would delete one of tenant default, 1 turn, /),
      })
      const { code, stdout, stderr } = await command('sessions', 'delete', 'nobody', 'one')
      expect(code).toBe(1)
      expect(stderr).toMatch(/there is no session "nobody".*\(session_not_found\)/)
      expect(stdout).toMatch(/^Deleted one of tenant default/)
      expect(parsed((await command('sessions', 'list', '--json')).stdout)).toMatchObject([{ key: 'two' }])
    }))

  test('are backed up into a directory that takes the place of theirs', () =>
    on(async (command, dataDir, running) => {
      const to = join(dataDir, '..', 'backup')
      expect(await command('backup', to)).toMatchObject({ code: 0, stderr: '', stdout: expect.stringContaining(to) })
      expect(await command('backup', to)).toMatchObject({ code: 2, stderr: expect.stringContaining('exists already') })
      await running?.pool.close()
      await rm(dataDir, { recursive: true })
      await rename(to, dataDir)
      await using restored = await host(dataDir)
      const one = await restored.pool.session('one')
      expect(await readFile(join((await one.info()).cwd ?? '', 'file'), 'utf8')).toBe('of one')
    }))
})

test('Sessions that have outlived the config’s retention are shown, then removed', async () => {
  const cwd = await temporaryFolder()
  const dataDir = await prepared(cwd)
  await writeFile(join(cwd, 'claude-agent-pool.config.yaml'), 'agents: { assistant: {} }\nretention: { maxAge: 1ms }\n')
  const prune = (...args: string[]): ReturnType<typeof run> =>
    run(['sessions', 'prune', '--data-dir', dataDir, ...args], { cwd })
  const dry = await prune('--dry-run')
  expect(dry).toMatchObject({ code: 0, stderr: '' })
  expect(dry.stdout).toMatch(/acme\/two: age[^]*default\/one: age[^]*Would remove 2 sessions, 0 events and 0 leftovers/)
  expect(parsed((await prune('--json')).stdout)).toMatchObject({
    sessions: [{ reason: 'age' }, { reason: 'age' }],
    more: false,
  })
  expect((await run(['sessions', 'list', '--data-dir', dataDir], { cwd })).stdout).toBe('No sessions.\n')
})

test('A session comes into a new place, which is made', async () => {
  const cwd = await temporaryFolder()
  const dataDir = await prepared(cwd)
  const file = join(cwd, 'one.session')
  await run(['sessions', 'export', 'one', file, '--data-dir', dataDir], { cwd })
  const place = join(cwd, 'a', 'new', 'place')
  expect(await run(['sessions', 'import', file, '--data-dir', place], { cwd })).toMatchObject({ code: 0, stderr: '' })
  const list = await run(['sessions', 'list', '--data-dir', place, '--json'], { cwd })
  expect(parsed(list.stdout)).toMatchObject([{ key: 'one', turns: 1 }])
})

/** The data directory as a release before this one left it. */
async function outdated(
  cwd: string,
): Promise<{ dataDir: string; version: () => number; files: () => Promise<string[]> }> {
  const dataDir = await prepared(cwd)
  const path = join(dataDir, 'pool.sqlite')
  const version = (): number => {
    using database = new DatabaseSync(path, { readOnly: true })
    return (database.prepare('PRAGMA user_version').get() as { user_version: number }).user_version
  }
  {
    using database = new DatabaseSync(path)
    for (const column of ['usage', 'owner', 'fence']) database.exec(`ALTER TABLE sessions DROP COLUMN ${column}`)
    for (const column of ['packed', 'bytes']) database.exec(`ALTER TABLE events DROP COLUMN ${column}`)
    database.exec('DROP INDEX sessions_in_time; DROP TABLE accounts; DROP TABLE hosts; PRAGMA user_version = 2')
  }
  return { dataDir, version, files: async () => (await readdir(dataDir)).toSorted() }
}

test.each([
  ['list'],
  ['show', 'one'],
  ['export', 'one', '-'],
  ['prune', '--dry-run'],
  ['delete', '--all', '--tenant', 'default', '--dry-run'],
  ['delete', 'one', '--dry-run'],
])('sessions %s leaves an old schema as it is', async (...words) => {
  const cwd = await temporaryFolder()
  const { dataDir, version, files } = await outdated(cwd)
  const before = await files()
  expect(await run(['sessions', ...words, '--data-dir', dataDir], { cwd })).toMatchObject({ code: 0 })
  expect(await files()).toEqual(before)
  expect(version()).toBe(2)
})

test('A backup leaves an old schema as it is, and can take its place', async () => {
  const cwd = await temporaryFolder()
  const { dataDir, version } = await outdated(cwd)
  const to = join(cwd, 'backup')
  expect(await run(['backup', to, '--data-dir', dataDir], { cwd })).toMatchObject({ code: 0, stderr: '' })
  expect(version()).toBe(2)
  expect(parsed((await run(['sessions', 'list', '--data-dir', to, '--json'], { cwd })).stdout)).toHaveLength(2)
})

test('A read changes no file, and leaves none', async () => {
  const cwd = await temporaryFolder()
  const dataDir = await prepared(cwd)
  const stats = async (): Promise<unknown[]> =>
    Promise.all(
      (await readdir(dataDir)).toSorted().map(async (name) => [name, (await stat(join(dataDir, name))).mtimeMs]),
    )
  const before = await stats()
  expect(await run(['sessions', 'list', '--data-dir', dataDir], { cwd })).toMatchObject({ code: 0, stderr: '' })
  expect(await stats()).toEqual(before)
})

/** Somebody else: no file here is theirs. */
const STRANGER = { uid: 65_534, gid: 65_534 }

const canBeStranger = (): boolean => {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return false
  return spawnSync(process.execPath, [main, '--version'], STRANGER).status === 0
}

describe.skipIf(!canBeStranger())("Another user's data directory (needs root, to be somebody else)", () => {
  test.each([['sessions', 'list'], ['chat'], ['doctor']])('is called that by %s', async (...words) => {
    const cwd = await temporaryFolder()
    await chmod(cwd, 0o755)
    const dataDir = await prepared(cwd)
    await chmod(dataDir, 0o700)
    const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...words, '--data-dir', dataDir], {
      ...STRANGER,
      cwd,
      env: { PATH: process.env['PATH'] ?? '', HOME: '/tmp' },
      encoding: 'utf8',
      input: '',
    })
    expect(stdout + stderr).toContain(dataDir)
    expect(stdout + stderr).toMatch(/ belongs to (root|user 0), and this process runs as u(id|ser) 65534/)
    expect(status).not.toBe(0)
  })

  test('its workers are not denied by ps', () => {
    const { stderr } = spawnSync(process.execPath, [main, 'ps'], { ...STRANGER, cwd: '/', encoding: 'utf8' })
    expect(stderr).toBe('Workers of other users are not shown: run it as their user, or as root.\n')
  })
})

describe.skipIf(!hasTerminal)('On a terminal (needs `script` of util-linux)', () => {
  test('the table of sessions is no wider than it', async () => {
    const cwd = await temporaryFolder()
    const dataDir = await prepared(cwd)
    for (const columns of [60, 100]) {
      const { code, screen } = await new Terminal(['sessions', 'list', '--data-dir', dataDir], { cwd, columns }).ended
      expect(code).toBe(0)
      expect(screen).toContain('acme')
      expect(Math.max(...screen.split('\n').map((line) => line.length))).toBeLessThanOrEqual(columns)
    }
  })

  test.each([
    ['acme', 0, 'Erased tenant acme', 1],
    ['y', 1, 'Nothing was erased', 2],
  ])('all of a tenant goes if its name is typed: %s', async (typed, expected, words, left) => {
    const cwd = await temporaryFolder()
    const dataDir = await prepared(cwd)
    const terminal = new Terminal(['sessions', 'delete', '--all', '--tenant', 'acme', '--data-dir', dataDir], { cwd })
    expect(await terminal.shows(/to go on:/)).toMatch(/All of tenant acme: 1 session with 1 turn/)
    terminal.type(typed)
    const { code, screen } = await terminal.ended
    expect([code, screen]).toEqual([expected, expect.stringContaining(words)])
    const list = await run(['sessions', 'list', '--data-dir', dataDir, '--json'], { cwd })
    expect(parsed(list.stdout)).toHaveLength(left)
  })
})

test('Where no pool has ever run there is nothing to list, and nothing is made', async () => {
  const cwd = await temporaryFolder()
  const { code, stderr } = await run(['sessions', 'list'], { cwd })
  expect(code).toBe(2)
  expect(stderr).toMatch(/^claude-agent-pool: --data-dir: [^\n]*is no data directory[^\n]*\n$/)
  expect(existsSync(join(cwd, '.claude-agent-pool'))).toBe(false)
})
