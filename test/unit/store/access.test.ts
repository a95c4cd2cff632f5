import { symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import { accessTo, closedBy, isForbidden } from '../../../src/store/access.ts'
import { temporaryFolder } from '../../fixtures/temporary-folder.ts'

const own = process.getuid?.() ?? 0

/** Lets this process seem to be another user's. */
function seemAs(uid: number): void {
  vi.spyOn(process, 'getuid').mockReturnValue(uid)
  onTestFinished(() => void vi.restoreAllMocks())
}

const named = (uid: number): string => (uid === 0 ? 'root' : `uid ${uid}`)

test('What belongs to another user is closed by that user, who is named', async () => {
  const folder = await temporaryFolder()
  seemAs(own + 1)
  const says = `${folder} belongs to ${named(own)}, and this process runs as uid ${own + 1}`
  expect(closedBy(folder)).toBe(says)
  expect(closedBy(join(folder, 'not', 'there'))).toBe(says)
})

test('What belongs to this user is closed by nobody', async () => {
  const folder = await temporaryFolder()
  expect(closedBy(folder)).toBeUndefined()
  expect(closedBy(join(folder, 'not', 'there'))).toBeUndefined()
})

test('There is a data directory if there is one of its files', async () => {
  const folder = await temporaryFolder()
  expect(accessTo(folder)).toBe('none')
  expect(accessTo(join(folder, 'nowhere'))).toBe('none')
  writeFileSync(join(folder, 'pool.sqlite'), '')
  expect(accessTo(folder)).toBe('open')
  expect(accessTo(join(folder, 'pool.sqlite'))).toBe('none')
})

test('A directory whose file cannot be read for another reason than rights is not closed', async () => {
  const folder = await temporaryFolder()
  symlinkSync('host.lock', join(folder, 'host.lock'))
  seemAs(own + 1)
  expect(accessTo(folder)).toBe('open')
})

test.each([
  ['EACCES', true],
  ['EPERM', true],
  ['EROFS', false],
])('%s tells of missing rights: %s', (code, expected) => {
  expect(isForbidden(Object.assign(new Error(code), { code }))).toBe(expected)
})
