import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { chmod, chown, mkdir, mkdtemp, readFile, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest'
import { ConfigError, HostRunningError, StoreError } from '../../../src/errors.ts'
import { Problems } from '../../../src/files/problem.ts'
import { DataDir } from '../../../src/store/data-dir.ts'
import { SqliteStore } from '../../../src/store/sqlite.ts'
import { UPLOADS, folderOf } from '../../../src/tenant-folder.ts'
import { record } from '../../conformance/sessions.ts'
import { OneHost } from '../../conformance/one-host.ts'

let folder: string
let path: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pool-data-dir-'))
  path = join(folder, 'data')
})

afterEach(() => rm(folder, { recursive: true, force: true }))

const taken = (): DataDir => {
  const dir = new DataDir(path)
  onTestFinished(() => dir.release())
  return dir
}

/** Another process that takes the directory, and says so. */
async function otherHost(): Promise<ChildProcess> {
  const child = fork(join(import.meta.dirname, '../../fixtures/data-dir-host.ts'), [path], { execArgv: [] })
  onTestFinished(() => void child.kill('SIGKILL'))
  await once(child, 'message')
  return child
}

test('a second taker in the same process is refused, until the first has given it back', () => {
  const first = taken()
  expect(() => new DataDir(path)).toThrow(HostRunningError)
  first.release()
  first.release()
  taken()
})

test('a directory that cannot be made is refused at once', () => {
  expect(() => new DataDir('/proc/claude-agent-pool/data')).toThrow(StoreError)
  expect(() => new DataDir(join(import.meta.filename, 'data'))).toThrow(StoreError)
})

test('a second taker is told the pid of the first, which may die in any way', async () => {
  const host = await otherHost()
  const refusal = (): unknown => {
    try {
      return new DataDir(path)
    } catch (error) {
      return error
    }
  }
  expect(refusal()).toBeInstanceOf(HostRunningError)
  expect(refusal()).toMatchObject({
    pid: host.pid,
    message: `process ${host.pid} already runs a pool on ${path}; end it first, or give this pool another dataDir`,
  })
  host.kill('SIGKILL')
  await once(host, 'exit')
  expect(taken().path).toBe(path)
})

test('a place that cannot be used is a StoreError', async () => {
  await writeFile(path, 'a file')
  expect(() => new DataDir(path)).toThrow(StoreError)
  expect(() => new DataDir(path)).toThrow(`the data directory ${path} cannot be used`)
})

test('what a host that died had on disk for slow readers is removed', async () => {
  await mkdir(join(path, 'spool'), { recursive: true })
  await writeFile(join(path, 'spool', 'w-1.jsonl'), 'left behind')
  const dir = taken()
  await expect(stat(join(dir.spoolDir, 'w-1.jsonl'))).rejects.toThrow('ENOENT')
})

test('everything is for its owner only', async () => {
  const dir = taken()
  const places = await dir.makePlaces('default')
  for (const place of [dir.path, ...Object.values(places)]) expect((await stat(place)).mode & 0o777).toBe(0o700)
})

test('a tenant has the same places every time', async () => {
  const dir = taken()
  expect(await dir.makePlaces('acme')).toEqual(await dir.makePlaces('acme'))
  const { home } = await dir.makePlaces('acme')
  await writeFile(join(home, 'kept'), 'kept')
  await dir.makePlaces('acme')
  expect(await readFile(join(home, 'kept'), 'utf8')).toBe('kept')
})

test('no two tenants share a folder, on no file system, and none leaves its own', async () => {
  const dir = taken()
  const root = dirname((await dir.makePlaces('x')).home)
  const names = fc.oneof(
    fc.string({ minLength: 1, maxLength: 8 }),
    fc.string({ unit: fc.constantFrom('a', 'A', '.', '/', '~', '-', 'ä', '🦀'), minLength: 1, maxLength: 5 }),
    fc.constantFrom('..', '.', 'a/b', 'a\\b', 'ACME', 'acme', 'con', 'x'.repeat(65), `x${'y'.repeat(63)}`),
  )
  await fc.assert(
    fc.asyncProperty(fc.uniqueArray(names, { maxLength: 8 }), async (tenants) => {
      const folders = await Promise.all(tenants.map(async (tenant) => dirname((await dir.makePlaces(tenant)).home)))
      for (const place of folders) expect(dirname(place)).toBe(dirname(root))
      const seenByAnyFileSystem = folders.map((place) => basename(place).toLowerCase().normalize('NFC'))
      expect(new Set(seenByAnyFileSystem).size).toBe(tenants.length)
    }),
    { numRuns: 40 },
  )
})

