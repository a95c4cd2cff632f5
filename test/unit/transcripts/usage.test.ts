import { mkdir, utimes, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { beforeEach, expect, test } from 'vitest'
import { formatWall } from '../../../src/clock.ts'
import type { TranscriptPlace } from '../../../src/driver/driver.ts'
import { TenantFiles } from '../../../src/files/tenant-files.ts'
import { transcriptUsage } from '../../../src/transcripts/usage.ts'
import { temporaryFolder } from '../../fixtures/temporary-folder.ts'

const sessionId = '11111111-1111-4111-8111-111111111111'

let files: TenantFiles
let place: TranscriptPlace
let main: string
let sub: string

beforeEach(async () => {
  const configDir = await temporaryFolder()
  files = new TenantFiles(dirname(configDir))
  place = { configDir, tmpDir: configDir, cwd: '/nowhere/project', sessionId }
  main = join(configDir, 'projects', '-nowhere-project', `${sessionId}.jsonl`)
  sub = join(dirname(main), sessionId, 'subagents', 'agent-1.jsonl')
})

const user = (at: number): object => ({ type: 'user', timestamp: formatWall(at) })

const answer = (at: number, id: string, text = 'x'): object => ({
  type: 'assistant',
  timestamp: formatWall(at),
  message: { id, model: 'm', content: [{ type: 'text', text }], usage: { input_tokens: 1, output_tokens: 1 } },
})

const saved = (totalCostUSD: number, of = sessionId): object => ({
  type: 'cost-state',
  sessionId: of,
  totalCostUSD,
  modelUsage: {},
})

async function write(file: string, entries: readonly object[], end = ''): Promise<void> {
  await mkdir(dirname(file), { recursive: true })
  await writeFile(file, entries.map((entry) => `${JSON.stringify(entry)}\n`).join('') + end)
}

/** The total that is saved, and the answers beside it. */
async function read(after = 0): Promise<{ saved: number | undefined; unsaved: string[] }> {
  const { saved: total, unsaved } = await transcriptUsage(files, place, after)
  return { saved: total?.total_cost_usd, unsaved: unsaved.map(({ at, answer: { id } }) => `${id} at ${at}`) }
}

test('without a transcript there is nothing', async () => {
  expect(await read()).toEqual({ saved: undefined, unsaved: [] })
})

test('where nothing was saved all answers after the given time are told, in their order', async () => {
  await write(main, [user(1), answer(2, 'a'), user(3), answer(4, 'b'), answer(5, 'c')])
  expect(await read(2)).toEqual({ saved: undefined, unsaved: ['b at 4', 'c at 5'] })
})

test('the last total that was saved is told, with the answers after it', async () => {
  await write(main, [user(1), answer(2, 'a'), saved(1), user(3), answer(4, 'b'), saved(2), user(5), answer(6, 'c')])
  expect(await read()).toEqual({ saved: 2, unsaved: ['c at 6'] })
  expect(await read(6)).toEqual({ saved: 2, unsaved: [] })
})

test('a total of the conversation that this one was copied from is no total of it', async () => {
  await write(main, [saved(1), user(1), saved(2, '22222222-2222-4222-8222-222222222222'), answer(2, 'a')])
  expect(await read()).toEqual({ saved: 1, unsaved: ['a at 2'] })
})

test('answers of subagents count from when the process began that has saved nothing', async () => {
  await write(main, [user(1), answer(2, 'a'), saved(1), user(10), answer(12, 'b')])
  await write(sub, [answer(3, 'early'), answer(11, 'late')])
  expect(await read()).toEqual({ saved: 1, unsaved: ['b at 12', 'late at 11'] })
  await write(main, [user(1), answer(2, 'a'), saved(1)])
  expect(await read()).toEqual({ saved: 1, unsaved: [] })
})

test('files of subagents that were not written since are not read', async () => {
  await write(main, [user(1)])
  await write(sub, [answer(11, 'late')])
  await utimes(sub, 0.005, 0.005)
  expect(await read(10)).toEqual({ saved: undefined, unsaved: [] })
})

test('a line that was cut short by a kill is passed over, and so is an empty file', async () => {
  await write(main, [user(1), answer(2, 'a')], '{"type":"assist')
  expect(await read()).toEqual({ saved: undefined, unsaved: ['a at 2'] })
  await write(main, [])
  expect(await read()).toEqual({ saved: undefined, unsaved: [] })
})

test('transcripts and lines of any size are read', async () => {
  const long = Array.from({ length: 40 }, (_, index) => answer(index + 2, `m${index}`, 'ä'.repeat(20_000)))
  await write(main, [saved(7), user(1), ...long, answer(100, 'last', 'x'.repeat(700_000))])
  const { saved: total, unsaved } = await read()
  expect(total).toBe(7)
  expect(unsaved).toEqual([...long.map((_, index) => `m${index} at ${index + 2}`), 'last at 100'])
})
