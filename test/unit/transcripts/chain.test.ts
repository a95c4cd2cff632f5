import { execFileSync } from 'node:child_process'
import { appendFile, mkdir, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { beforeEach, expect, test } from 'vitest'
import type { TranscriptPlace } from '../../../src/driver/driver.ts'
import { checkTranscript } from '../../../src/transcripts/chain.ts'
import { TenantFiles } from '../../../src/files/tenant-files.ts'
import { temporaryFolder } from '../../fixtures/temporary-folder.ts'

const sessionId = '11111111-1111-4111-8111-111111111111'

let files: TenantFiles
let place: TranscriptPlace
let file: string

beforeEach(async () => {
  const configDir = await temporaryFolder()
  files = new TenantFiles(dirname(configDir))
  place = { configDir, tmpDir: configDir, cwd: '/nowhere/project', sessionId }
  file = join(configDir, 'projects', '-nowhere-project', `${sessionId}.jsonl`)
  await mkdir(dirname(file), { recursive: true })
})

type Line = [uuid: string, parentUuid: string | null] | string

const textOf = (lines: Line[]): string =>
  lines
    .map((line) => (typeof line === 'string' ? line : JSON.stringify({ parentUuid: line[1], uuid: line[0] })))
    .map((line) => `${line}\n`)
    .join('')

const BOOKS = '{"type":"last-prompt","leafUuid":"nobody"}'
const BEFORE: Line[] = [['a', null], ['b', 'a'], BOOKS]

/** What the check says of lines that came after {@link BEFORE}. */
async function check(after: Line[], last: string, tail = ''): Promise<number | undefined> {
  const before = textOf(BEFORE)
  await writeFile(file, before + textOf(after) + tail)
  return checkTranscript(files, place, { last, since: before.length })
}

test('a transcript that leads back to what was there is whole, and its size is told', async () => {
  const size = await check([['c', 'b'], BOOKS, ['d', 'c'], BOOKS], 'd')
  expect(size).toBe((await stat(file)).size)
})

test('one that begins anew is whole: the CLI has put a summary in the place of what was before', async () => {
  expect(
    await check(
      [
        ['boundary', null],
        ['c', 'boundary'],
      ],
      'c',
    ),
  ).toBeDefined()
})

test('entries that stand before their parents are found', async () => {
  expect(
    await check(
      [
        ['d', 'c'],
        ['c', 'b'],
        ['e', 'd'],
      ],
      'e',
    ),
  ).toBeDefined()
})

test('what an agent writes about ids is no entry', async () => {
  const words = JSON.stringify({ type: 'user', uuid: 'x', parentUuid: 'b', toolUseResult: { uuid: 'c' } })
  expect(await check([words, ['d', 'c']], 'd')).toBeUndefined()
})

test.each<[string, Line[], string, string]>([
  ['the last entry is missing', [['c', 'b']], 'd', ''],
  ['the last entry was cut', [['c', 'b']], 'd', '{"parentUuid":"c","uuid":"d","mess'],
  [
    'one between is missing',
    [
      ['c', 'b'],
      ['e', 'd'],
    ],
    'e',
    '',
  ],
  ['the first is missing', [['d', 'c']], 'd', ''],
  ['all is missing', [], 'd', ''],
])('when %s it is not whole', async (_, after, last, tail) => {
  expect(await check(after, last, tail)).toBeUndefined()
})

test('what was missing before is not blamed on what came after', async () => {
  const before = textOf([['b', 'lost'], BOOKS])
  await writeFile(file, before + textOf([['c', 'b']]))
  expect(await checkTranscript(files, place, { last: 'c', since: before.length })).toBeDefined()
})

test('entries that lead round in a circle lead to nothing', async () => {
  expect(
    await check(
      [
        ['c', 'd'],
        ['d', 'c'],
      ],
      'd',
    ),
  ).toBeUndefined()
})

test('lines of megabytes are passed over', async () => {
  const long = JSON.stringify({ uuid: 'c', parentUuid: 'b', text: 'x'.repeat(3_000_000) })
  expect(await check([long, ['d', 'c']], 'd')).toBeDefined()
})

test('turn after turn, a transcript is read from its newest lines on, and is found whole as long as it is', async () => {
  let size = textOf(BEFORE).length
  await writeFile(file, textOf(BEFORE))
  let parent = 'b'
  for (let turn = 0; turn < 4; turn += 1) {
    const entry = `turn-${turn}`
    await appendFile(file, textOf([BOOKS, [entry, parent], 'x'.repeat(4_000)]))
    const checked = await checkTranscript(files, place, { last: entry, since: size })
    expect(checked).toBe((await stat(file)).size)
    size = checked ?? 0
    parent = entry
  }
  await appendFile(file, textOf([['orphan', 'nobody']]))
  expect(await checkTranscript(files, place, { last: 'orphan', since: size })).toBeUndefined()
  await rm(file)
  expect(await checkTranscript(files, place, { last: parent, since: 0 })).toBeUndefined()
  await writeFile(file, textOf([[parent, null]]))
  expect(await checkTranscript(files, place, { last: parent, since: 0 })).toBe((await stat(file)).size)
})

test('one that is not there is empty, and lacks what was said', async () => {
  expect(await checkTranscript(files, place)).toBe(0)
  expect(await checkTranscript(files, place, { last: 'a', since: 0 })).toBeUndefined()
})

test('one that the CLI has moved to another folder is not judged', async () => {
  const moved = join(place.configDir, 'projects', '-nowhere-worktree', `${sessionId}.jsonl`)
  await mkdir(dirname(moved))
  await writeFile(moved, textOf([['c', 'b']]))
  expect(await checkTranscript(files, place, { last: 'c', since: 0 })).toBe(0)
})

test.skipIf(process.platform === 'win32')('a pipe in its place is none, and holds nobody up', async () => {
  execFileSync('mkfifo', [file])
  expect(await checkTranscript(files, place, { last: 'a', since: 0 })).toBeUndefined()
})
