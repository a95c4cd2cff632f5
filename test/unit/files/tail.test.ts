import { appendFileSync, mkdirSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { linesOfPiece } from '../../../src/files/lines.ts'
import { nodeCalls } from '../../../src/files/calls.ts'
import { TenantFiles } from '../../../src/files/tenant-files.ts'
import { temporaryFolder } from '../../fixtures/temporary-folder.ts'

const LINUX = process.platform === 'linux'

let base: string
let tenant: string
let files: TenantFiles

beforeEach(async () => {
  base = await temporaryFolder()
  tenant = join(base, 't')
  mkdirSync(tenant)
  files = new TenantFiles(base)
  onTestFinished(() => files.close())
})

/** The files below the tenant that this process has open, by name; removed ones too. */
const open = (): string[] =>
  readdirSync('/proc/self/fd')
    .map((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`)
      } catch {
        return ''
      }
    })
    .filter((path) => path.startsWith(`${tenant}/`))
    .map((path) => path.slice(tenant.length + 1))
    .toSorted()

async function tail(name: string, from = 0): Promise<[string, number] | undefined> {
  const found = await files.tail(join(tenant, name), from)
  return found && [found.data.toString(), found.size]
}

describe('The tail of a file', () => {
  test('is what it has from an offset on, and its size, also when it has grown or is another file', async () => {
    writeFileSync(join(tenant, 'log'), 'one\n')
    expect(await tail('log')).toEqual(['one\n', 4])
    appendFileSync(join(tenant, 'log'), 'two\n')
    expect(await tail('log', 4)).toEqual(['two\n', 8])
    rmSync(join(tenant, 'log'))
    expect(await tail('log', 4)).toBeUndefined()
    writeFileSync(join(tenant, 'log'), 'another\n')
    expect(await tail('log', 4)).toEqual(['her\n', 8])
  })

  test('is undefined where there is none, where it is longer than is read at once, and where another user reads it', async () => {
    expect(await tail('nothing')).toBeUndefined()
    writeFileSync(join(tenant, 'long'), 'x'.repeat(64 * 1024))
    expect(await tail('long')).toBeUndefined()
    expect((await tail('long', 1))?.[1]).toBe(64 * 1024)
    const ofUser = new TenantFiles(base, { ownerOf: () => ({ uid: 1, calls: { ...nodeCalls } }) })
    expect(await ofUser.tail(join(tenant, 'long'), 1)).toBeUndefined()
  })

  test('of something else than a file is refused', async () => {
    mkdirSync(join(tenant, 'folder'))
    await expect(files.tail(join(tenant, 'folder'), 0)).rejects.toMatchObject({ code: 'files_failed' })
  })

  test.runIf(LINUX)('keeps the file open, at most 64 of them, until it is removed or all is closed', async () => {
    const names = Array.from({ length: 66 }, (_, number) => `f${String(number).padStart(2, '0')}`)
    for (const name of names) {
      writeFileSync(join(tenant, name), name)
      await tail(name)
    }
    expect(open()).toEqual(names.slice(2))
    await tail('f02')
    await tail('f00')
    expect(open()).toEqual(['f00', 'f02', ...names.slice(4)])
    await files.erase(join(tenant, 'f02'))
    expect(open()).toEqual(['f00', ...names.slice(4)])
    await files.erase(tenant)
    expect(open()).toEqual([])
    mkdirSync(tenant)
    writeFileSync(join(tenant, 'last'), '')
    await tail('last')
    files.close()
    expect(open()).toEqual([])
  })
})

test('the lines of a piece are its whole ones, the last first; one that began before it is none', () => {
  const lines = (text: string, at: number): [string | undefined, number][] =>
    [...linesOfPiece(Buffer.from(text), at)].map((line) => [line.text, line.at])
  expect(lines('a\nbc\n', 0)).toEqual([
    ['', 5],
    ['bc', 2],
    ['a', 0],
  ])
  expect(lines('cut\nbc\nd', 10)).toEqual([
    ['d', 17],
    ['bc', 14],
  ])
  expect(lines('', 10)).toEqual([])
})
