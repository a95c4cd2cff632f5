import { appendFile, mkdir, readFile, readdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { beforeEach, expect, test } from 'vitest'
import type { SessionStore, TranscriptPlace } from '../../../src/driver/driver.ts'
import { forgetCopy, reconcile } from '../../../src/transcripts/mirror.ts'
import { MemoryStore } from '../../../src/store/memory.ts'
import { sessionStore } from '../../../src/store/session-store.ts'
import { TenantFiles } from '../../../src/files/tenant-files.ts'
import { temporaryFolder } from '../../fixtures/temporary-folder.ts'

const sessionId = '11111111-1111-4111-8111-111111111111'
const MAIN = { projectKey: '-nowhere-project', sessionId }
const SUB = { ...MAIN, subpath: 'subagents/agent-1' }

let files: TenantFiles
let place: TranscriptPlace
let store: SessionStore
let main: string
let sub: string

const entries = (from: number, to: number): { type: string; uuid: string }[] =>
  Array.from({ length: to - from + 1 }, (_, index) => ({ type: 'user', uuid: `${from + index}` }))

const lines = (values: object[]): string => values.map((value) => `${JSON.stringify(value)}\n`).join('')

async function write(file: string, text: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true })
  await writeFile(file, text)
}

beforeEach(async () => {
  const configDir = await temporaryFolder()
  files = new TenantFiles(dirname(configDir))
  place = { configDir, tmpDir: configDir, cwd: '/nowhere/project', sessionId }
  store = sessionStore(new MemoryStore(), 't', { wall: () => 0 })
  main = join(configDir, 'projects', '-nowhere-project', `${sessionId}.jsonl`)
  sub = join(dirname(main), sessionId, 'subagents', 'agent-1.jsonl')
})

test('files that are gone are written again, with those of subagents, and nothing else is left there', async () => {
  await store.append(MAIN, entries(1, 3))
  await store.append(SUB, entries(7, 8))
  await reconcile(files, place, store)
  expect(await readFile(main, 'utf8')).toBe(lines(entries(1, 3)))
  expect(await readFile(sub, 'utf8')).toBe(lines(entries(7, 8)))
  expect((await readdir(dirname(main))).toSorted()).toEqual([sessionId, `${sessionId}.jsonl`])
})

test('a copy that lacks something becomes what the files say, in their order', async () => {
  await store.append(MAIN, [...entries(1, 1), ...entries(4, 4)])
  await write(main, lines([...entries(1, 2), { type: 'title' }, ...entries(3, 4)]))
  await write(sub, lines(entries(7, 8)))
  await reconcile(files, place, store)
  expect(await store.load(MAIN)).toEqual([...entries(1, 2), { type: 'title' }, ...entries(3, 4)])
  expect(await store.load(SUB)).toEqual(entries(7, 8))
})

test('a file with cut lines is made whole by a copy that has all the rest', async () => {
  await store.append(MAIN, entries(1, 5))
  await write(main, `${lines(entries(1, 2))}{"type":"us\n${lines(entries(4, 5))}`)
  await reconcile(files, place, store)
  expect(await readFile(main, 'utf8')).toBe(lines(entries(1, 5)))
  expect(await store.load(MAIN)).toEqual(entries(1, 5))
})

test('a file with cut lines that has more than its copy stays, and the copy gets what can be read', async () => {
  await store.append(MAIN, entries(1, 3))
  const damaged = `${lines(entries(1, 2))}{"type":"us\n${lines(entries(4, 5))}{"type":"as`
  await write(main, damaged)
  await reconcile(files, place, store)
  expect(await readFile(main, 'utf8')).toBe(damaged)
  expect(await store.load(MAIN)).toEqual([...entries(1, 2), ...entries(4, 5)])
})

test('a copy that lacks nothing is left alone, also when it knows more', async () => {
  await store.append(MAIN, entries(1, 5))
  await write(main, lines(entries(1, 4)))
  await reconcile(files, place, store)
  expect(await store.load(MAIN)).toEqual(entries(1, 5))
  expect(await readFile(main, 'utf8')).toBe(lines(entries(1, 4)))
})

test('a line that is being written is left for the next time', async () => {
  await write(main, lines(entries(1, 2)))
  await appendFile(main, '{"type":"user","uu')
  await reconcile(files, place, store)
  expect(await store.load(MAIN)).toEqual(entries(1, 2))
})

test('where neither side has anything nothing is made', async () => {
  await reconcile(files, place, store)
  expect(await store.load(MAIN)).toBeNull()
  expect(await readdir(place.configDir)).toEqual([])
})

test('forgetting removes the copy with those of subagents', async () => {
  await store.append(MAIN, entries(1, 1))
  await store.append(SUB, entries(2, 2))
  await forgetCopy(place, store)
  expect(await store.load(MAIN)).toBeNull()
  expect(await store.load(SUB)).toBeNull()
})
