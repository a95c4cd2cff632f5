import { execFileSync } from 'node:child_process'
import { linkSync, readFileSync } from 'node:fs'
import { chmod, lchown, link, lstat, mkdir, readFile, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { StartError, StoreError } from '../../../src/errors.ts'
import { Problems } from '../../../src/files/problem.ts'
import { DataDir } from '../../../src/store/data-dir.ts'
import { TenantUsers } from '../../../src/store/tenant-users.ts'
import { temporaryFolder } from '../../fixtures/temporary-folder.ts'

const RANGE = { first: 50_000, count: 3 }

describe('Users of tenants', () => {
  test('are given one by one, kept by a file, and never given twice', async () => {
    const file = join(await temporaryFolder(), 'users.json')
    const users = new TenantUsers(file, RANGE)
    expect([users.of('one'), users.of('two'), users.of('one'), users.known('three')]).toEqual([
      50_000,
      50_001,
      50_000,
      undefined,
    ])
    users.forget('one')
    const next = new TenantUsers(file, RANGE)
    expect([next.of('two'), next.of('one')]).toEqual([50_001, 50_002])
    expect(() => next.of('three')).toThrow(StartError)
    expect(new TenantUsers(file, { first: 50_000, count: 4 }).of('three')).toBe(50_003)
    expect((await stat(file)).mode & 0o777).toBe(0o600)
  })

  test('are never those that own folders already, even if the file is lost', async () => {
    const next = async (...owners: number[]): Promise<number> =>
      new TenantUsers(join(await temporaryFolder(), 'users.json'), RANGE, owners).of('new')
    expect(await next(50_001)).toBe(50_002)
    expect(await next(50_001, 50_000)).toBe(50_002)
    expect(await next(0)).toBe(50_000)
    expect(await next(50_003)).toBe(50_000)
    await expect(next(50_002)).rejects.toThrow(StartError)
  })

  test('are not guessed if their file is damaged', async () => {
    const file = join(await temporaryFolder(), 'users.json')
    for (const text of ['', '{}', '{"next":1,"users":{"one":50000}}']) {
      await writeFile(file, text)
      expect(() => new TenantUsers(file, RANGE)).toThrow(StoreError)
    }
  })
})

const isRoot = process.geteuid?.() === 0 && process.platform === 'linux'

/** What a user reads with a program of its own; undefined if it may not. */
function readBy(uid: number, path: string): string | undefined {
  try {
    return execFileSync('cat', [path], { uid, gid: uid, cwd: '/', stdio: ['ignore', 'pipe', 'ignore'] }).toString()
  } catch {
    return undefined
  }
}

describe.runIf(isRoot)('The directories of tenants that have users (needs root)', () => {
  async function opened(path?: string): Promise<{ dir: DataDir; path: string }> {
    const folder = await temporaryFolder()
    await chmod(folder, 0o711)
    const dir = new DataDir(path ?? join(folder, 'data'))
    onTestFinished(() => dir.release())
    return { dir, path: dir.path }
  }

  const withUsers = (dir: DataDir): DataDir => {
    dir.letUsersPass(true)
    dir.giveUsers(RANGE)
    return dir
  }

  test('are theirs alone, with all that the host makes there', async () => {
    const { dir, path } = await opened()
    withUsers(dir)
    const [one, two] = [await dir.makePlaces('one'), await dir.makePlaces('two')]
    expect([one.owner, two.owner]).toEqual([50_000, 50_001])
    const file = join(one.workspaces, 'w', 'file')
    await dir.tenantFiles.append(file, 'mine')
    await dir.tenantFiles.link(join(one.workspaces, 'w', 'link'), 'file')
    await dir.tenantFiles.copy(join(one.workspaces, 'w'), join(one.workspaces, 'copy'), new Problems())
    const made = (await readdir(join(path, 'tenants', 'one'), { recursive: true })).map((name) =>
      join(path, 'tenants', 'one', name),
    )
    expect(made).toHaveLength(11)
    for (const name of made)
      expect([name, (await lstat(name)).uid, (await lstat(name)).gid]).toEqual([name, 50_000, 50_000])
    expect([readBy(50_000, file), readBy(50_001, file)]).toEqual(['mine', undefined])
    // Names are not seen, and nothing of the host's is open.
    expect((await stat(path)).mode & 0o777).toBe(0o711)
    for (const name of await readdir(path)) {
      const { mode } = await stat(join(path, name))
      expect([name, mode & 0o077]).toEqual([name, name === 'tenants' ? 0o011 : 0])
    }
  })

  test('are worked in with the rights of their user: what that user may not read, the host does not read for it', async () => {
    const { dir, path } = await opened()
    withUsers(dir)
    const { workspaces } = await dir.makePlaces('one')
    const secret = join(path, 'secret')
    await writeFile(secret, 'of the host', { mode: 0o600 })
    // What a kernel without protected hard links lets a user do.
    await link(secret, join(workspaces, 'stolen'))
    await dir.tenantFiles.append(join(workspaces, 'own'), 'mine')
    await expect(dir.tenantFiles.text(join(workspaces, 'stolen'), 100)).rejects.toMatchObject({ code: 'files_failed' })
    expect(await dir.tenantFiles.text(join(workspaces, 'own'), 100)).toBe('mine')
    const problems = new Problems()
    const seen: string[] = []
    for await (const { path: name } of dir.tenantFiles.contents(workspaces, problems)) seen.push(name)
    expect([seen, problems.count]).toEqual([['own'], 1])
    // A backup is made by the host itself, and takes nothing of others either.
    const copy = await temporaryFolder()
    const left = new Problems()
    await dir.copyFiles(copy, left)
    expect(await readdir(join(copy, 'tenants', 'one', 'workspaces'))).toEqual(['own'])
    expect(left.count).toBe(1)
  })

  test('become theirs if they were the host’s, and the host’s again in another mode; files with other names stay', async () => {
    const { dir, path } = await opened()
    const before = await dir.makePlaces('one')
    expect(before.owner).toBeUndefined()
    const [file, linked, link] = ['deep/er/file', 'linked', 'link'].map((name) => join(before.workspaces, name))
    await mkdir(join(before.workspaces, 'deep/er'), { recursive: true })
    await writeFile(file as string, 'kept', { mode: 0o600 })
    await writeFile(join(path, 'outside'), 'of the host', { mode: 0o600 })
    linkSync(join(path, 'outside'), linked as string)
    await symlink(join(path, 'outside'), link as string)
    withUsers(dir)
    await dir.makePlaces('one')
    expect(readBy(50_000, file as string)).toBe('kept')
    expect([readBy(50_000, linked as string), readBy(50_000, link as string)]).toEqual([undefined, undefined])
    expect((await lstat(join(path, 'outside'))).uid).toBe(0)
    dir.release()
    const { dir: next } = await opened(path)
    await next.makePlaces('one')
    expect((await lstat(file as string)).uid).toBe(0)
    expect(await readFile(file as string, 'utf8')).toBe('kept')
  })

  test('are not given to others if the file of users is lost', async () => {
    const { dir, path } = await opened()
    withUsers(dir)
    await dir.makePlaces('one')
    dir.release()
    await rm(join(path, 'users.json'))
    const { dir: next } = await opened(path)
    withUsers(next)
    expect((await next.makePlaces('two')).owner).toBe(50_001)
    expect((await next.makePlaces('one')).owner).toBe(50_002)
  })

  test('go with all that is in them when the tenant is erased, and the next tenant has another user', async () => {
    const { dir, path } = await opened()
    withUsers(dir)
    const { workspaces } = await dir.makePlaces('one')
    await dir.tenantFiles.append(join(workspaces, 'a', 'b'), 'x')
    await chmod(join(workspaces, 'a'), 0)
    const problems = new Problems()
    await dir.removeTenant('one', problems)
    expect([problems.count, await readdir(join(path, 'tenants'))]).toEqual([0, []])
    expect((await dir.makePlaces('one')).owner).toBe(50_001)
  })

  test('cannot be blocked by a helper that dies: what runs fails, and the next work has a new one', async () => {
    const { dir } = await opened()
    withUsers(dir)
    const { workspaces } = await dir.makePlaces('one')
    const file = join(workspaces, 'file')
    await dir.tenantFiles.append(file, 'one ')
    const children = readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').trim().split(' ').map(Number)
    const helper = children.find((pid) => readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('user-child'))
    expect(helper).toBeDefined()
    // Only a process of its own real user may end it.
    expect(readBy(50_000, `/proc/${helper}/environ`)).toBeUndefined()
    process.kill(helper as number, 'SIGKILL')
    while (
      await dir.tenantFiles.append(file, 'two').then(
        () => false,
        () => true,
      )
    )
      await lchown(file, 50_000, 50_000)
    expect(await readFile(file, 'utf8')).toMatch(/^one (two)+$/)
  })
})
