import { appendFile, mkdir, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { beforeEach, expect, test } from 'vitest'
import type { TranscriptPlace } from '../../../src/driver/driver.ts'
import { TenantFiles } from '../../../src/files/tenant-files.ts'
import { resumeLoad } from '../../../src/transcripts/resume-load.ts'
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

const row = (type: 'user' | 'assistant', uuid: string, text = ''): object => ({
  parentUuid: null,
  type,
  message: { content: [{ type: 'text', text }] },
  uuid,
})

const boundary = (uuid: string, uuids?: string[]): object => ({
  parentUuid: null,
  type: 'system',
  subtype: 'compact_boundary',
  compactMetadata: { trigger: 'manual', ...(uuids === undefined ? {} : { preservedMessages: { uuids } }) },
  uuid,
})

const write = (...rows: object[]): Promise<void> => writeFile(file, textOf(...rows))
const textOf = (...rows: object[]): string => rows.map((entry) => `${JSON.stringify(entry)}\n`).join('')
const bytesOf = (...rows: object[]): number => Buffer.byteLength(textOf(...rows))

test('all of a transcript that was never compacted is loaded', async () => {
  await write(row('user', 'a', 'ä'), row('assistant', 'b'))
  const { size } = await stat(file)
  expect(await resumeLoad(files, place, 0)).toEqual({
    bytes: size,
    fileBytes: size,
    compaction: undefined,
    summedUp: false,
  })
})

test('of one that was, what follows the last compaction', async () => {
  const rest = [boundary('second'), row('user', 'summary'), row('user', 'c'), row('assistant', 'd')]
  await write(row('user', 'a', 'x'.repeat(100_000)), boundary('first'), row('assistant', 'b'), ...rest)
  expect(await resumeLoad(files, place, 0)).toMatchObject({
    bytes: bytesOf(...rest),
    compaction: 'second',
    summedUp: false,
  })
})

test('what a compaction has kept of before is loaded, too', async () => {
  const answer = row('assistant', 'b', 'x'.repeat(100_000))
  const rest = [boundary('first', ['b']), row('user', 'summary')]
  await write(row('user', 'a'), answer, ...rest)
  expect(await resumeLoad(files, place, 0)).toMatchObject({ bytes: bytesOf(answer, ...rest), summedUp: false })
})

test('where nothing was said since the last compaction, all is summed up', async () => {
  await write(row('user', 'a'), row('assistant', 'b'), boundary('first'), row('user', 'summary'))
  expect(await resumeLoad(files, place, 0)).toMatchObject({ summedUp: true })
})

test('words that look like a compaction are none', async () => {
  await write(
    row('user', 'a', JSON.stringify(boundary('said'))),
    { ...row('user', 'b'), toolUseResult: boundary('read') },
    row('assistant', 'c'),
  )
  await appendFile(file, '{"type":"system","subtype":"compact_boundary","uu')
  expect(await resumeLoad(files, place, 0)).toMatchObject({ bytes: (await stat(file)).size + 1, compaction: undefined })
})

test('a transcript that is small, or not there, is not read', async () => {
  await write(row('user', 'a'))
  const { size } = await stat(file)
  expect(await resumeLoad(files, place, size)).toBeUndefined()
  expect(await resumeLoad(files, { ...place, sessionId: 'other' }, 0)).toBeUndefined()
})
