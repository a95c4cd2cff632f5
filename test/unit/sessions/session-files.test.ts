import { mkdirSync, readFileSync, utimesSync, writeFileSync, appendFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { FilesError } from '../../../src/errors.ts'
import { TenantFiles } from '../../../src/files/tenant-files.ts'
import { SessionFiles } from '../../../src/sessions/session-files.ts'
import type { SessionFilesContext } from '../../../src/sessions/session-files.ts'
import { makeSparse } from '../../fixtures/hostile-tree.ts'
import { temporaryFolder } from '../../fixtures/temporary-folder.ts'

/** The workspace of a session with these files, each written at its time. */
async function workspace(names: Readonly<Record<string, number>> = {}): Promise<{ files: SessionFiles; path: string }> {
  const base = await temporaryFolder()
  const path = join(base, 'acme', 'workspaces', 'one')
  mkdirSync(path, { recursive: true })
  for (const [name, at] of Object.entries(names)) {
    mkdirSync(dirname(join(path, name)), { recursive: true })
    writeFileSync(join(path, name), name)
    utimesSync(join(path, name), at, at)
  }
  const files = new SessionFiles({ tenantFiles: new TenantFiles(base) } as SessionFilesContext)
  return { files, path }
}

async function whole(pieces: AsyncIterable<Buffer>): Promise<Buffer> {
  const all: Buffer[] = []
  for await (const piece of pieces) all.push(piece)
  return Buffer.concat(all)
}

async function* from(...texts: string[]): AsyncGenerator<Buffer> {
  for (const text of texts) yield Buffer.from(text)
}

test('Files are listed by when they were written, the newest first, and of those at once by their paths', async () => {
  const { files, path } = await workspace({ c: 1, 'in/b': 2, 'in/a': 2, d: 3 })
  const paths = async (folder: string, limit: number): Promise<string[]> =>
    (await files.list(path, folder, limit)).map((file) => file.path)
  expect(await paths('', 10)).toEqual(['d', 'in/a', 'in/b', 'c'])
  expect(await paths('', 2)).toEqual(['d', 'in/a'])
  expect(await files.list(path, 'in', 1)).toEqual([{ path: 'a', size: 4, modifiedAt: 2_000 }])
})

test.each([1, 64 * 1024, 64 * 1024 + 1, 200_000])(
  'A file with a hole of %d bytes is read as a whole',
  async (bytes) => {
    const { files, path } = await workspace()
    makeSparse(join(path, 'sparse'), bytes)
    appendFileSync(join(path, 'sparse'), 'end')
    expect((await whole(files.read(path, 'sparse'))).equals(readFileSync(join(path, 'sparse')))).toBe(true)
  },
)

test('What cannot be read is an error', async () => {
  const { files, path } = await workspace({ 'in/a': 1 })
  await expect(whole(files.read(path, 'in'))).rejects.toThrow(FilesError)
})

test('A file takes the place of what is there, and nothing is left of one whose source fails', async () => {
  const { files, path } = await workspace({ 'in/a': 1 })
  await files.put(path, 'in', from('one ', 'two'))
  expect(readFileSync(join(path, 'in'), 'utf8')).toBe('one two')
  const fails = files.put(
    path,
    'in',
    (async function* () {
      yield Buffer.from('half')
      throw new Error('cut')
    })(),
  )
  await expect(fails).rejects.toThrow('cut')
  expect(await files.list(path, '', 10)).toEqual([])
})
