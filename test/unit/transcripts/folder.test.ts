import { mkdir, realpath, rm, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { folderName } from '../../../src/transcripts/folder.ts'
import { temporaryFolder } from '../../fixtures/temporary-folder.ts'

test('letters and digits stay, and each other character becomes a hyphen', () => {
  expect(folderName('/nowhere/My project_2')).toBe('-nowhere-My-project-2')
})

test.skipIf(process.platform === 'darwin')('an accent that stands for itself is a character of its own', () => {
  expect(folderName('/nowhere/caf\u00e9')).toBe('-nowhere-caf-')
  expect(folderName('/nowhere/cafe\u0301')).toBe('-nowhere-cafe-')
})

test('a name of 200 characters stays, and a longer one is cut and ends in a hash of the whole path', () => {
  const path = `/${'x'.repeat(199)}`
  expect(folderName(path)).toBe(`-${'x'.repeat(199)}`)
  expect(folderName(`${path}y`)).toMatch(/^-x{199}-[0-9a-z]+$/)
  expect(folderName(`${path}y`)).not.toBe(folderName(`${path}z`))
})

test('links are followed, also of directories that are gone', async () => {
  const folder = await realpath(await temporaryFolder())
  await mkdir(join(folder, 'real', 'project'), { recursive: true })
  await symlink(join(folder, 'real'), join(folder, 'link'))
  const linked = join(folder, 'link', 'project')
  const name = folderName(join(folder, 'real', 'project'))
  expect(folderName(linked)).toBe(name)
  await rm(linked, { recursive: true })
  expect(folderName(linked)).toBe(name)
})
