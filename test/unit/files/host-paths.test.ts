import { chmodSync, existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { chosenPath, chosenPathSync, newCopy, obstacleAt } from '../../../src/files/host-paths.ts'
import { temporaryFolder } from '../../fixtures/temporary-folder.ts'

/** Whose every file of a test is, and a user who is neither that one nor in its group. */
const OWN = process.getuid?.() ?? 0
const OTHER = 54_321

test('A path of the caller is a folder, something else, or nothing; links are followed', async () => {
  const folder = await temporaryFolder()
  writeFileSync(join(folder, 'file'), '')
  symlinkSync(folder, join(folder, 'link'))
  for (const [name, kind] of [
    ['', 'folder'],
    ['link', 'folder'],
    ['file', 'other'],
    ['nowhere', undefined],
  ] as const) {
    expect(await chosenPath(join(folder, name))).toBe(kind)
    expect(chosenPathSync(join(folder, name))).toBe(kind)
  }
})

describe('Nothing keeps a process from a folder', () => {
  test('of the host’s own, and everything from what is no folder or is not there', async () => {
    const folder = await temporaryFolder()
    writeFileSync(join(folder, 'file'), '')
    expect(await obstacleAt(folder)).toBeUndefined()
    expect(await obstacleAt(join(folder, 'file'))).toBe('ENOTDIR')
    expect(await obstacleAt(join(folder, 'nowhere'))).toBe('ENOENT')
  })

  // Everybody must be able to enter the folders above.
  test.runIf(tmpdir() === '/tmp').each([
    ['its owner may read and enter it', OWN, 0o700, 0o500, true],
    ['its owner may only enter it', OWN, 0o700, 0o100, false],
    ['its owner may only read it', OWN, 0o700, 0o400, false],
    ['its owner may not, though all others may', OWN, 0o700, 0o077, false],
    ['all others may read and enter it', OTHER, 0o711, 0o705, true],
    ['all others may only enter it', OTHER, 0o711, 0o701, false],
    ['its group may, which is not that of the user', OTHER, 0o711, 0o770, false],
    ['the folder above cannot be entered', OTHER, 0o704, 0o705, false],
    ['the folder above cannot be read', OTHER, 0o701, 0o705, true],
  ])('if %s', async (_, user, above, mode, expected) => {
    const parent = await temporaryFolder()
    const folder = join(parent, 'folder')
    mkdirSync(folder)
    chmodSync(folder, mode)
    chmodSync(parent, above)
    const obstacle = await obstacleAt(folder, user)
    chmodSync(parent, 0o700)
    chmodSync(folder, 0o700)
    expect(obstacle).toBe(expected ? undefined : 'EACCES')
  })
})

describe('A new copy', () => {
  test('is there as a whole', async () => {
    const path = join(await temporaryFolder(), 'copy')
    mkdirSync(`${path}.partial`)
    writeFileSync(join(`${path}.partial`, 'of-before'), '')
    await newCopy(path, (partial) => {
      expect(existsSync(path)).toBe(false)
      return Promise.resolve(writeFileSync(join(partial, 'file'), ''))
    })
    expect(readdirSync(path)).toEqual(['file'])
    expect(existsSync(`${path}.partial`)).toBe(false)
  })

  test('is not there at all when it cannot be filled', async () => {
    const folder = await temporaryFolder()
    const fails = newCopy(join(folder, 'copy'), (partial) => {
      writeFileSync(join(partial, 'file'), '')
      return Promise.reject(new Error('full'))
    })
    await expect(fails).rejects.toThrow('full')
    expect(readdirSync(folder)).toEqual([])
  })
})
