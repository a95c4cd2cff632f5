import { existsSync, statSync } from 'node:fs'
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { createTestPool } from '../../src/testing/index.ts'
import type { TestPool } from '../../src/testing/index.ts'
import { SqliteStore } from '../../src/store/sqlite.ts'
import { run } from './command.ts'
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
      expect(await command('sessions', 'delete', 'one')).toMatchObject({ code: 0, stdout: 'Deleted one\n' })
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

  test('are deleted one by one, or with their tenant', () =>
    on(async (command, dataDir) => {
      expect(await command('sessions', 'delete')).toMatchObject({ code: 2, stderr: expect.stringContaining('--all') })
      expect(await command('sessions', 'delete', '--tenant', 'acme', '--all')).toMatchObject({
        code: 0,
        stdout: 'Erased tenant acme\n',
      })
      expect(existsSync(join(dataDir, 'tenants', 'acme'))).toBe(false)
      expect(parsed((await command('sessions', 'list', '--json')).stdout)).toMatchObject([{ key: 'one' }])
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

test('Where no pool has ever run there is nothing to list, and nothing is made', async () => {
  const cwd = await temporaryFolder()
  const { code, stderr } = await run(['sessions', 'list'], { cwd })
  expect(code).toBe(2)
  expect(stderr).toMatch(/^claude-agent-pool: --data-dir: [^\n]*is no data directory[^\n]*\n$/)
  expect(existsSync(join(cwd, '.claude-agent-pool'))).toBe(false)
})
