import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, test } from 'vitest'
import { Problems } from '../../../src/files/problem.ts'
import { TenantFiles } from '../../../src/files/tenant-files.ts'
import { HOSTILE, hostileFolder, makeFifo, makeMany, makeSparse } from '../../fixtures/hostile-tree.ts'

/** Twice: as on Linux, and as on a system whose paths cannot begin at an open folder. */
const WAYS = [
  ['with paths from open folders', true],
  ['with whole paths', false],
] as const

describe.each(WAYS)('%s', (_way, anchored) => {
  let files: TenantFiles
  let tenant: string
  let outside: string
  let problems: Problems

  beforeEach(() => {
    const top = hostileFolder()
    const base = join(top, 'tenants')
    tenant = join(base, 't')
    outside = join(top, 'outside')
    mkdirSync(tenant, { recursive: true })
    mkdirSync(outside)
    writeFileSync(join(outside, 'secret'), 'secret')
    files = new TenantFiles(base, { anchored })
    problems = new Problems()
  })

  const untouched = (): void => {
    expect(readdirSync(outside)).toEqual(['secret'])
    expect(readFileSync(join(outside, 'secret'), 'utf8')).toBe('secret')
  }

  const linesOf = async (path: string, from: 'start' | 'end', lineBytes = 1_000): Promise<(string | undefined)[]> => {
    const lines: (string | undefined)[] = []
    for await (const { text } of files.lines(path, { from, lineBytes, fileBytes: 2 ** 30 })) lines.push(text)
    return lines
  }

  describe.each(Object.entries(HOSTILE))('a folder with a %s', (what, make) => {
    beforeEach(() => {
      mkdirSync(join(tenant, 'tree'))
      writeFileSync(join(tenant, 'tree', 'file'), 'content')
      make(join(tenant, 'tree'), outside)
    })

    test('is removed as a whole, and nothing outside of it', async () => {
      await files.remove(join(tenant, 'tree'), problems)
      expect(problems.found).toEqual([])
      expect(readdirSync(tenant)).toEqual([])
      untouched()
    })

    test('is counted without what its links lead to', async () => {
      const bytes = await files.size(join(tenant, 'tree'), problems)
      expect(bytes).toBeGreaterThanOrEqual('content'.length)
      if (what.startsWith('link')) expect(bytes).toBe('content'.length)
    })

    test('is copied with all that can be, and links as links', async () => {
      await files.copy(join(tenant, 'tree'), join(tenant, 'copy'), problems)
      expect(readFileSync(join(tenant, 'copy', 'file'), 'utf8')).toBe('content')
      for (const name of readdirSync(join(tenant, 'copy')))
        if (lstatSync(join(tenant, 'tree', name), { throwIfNoEntry: false })?.isSymbolicLink() === true)
          expect(readlinkSync(join(tenant, 'copy', name))).toBe(readlinkSync(join(tenant, 'tree', name)))
      if (what === 'fifo' || what === 'socket') expect(problems.found).toMatchObject([{ reason: 'special' }])
      untouched()
      await files.remove(join(tenant, 'copy'), problems)
      expect(readdirSync(tenant)).toEqual(['tree'])
    })

    test('is read with all that can be, and links as links', async () => {
      const found = new Map<string, number | string>()
      for await (const content of files.contents(join(tenant, 'tree'), problems)) {
        const before = Number(found.get(content.path) ?? 0)
        found.set(
          content.path,
          content.kind === 'link'
            ? content.target
            : before + (content.kind === 'file' ? content.data.length : content.bytes),
        )
      }
      expect(found.get('file')).toBe('content'.length)
      expect([...found.values()].join(' ')).not.toContain('secret\n')
      if (what === 'fifo' || what === 'socket') expect(problems.found).toMatchObject([{ reason: 'special' }])
    })
  })

  test('a link on the way is not followed, whatever is asked for', async () => {
    symlinkSync(outside, join(tenant, 'way'))
    const secret = join(tenant, 'way', 'secret')
    const link = { name: 'FilesError', code: 'files_failed', problems: [{ reason: 'link' }] }
    await expect(files.facts(secret)).rejects.toMatchObject(link)
    expect(await files.list(join(tenant, 'way'))).toEqual([])
    await expect(files.text(secret, 100)).rejects.toMatchObject(link)
    await expect(linesOf(secret, 'start')).rejects.toMatchObject(link)
    await expect(files.append(secret, 'x')).rejects.toMatchObject(link)
    await expect(files.replace(secret, ['x'])).rejects.toMatchObject(link)
    await expect(files.create(join(tenant, 'way', 'new'))).rejects.toMatchObject(link)
    await expect(files.link(join(tenant, 'way', 'new'), 'x')).rejects.toMatchObject(link)
    await expect(files.makeFolder(join(tenant, 'way', 'new', 'deep'))).rejects.toMatchObject(link)
    await expect(files.copy(join(tenant, 'way'), join(tenant, 'copy'), problems)).rejects.toMatchObject(link)
    await files.remove(secret, problems)
    await files.size(secret, problems)
    await files.removeIfEmpty(join(tenant, 'way', 'empty'))
    for await (const content of files.contents(secret, problems)) expect(content).toBeUndefined()
    expect(problems.found).toMatchObject([{ reason: 'link' }, { reason: 'link' }])
    untouched()
  })

  test('a link in place of a file is not followed either', async () => {
    const path = join(tenant, 'file')
    symlinkSync(join(outside, 'secret'), path)
    const link = { code: 'files_failed', problems: [{ path: 't/file', reason: 'link' }] }
    await expect(files.text(path, 100)).rejects.toMatchObject(link)
    await expect(linesOf(path, 'end')).rejects.toMatchObject(link)
    await expect(files.append(path, 'x')).rejects.toMatchObject(link)
    await expect(files.create(path)).rejects.toMatchObject({ problems: [{ reason: 'changed' }] })
    await files.replace(path, ['new'])
    expect(lstatSync(path).isFile()).toBe(true)
    untouched()
  })

  test('text is not added to a file that has another name elsewhere', async () => {
    linkSync(join(outside, 'secret'), join(tenant, 'file'))
    await expect(files.append(join(tenant, 'file'), 'x')).rejects.toMatchObject({ problems: [{ reason: 'link' }] })
    untouched()
  })

  test('a FIFO in place of a file is refused at once', async () => {
    const path = join(tenant, 'fifo')
    makeFifo(path)
    const special = { code: 'files_failed', problems: [{ reason: 'special' }] }
    await expect(files.text(path, 100)).rejects.toMatchObject(special)
    await expect(linesOf(path, 'start')).rejects.toMatchObject(special)
    await expect(linesOf(path, 'end')).rejects.toMatchObject(special)
    await expect(files.append(path, 'x')).rejects.toMatchObject(special)
    expect(await files.facts(path)).toMatchObject({ kind: 'special' })
  })

  test('a line of any length takes no more memory than was allowed for it', async () => {
    makeSparse(join(tenant, 'sparse'), 64 * 1024 * 1024)
    expect(await linesOf(join(tenant, 'sparse'), 'start')).toEqual([undefined])
    expect(await linesOf(join(tenant, 'sparse'), 'end')).toEqual([undefined])
    const lines = async (): Promise<void> => {
      const bounds = { from: 'end', lineBytes: 10, fileBytes: 1024 ** 2 } as const
      for await (const { text } of files.lines(join(tenant, 'sparse'), bounds)) expect(text).toBeUndefined()
    }
    await expect(lines()).rejects.toMatchObject({ code: 'files_failed', problems: [{ reason: 'too_large' }] })
  })

  test('lines come from either end, and of a longer one than asked for only its length is told', async () => {
    writeFileSync(join(tenant, 'file'), `a\n\nb${'ä'.repeat(200_000)}\nc\nunfinished`)
    const b = `b${'ä'.repeat(200_000)}`
    expect(await linesOf(join(tenant, 'file'), 'start', 10 ** 6)).toEqual(['a', '', b, 'c', 'unfinished'])
    expect(await linesOf(join(tenant, 'file'), 'end', 10 ** 6)).toEqual(['unfinished', 'c', b, '', 'a'])
    expect(await linesOf(join(tenant, 'file'), 'start')).toEqual(['a', '', undefined, 'c', 'unfinished'])
    expect(await linesOf(join(tenant, 'file'), 'end')).toEqual(['unfinished', 'c', undefined, '', 'a'])
    const bytes: number[] = []
    for await (const line of files.lines(join(tenant, 'file'), { from: 'start', lineBytes: 1, fileBytes: 10 ** 9 }))
      bytes.push(line.bytes)
    expect(bytes).toEqual([1, 0, 400_001, 1, 10])
  })

  test('nothing runs with the rights of its owner after it was copied or made', async () => {
    mkdirSync(join(tenant, 'tree'))
    writeFileSync(join(tenant, 'tree', 'tool'), '')
    chmodSync(join(tenant, 'tree', 'tool'), 0o6755)
    await files.copy(join(tenant, 'tree'), join(tenant, 'copy'), problems)
    const file = await files.create(join(tenant, 'made'))
    await file.write(Buffer.from('#!'))
    await file.close(0o6755)
    for (const name of ['copy/tool', 'made']) expect(statSync(join(tenant, name)).mode & 0o7777).toBe(0o755)
  })

  test('holes stay holes in a copy', async () => {
    mkdirSync(join(tenant, 'tree'))
    makeSparse(join(tenant, 'tree', 'sparse'), 1_000 * 1024 * 1024)
    writeFileSync(join(tenant, 'tree', 'sparse'), 'begin', { flag: 'r+' })
    await files.copy(join(tenant, 'tree'), join(tenant, 'copy'), problems)
    const { size, blocks } = statSync(join(tenant, 'copy', 'sparse'))
    expect(size).toBe(1_000 * 1024 * 1024)
    expect(blocks * 512).toBeLessThan(4 * 1024 * 1024)
  })

  test('beyond its bounds work ends by name', async () => {
    mkdirSync(join(tenant, 'tree'))
    makeMany(join(tenant, 'tree'), 30)
    writeFileSync(join(tenant, 'tree', 'large'), Buffer.alloc(1_000))
    const of = (bounds: object): TenantFiles => new TenantFiles(join(tenant, '..'), { anchored, bounds })
    const copy = (bounds: object): Promise<void> =>
      of(bounds).copy(join(tenant, 'tree'), join(tenant, 'copy'), problems)
    await expect(copy({ entries: 20 })).rejects.toMatchObject({ problems: [{ reason: 'too_many' }] })
    await files.remove(join(tenant, 'copy'), problems)
    await expect(copy({ totalBytes: 500 })).rejects.toMatchObject({ problems: [{ reason: 'too_many' }] })
    await files.remove(join(tenant, 'copy'), problems)
    expect(problems.found).toEqual([])
    await copy({ fileBytes: 500 })
    expect(problems.found).toMatchObject([{ path: 't/tree/large', reason: 'too_large' }])
    expect(readdirSync(join(tenant, 'copy'))).toEqual(['d0'])
    await of({ depth: 1 }).size(join(tenant, 'tree'), problems)
    expect(problems.found[1]).toMatchObject({ path: 't/tree/d0', reason: 'too_deep' })
  })

  test('what lies in no tenant’s folder is not worked with', async () => {
    for (const path of [outside, '/etc/passwd', join(tenant, '..'), join(tenant, '../..')])
      await expect(files.list(path)).rejects.toMatchObject({ name: 'FilesError', problems: [{ reason: 'kind' }] })
    await files.remove(outside, problems)
    expect(problems.found).toMatchObject([{ reason: 'kind' }])
    await files.remove(join(outside, 'not there'), problems)
    expect(problems.count).toBe(1)
    untouched()
  })

  test('where nothing is there is nothing to tell', async () => {
    const path = join(tenant, 'no', 'such', 'thing')
    expect(await files.facts(path)).toBeUndefined()
    expect(await files.text(path, 10)).toBeUndefined()
    expect(await files.list(path)).toEqual([])
    expect(await files.size(path, problems)).toBe(0)
    expect(await linesOf(path, 'end')).toEqual([])
    await files.remove(path, problems)
    expect(problems.count).toBe(0)
  })

  test('files are written whole or at their end, and folders are made for their owner alone', async () => {
    const path = join(tenant, 'a', 'b', 'file')
    await files.append(path, 'one\n')
    await files.append(path, 'two\n')
    expect(await files.text(path, 100)).toBe('one\ntwo\n')
    await files.replace(path, ['three', '\n'])
    expect(readFileSync(path, 'utf8')).toBe('three\n')
    expect(readdirSync(join(tenant, 'a', 'b'))).toEqual(['file'])
    expect(statSync(join(tenant, 'a')).mode & 0o777).toBe(0o700)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    await expect(files.text(path, 3)).rejects.toMatchObject({ problems: [{ reason: 'too_large' }] })
    await files.makeFolder(join(tenant, '..', 'new', 'deep'))
    expect(existsSync(join(tenant, '..', 'new', 'deep'))).toBe(true)
  })

  test('names that agents chose cannot write into messages', async () => {
    mkdirSync(join(tenant, 'tree'))
    makeFifo(join(tenant, 'tree', 'a\nb\u001b[31m\u202e'))
    await files.copy(join(tenant, 'tree'), join(tenant, 'copy'), problems)
    expect(problems.found).toMatchObject([{ path: 't/tree/a?b?[31m?' }])
  })

  test('a folder with more files than are listed at once is emptied', async () => {
    mkdirSync(join(tenant, 'tree'))
    for (let index = 0; index < 2_500; index += 1) writeFileSync(join(tenant, 'tree', `f${index}`), '')
    await files.remove(join(tenant, 'tree'), problems)
    expect(problems.count).toBe(0)
    expect(existsSync(join(tenant, 'tree'))).toBe(false)
  })
})
