import { existsSync, mkdirSync, utimesSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { conversationSizes, removeKeepsakes, removeUnknown } from '../../../src/driver/config-dir.ts'
import { Problems } from '../../../src/files/problem.ts'
import { TenantFiles } from '../../../src/files/tenant-files.ts'
import { temporaryFolder } from '../../fixtures/temporary-folder.ts'

const SESSION = '11111111-1111-4111-8111-111111111111'
const OTHER = '22222222-2222-4222-8222-222222222222'

/** When everything was written, and the time by which that is old. */
const WRITTEN = 1_000_000
const BEFORE = WRITTEN * 1_000 + 1

const NAMES = [
  `projects/-one/${SESSION}.jsonl`,
  `projects/-one/${SESSION}/subagents/agent-1.jsonl`,
  `projects/-two/${OTHER}.jsonl`,
  `projects/-three/notes.md`,
  `todos/${SESSION}-agent.json`,
  `todos/${OTHER}-agent.json`,
  `shell-snapshots/snapshot-bash-1.sh`,
  `shell-snapshots/other.sh`,
  `${SESSION}.json`,
]

/** A configuration directory with these files, of ten bytes each. */
async function configDir(names: readonly string[] = NAMES) {
  const base = await temporaryFolder()
  const path = join(base, 'acme', 'config')
  for (const name of names) {
    mkdirSync(dirname(join(path, name)), { recursive: true })
    writeFileSync(join(path, name), 'ten bytes.')
    utimesSync(join(path, name), WRITTEN, WRITTEN)
  }
  const folder = join(path, `projects/-one/${SESSION}`)
  if (existsSync(folder)) utimesSync(folder, WRITTEN, WRITTEN)
  const left = (): string[] => NAMES.filter((name) => existsSync(join(path, name)))
  return { files: new TenantFiles(base), path, left, problems: new Problems() }
}

test('What the CLI has under the name of a conversation is counted for it', async () => {
  const { files, path, problems } = await configDir()
  expect(await conversationSizes(files, path, problems)).toEqual(
    new Map([
      [SESSION, 30],
      [OTHER, 20],
    ]),
  )
})

test('What is of no known conversation goes, and projects that are empty then; what has no name stays', async () => {
  const { files, path, left, problems } = await configDir()
  const removed = await removeUnknown(files, path, new Set([OTHER]), { before: BEFORE, dryRun: false, problems })
  expect([removed, problems.count]).toEqual([4, 0])
  expect(left()).toEqual([
    `projects/-two/${OTHER}.jsonl`,
    'projects/-three/notes.md',
    `todos/${OTHER}-agent.json`,
    'shell-snapshots/other.sh',
    `${SESSION}.json`,
  ])
  expect(existsSync(join(path, 'projects/-one'))).toBe(false)
})

test('What was written at that time or later stays', async () => {
  const { files, path, left, problems } = await configDir()
  const before = WRITTEN * 1_000
  expect(await removeUnknown(files, path, new Set(), { before, dryRun: false, problems })).toBe(0)
  expect(left()).toEqual(NAMES)
})

test('A trial run counts the same and removes nothing', async () => {
  const { files, path, left, problems } = await configDir()
  mkdirSync(join(path, 'projects/-empty'))
  expect(await removeUnknown(files, path, new Set([OTHER]), { before: BEFORE, dryRun: true, problems })).toBe(4)
  expect(left()).toEqual(NAMES)
  expect(existsSync(join(path, 'projects/-empty'))).toBe(true)
})

test('The keepsakes of a conversation go, its transcript stays', async () => {
  const { files, path, left, problems } = await configDir()
  await removeKeepsakes(files, { configDir: path, cwd: '/', tmpDir: '/', sessionId: SESSION }, problems)
  expect(left()).toEqual(NAMES.filter((name) => name !== `todos/${SESSION}-agent.json`))
})
