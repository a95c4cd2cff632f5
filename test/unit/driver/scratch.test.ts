import { existsSync, mkdirSync, readdirSync, utimesSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { removeScratch, tidyScratch } from '../../../src/driver/scratch.ts'
import { Problems } from '../../../src/files/problem.ts'
import { TenantFiles } from '../../../src/files/tenant-files.ts'
import { temporaryFolder } from '../../fixtures/temporary-folder.ts'

const SESSION = '11111111-1111-4111-8111-111111111111'
const OTHER = '22222222-2222-4222-8222-222222222222'

const exists = (...paths: string[]): boolean[] => paths.map((path) => existsSync(path))

/** The TMPDIR of a tenant with these files in it. */
async function scratch(
  ...names: string[]
): Promise<{ files: TenantFiles; tmpDir: string; at: (name: string) => string }> {
  const base = await temporaryFolder()
  const tmpDir = join(base, 'acme', 'tmp')
  const at = (name: string): string => join(tmpDir, name)
  for (const name of names) {
    mkdirSync(dirname(at(name)), { recursive: true })
    writeFileSync(at(name), '')
  }
  return { files: new TenantFiles(base), tmpDir, at }
}

const writtenBefore = (path: string, ms: number): void => {
  const at = (Date.now() - ms) / 1_000
  utimesSync(path, at, at)
}

test('What a process leaves goes: its own socket, and the probes of starts that are over', async () => {
  const { files, tmpDir, at } = await scratch(
    'cc-socks/7.sock',
    'cc-socks/8.sock',
    'claude-0/fswatch-probe-old',
    'claude-0/fswatch-probe-young',
    'claude-0/kept',
    'else/fswatch-probe-old',
  )
  for (const name of ['claude-0/fswatch-probe-old', 'claude-0/kept', 'else/fswatch-probe-old'])
    writtenBefore(at(name), 90_000)
  writtenBefore(at('claude-0/fswatch-probe-young'), 30_000)
  await tidyScratch(files, tmpDir, 7)
  expect(readdirSync(at('cc-socks'))).toEqual(['8.sock'])
  expect(readdirSync(at('claude-0'))).toEqual(['fswatch-probe-young', 'kept'])
  expect(readdirSync(at('else'))).toEqual(['fswatch-probe-old'])
})

test('A conversation’s scratch files go from each directory that it ran in, and with them directories that are empty', async () => {
  const { files, tmpDir, at } = await scratch(
    `claude-0/-one/${SESSION}/tasks/1`,
    `claude-0/-two/${SESSION}/tasks/1`,
    `claude-0/-two/${OTHER}/tasks/1`,
    `claude-1000/-one/${SESSION}/tasks/1`,
    `else/-one/${SESSION}/tasks/1`,
  )
  const problems = new Problems()
  await removeScratch(files, { tmpDir, sessionId: SESSION }, problems)
  expect(exists(at('claude-0/-one'), at(`claude-0/-two/${SESSION}`), at('claude-1000/-one'))).toEqual([
    false,
    false,
    false,
  ])
  expect(exists(at(`claude-0/-two/${OTHER}/tasks/1`), at(`else/-one/${SESSION}/tasks/1`))).toEqual([true, true])
  expect(problems.count).toBe(0)
})
