import { mkdir, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { viewsOf } from '../../../src/isolation/views.ts'
import { temporaryFolder } from '../../fixtures/temporary-folder.ts'

const FREE = { covers: () => false, holds: () => false }

/** A system that has these paths. */
const having = (...paths: string[]) => ({
  covers: (path: string) => paths.some((taken) => path === taken || path.startsWith(`${taken}/`)),
  holds: (path: string) => paths.some((taken) => taken.startsWith(`${path}/`)),
})

async function workspace(...files: string[]): Promise<string> {
  const folder = await temporaryFolder()
  for (const name of ['outputs', 'uploads/workspace']) await mkdir(join(folder, name), { recursive: true })
  for (const file of files) {
    await mkdir(join(folder, 'uploads', file, '..'), { recursive: true })
    await writeFile(join(folder, 'uploads', file), '')
  }
  return folder
}

/** How each place is made. */
const made = (args: readonly string[]): Record<string, string> =>
  Object.fromEntries(args.flatMap((word, at) => (word.startsWith('--') ? [[args[at + 2], args[at + 1]]] : [])))

test('a workspace is seen where programs for the hosted API look for it', async () => {
  const folder = await workspace()
  expect(made(viewsOf(folder, FREE))).toEqual({
    '/workspace': folder,
    '/mnt/session/outputs': join(folder, 'outputs'),
    '/mnt/session/uploads': join(folder, 'uploads'),
    '/mnt/session/uploads/workspace': folder,
  })
})

test('a workspace without these folders is seen alone', async () => {
  const folder = await temporaryFolder()
  expect(made(viewsOf(folder, FREE))).toEqual({ '/workspace': folder })
})

test('an upload is at the path that its client has named, unless the system has something there', async () => {
  const folder = await workspace('a.csv', 'data/b.csv', 'etc/passwd', 'mnt/data/c.csv', 'home/me/d.csv', 'usr/bin/sh')
  const links = made(viewsOf(folder, having('/usr', '/etc/passwd', '/home/me/app')))
  const at = (path: string): [string, string] => [path, `/mnt/session/uploads${path}`]
  const linked = Object.entries(links).filter(([, from]) => from.startsWith('/mnt'))
  // A folder has no order.
  expect(new Map(linked)).toEqual(new Map(['/a.csv', '/data', '/home/me/d.csv', '/mnt/data'].map(at)))
})

test('what the machine itself has at such a place stays', async () => {
  const folder = await workspace()
  expect(Object.keys(made(viewsOf(folder, having('/workspace/app', '/mnt'))))).toEqual([])
})

test('a link that an agent has put in the place of a folder is not followed', async () => {
  const secret = await temporaryFolder()
  await mkdir(join(secret, 'workspace'))
  for (const name of ['outputs', 'uploads']) {
    const folder = await workspace('a.csv')
    await rm(join(folder, name), { recursive: true })
    await symlink(secret, join(folder, name))
    const views = made(viewsOf(folder, FREE))
    expect(Object.keys(views).filter((at) => at.includes(name))).toEqual([])
    expect(JSON.stringify(views)).not.toContain(secret)
  }
})