test('a tenant whose directories go as somebody needs them has them all the same', async () => {
  let now = 1_000_000
  const dir = new DataDir(path, { wall: () => now })
  onTestFinished(() => dir.release())
  const remove = (): Promise<number> =>
    dir.removeUnknownTenants(new Set(), { before: now, dryRun: false, problems: new Problems() })
  for (let round = 0; round < 40; round += 1) {
    now += 1_000
    const removed = remove()
    // At every step of the removal once.
    for (let tick = 0; tick < round; tick += 1) await Promise.resolve()
    const places = await dir.makePlaces('t')
    await removed
    for (const place of Object.values(places)) expect((await stat(place)).isDirectory()).toBe(true)
  }
})

test('directories of tenants go by the time of their last use, whatever their names', async () => {
  let now = 1_000_000
  const dir = new DataDir(path, { wall: () => now })
  onTestFinished(() => dir.release())
  for (const tenant of ['known', 'Not A Folder Name', 'old']) await dir.makePlaces(tenant)
  now += 1_000
  await dir.makePlaces('used')
  await dir.makePlaces('used')
  const known = new Set(['known', 'Not A Folder Name'])
  const removed = (dryRun: boolean): Promise<number> =>
    dir.removeUnknownTenants(known, { before: now, dryRun, problems: new Problems() })
  for (const tenant of ['known', 'Not A Folder Name', 'old']) await dir.makePlaces(tenant)
  now += 1_000
  await dir.makePlaces('used')
  expect(await removed(true)).toBe(1)
  expect(await removed(false)).toBe(1)
  expect(await removed(false)).toBe(0)
})

test('what it makes is for its owner only, whatever the umask is', async () => {
  const before = process.umask(0)
  onTestFinished(() => void process.umask(before))
  const dir = taken()
  const store = new SqliteStore(dir.storeFile)
  await (await OneHost.of(store)).put(record('t', 'k'))
  const modes = await Promise.all(
    ['', 'host.lock', 'host.json', 'pool.sqlite', 'pool.sqlite-wal'].map((name) => modeOf(join(path, name))),
  )
  expect(modes).toEqual([0o700, 0o600, 0o600, 0o600, 0o600])
  await store.backup(join(folder, 'copy.sqlite'))
  expect(await modeOf(join(folder, 'copy.sqlite'))).toBe(0o600)
  await store.close()
})

test('a directory of before that others can enter is tightened, with the store in it', async () => {
  await mkdir(path)
  await chmod(path, 0o777)
  await writeFile(join(path, 'pool.sqlite'), '')
  await chmod(join(path, 'pool.sqlite'), 0o666)
  const dir = taken()
  await new SqliteStore(dir.storeFile).close()
  expect([await modeOf(path), await modeOf(dir.storeFile)]).toEqual([0o700, 0o600])
})

test('a directory that users share is refused, and stays as it is', async () => {
  await mkdir(path)
  await chmod(path, 0o1777)
  expect(() => new DataDir(path)).toThrow('is one that users share')
  expect(await modeOf(path)).toBe(0o1777)
})

test.runIf(process.getuid?.() === 0)('a directory of another user is refused, and stays as it is', async () => {
  await mkdir(path)
  await chown(path, 12_345, 12_345)
  expect(() => new DataDir(path)).toThrow('belongs to user 12345, and this process runs as user 0')
  expect((await stat(path)).uid).toBe(12_345)
})

test('a link in the place of the store is not followed', async () => {
  await mkdir(path, { mode: 0o700 })
  await writeFile(join(folder, 'elsewhere'), '')
  await symlink(join(folder, 'elsewhere'), join(path, 'pool.sqlite'))
  expect(() => new SqliteStore(join(path, 'pool.sqlite'))).toThrow(StoreError)
  expect(await readFile(join(folder, 'elsewhere'), 'utf8')).toBe('')
})

const modeOf = async (file: string): Promise<number> => (await stat(file)).mode & 0o7777

test.skipIf(process.platform === 'darwin')(
  'a path whose accents stand for themselves is refused: claude would write beside it',
  () => {
    expect(() => new DataDir(join(folder, 'cafe\u0301'))).toThrow(ConfigError)
    new DataDir(join(folder, 'caf\u00e9')).release()
  },
)

test('Files that tenants have uploaded are counted, copied into a backup, and removed with their tenant', async () => {
  const dir = taken()
  for (const tenant of ['acme', 'Beta Ltd.']) {
    const uploads = join(path, UPLOADS, folderOf(tenant))
    await mkdir(uploads, { recursive: true })
    await writeFile(join(uploads, 'file_1'), 'x'.repeat(100_000))
  }
  const problems = new Problems()
  expect(await dir.sizeOf('Beta Ltd.', problems)).toBeGreaterThanOrEqual(100_000)
  const copy = join(folder, 'copy')
  await mkdir(copy)
  await dir.copyFiles(copy, problems)
  await dir.removeTenant('Beta Ltd.', problems)
  expect(problems.count).toBe(0)
  expect(await readFile(join(copy, UPLOADS, folderOf('Beta Ltd.'), 'file_1'), 'utf8')).toHaveLength(100_000)
  expect(await readdir(join(path, UPLOADS))).toEqual(['acme'])
})
